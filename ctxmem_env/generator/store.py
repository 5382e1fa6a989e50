"""Generators on disk: verified before they are loaded, loaded once for each process, replaced whole."""

import hashlib
import json
import shutil
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from safetensors import SafetensorError, safe_open

from ctxmem_env.atomic import whole_folder
from ctxmem_env.device import fast_dtype, resolve_device
from ctxmem_env.errors import check_integer
from ctxmem_env.generator.locate import CONFIG, find_generator, weights_checksum
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.protocol import Generator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.generator.wan.folders import PREFIX

_CHECKSUMS = "checksums.json"
_WEIGHTS = Path("transformer") / "diffusion_pytorch_model.safetensors"
_loaded: dict[tuple[str, str], tuple[str | None, Generator]] = {}  # by name and device: checksum, generator
# All that are in use, by name, device and SHA-256 of their weights.
_in_use: WeakValueDictionary[tuple[str, str, str | None], Generator] = WeakValueDictionary()


def save_generator(generator: SceneGenerator, folder: str | Path) -> Path:
    """Write a generator in half precision, with checksums; the folder appears whole or not at all.

    OSError when writing fails half way, as on a full disk.
    """
    folder = Path(folder)
    with whole_folder(folder) as new:
        half = SceneTransformer.from_config(generator.transformer.config)
        half.load_state_dict(generator.transformer.state_dict())
        try:
            SceneGenerator(half.half(), generator.default_num_steps).save_pretrained(new)
        except SafetensorError as error:
            raise OSError(f"model={str(folder)!r} could not be saved, and is what it was: {error}") from error
        sums = {
            str(path.relative_to(new)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(new.rglob("*"))
            if path.is_file()
        }
        (new / _CHECKSUMS).write_text(json.dumps(sums, indent=2) + "\n")
        for path in folder.iterdir() if folder.exists() else ():  # what is not ours, such as a model card, is kept
            if not (new / path.name).exists():
                copy = shutil.copytree if path.is_dir() else shutil.copy2
                copy(path, new / path.name)
    return folder


def read_generator(folder: Path) -> SceneGenerator:
    """The generator in `folder`, on the CPU in single precision. Raises ValueError for one that is not intact."""
    checksums = _read_json(folder, _CHECKSUMS)
    for part in (CONFIG, _WEIGHTS, *checksums):
        if not (folder / part).is_file():
            raise ValueError(f"model={str(folder)!r} has no {part}; expected a folder that save_pretrained wrote")
    for name, expected in checksums.items():
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected:
            raise ValueError(
                f"model={str(folder)!r}: {name} does not match its checksum, so it is truncated or altered; "
                "fetch it again"
            )
    index, config = _read_json(folder, "model_index.json"), _read_json(folder, CONFIG)
    try:
        default_num_steps = check_integer("default_num_steps", index.get("default_num_steps", 1), 1)
        with safe_open(folder / _WEIGHTS, "pt") as file:
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        # Of the sizes that the config tells nothing is allocated: the weights, which must fit them, take their place.
        for name in ("num_layers", "num_context_layers"):
            check_integer(name, config.get(name, 1), 0, len(tensors))
        with torch.device("meta"):
            transformer = SceneTransformer.from_config(config)
    except (ArithmeticError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        raise ValueError(f"model={str(folder)!r} cannot be read ({error}); fetch it again") from error
    expected = {name: tuple(value.shape) for name, value in transformer.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(
                f"model={str(folder)!r}: {_WEIGHTS} does not fit {CONFIG}: {name} is {found.get(name, 'missing')}, "
                f"expected {expected.get(name, 'none')}; the two files must come from one model"
            )
        if not tensors[name].isfinite().all():
            raise ValueError(f"model={str(folder)!r}: {name} holds NaN or infinity; fetch the weights again")
    transformer.load_state_dict(tensors, assign=True)
    generator = SceneGenerator(transformer.eval().requires_grad_(False), default_num_steps)
    generator.weights_sha256 = hashlib.sha256((folder / _WEIGHTS).read_bytes()).hexdigest()
    return generator


def _read_json(folder: Path, name: str | Path) -> dict:
    """The JSON object in a file of a generator's folder; an empty one where there is no such file."""
    if not (folder / name).is_file():
        return {}
    try:
        content = json.loads((folder / name).read_text())
        if not isinstance(content, dict):
            raise ValueError(f"a {type(content).__name__}, not an object")
        return content
    except (ValueError, RecursionError) as error:
        raise ValueError(f"model={str(folder)!r}: {name} cannot be read ({error}); fetch it again") from error


def load_cached(model: str, device: str, sha256: str | None = None) -> Generator:
    """The generator called `model` on `device`, in the precision that is fast there; see `load_generator`.

    Loaded once, but for a folder of other weights than before.
    """
    if sha256 is not None and (same := _in_use.get((model, device, sha256))) is not None:
        return same
    # A hub id names what was fetched; to look there again is to ask the network.
    sums = weights_checksum(model) if Path(model.removeprefix(PREFIX)).is_dir() else None
    kept = _loaded.get((model, device))
    if kept is None or kept[0] != sums:
        kept = _loaded[model, device] = sums, _load(model, device)
        _in_use[model, device, _sha256(kept[1])] = kept[1]
    generator = kept[1]
    if sha256 not in (None, _sha256(generator)):
        raise ValueError(
            f"model={model!r} has other weights by now (SHA-256 {_sha256(generator)}) than those that are wanted "
            f"({sha256}), of a copy that was made before; make the environment anew."
        )
    return generator


def _sha256(generator: Generator) -> str | None:
    return getattr(generator, "weights_sha256", None)


def _load(model: str, device: str) -> Generator:
    place = resolve_device(device)
    if model.startswith(PREFIX):
        from ctxmem_env.generator.wan.store import load_wan

        return load_wan(model, place)
    generator = read_generator(find_generator(model)).to(place)
    if fast_dtype(place) == torch.bfloat16:
        generator.transformer.bfloat16()
    generator.transformer.to(memory_format=torch.channels_last)
    return generator
