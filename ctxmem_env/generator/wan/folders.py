"""What lies on disk of a Wan model, read and checked before a tensor is loaded, or a library for one.

A base is a folder in the layout of diffusers' `WanPipeline`: transformer/, vae/, and text_encoder/ and tokenizer/ where
it takes text. An adapter is a folder with

- adapter.json: `format`, "ctxmem-wan-adapter-1"; `base`, the folder or hub id of the base that it was trained on;
  `architecture`, the shape of that base; `options`, see `WanOptions`; `lora`, its rank and scale, or null; `trained`,
  "adapter" or "all"; `sha256` of the file beside it;
- adapter.safetensors: what was trained, named as in `ContextTransformer`.
"""

import hashlib
import json
import re
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NoReturn

from ctxmem_env.generator.protocol import Traits
from ctxmem_env.generator.wan.options import SPATIAL, TEMPORAL, WanOptions, options_from

PREFIX = "wan:"
FORMAT = "ctxmem-wan-adapter-1"
_SHAPE = ("num_layers", "num_attention_heads", "attention_head_dim", "ffn_dim", "freq_dim", "text_dim", "patch_size")
# Of a base: beyond all that there are, and such that a network of these sizes is made in seconds.
_MOST = {
    "transformer": {"num_layers": 256, "num_attention_heads": 256, "attention_head_dim": 1024, "ffn_dim": 1 << 17}
    | {"freq_dim": 1 << 14, "text_dim": 1 << 16, "in_channels": 1024, "rope_max_seq_len": 1 << 16},
    "vae": {"base_dim": 4096, "z_dim": 1024, "num_res_blocks": 64},
}
_FETCHED = ["*.json", "*.safetensors", "tokenizer/*"]


@dataclass(frozen=True)
class Base:
    """A base checkpoint: its folder, the shape of its transformer, whether it has a text encoder, and, of transformer
    and vae, names and shapes of their tensors."""

    folder: Path
    architecture: dict[str, Any]
    takes_text: bool
    shapes: dict[str, dict[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Adapter:
    """An adapter: its folder, the facts of its JSON file, and names and shapes of its tensors."""

    folder: Path
    base: str
    architecture: dict[str, Any]
    options: WanOptions
    lora: dict[str, Any] | None
    trained: str
    sha256: str
    shapes: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Found:
    """What `model="wan:..."` leads to: a base, and the adapter on it, if there is one."""

    base: Base
    adapter: Adapter | None

    @property
    def options(self) -> WanOptions:
        return WanOptions() if self.adapter is None else self.adapter.options

    @property
    def traits(self) -> Traits:
        """See there. No depth is predicted."""
        o = self.options
        return Traits(o.height, o.width, False, self.base.takes_text, o.frames_per_step)


def find_wan(model: str) -> Found:
    """The base or adapter of `model`, "wan:" and a folder or hub id, verified; ValueError for one that is broken."""
    folder = _find(f"model={model!r}", model.removeprefix(PREFIX))
    if not (folder / "adapter.json").is_file():
        return Found(read_base(folder), None)
    adapter = read_adapter(folder)
    base = read_base(_find(f"model={model!r}: its base {adapter.base!r}", adapter.base))
    for name in _SHAPE:
        if adapter.architecture.get(name) != base.architecture[name]:
            refuse(
                folder,
                f"was made for a base with {name}={adapter.architecture.get(name)!r}, and {str(base.folder)!r} has "
                f"{base.architecture[name]!r}; give it the base that it was trained on",
            )
    return Found(base, adapter)


def read_base(folder: Path) -> Base:
    """A base checkpoint, of whose weights only names and shapes are read. ValueError for what is none."""
    transformer, vae = (_read_json(folder, f"{part}/config.json") for part in ("transformer", "vae"))
    for part, config, kind in (
        ("transformer", transformer, "WanTransformer3DModel"),
        ("vae", vae, "AutoencoderKLWan"),
    ):
        if config.get("_class_name") != kind:
            refuse(folder, f"has a {part} of class {config.get('_class_name')!r}; expected {kind!r}")
    if transformer.get("image_dim") is not None or transformer.get("added_kv_proj_dim") is not None:
        refuse(folder, "is conditioned on images; expected a text-to-video checkpoint, such as Wan2.1-T2V-1.3B")
    channels, latent = transformer.get("in_channels"), vae.get("z_dim")
    if channels != latent or transformer.get("out_channels") not in (None, channels):
        refuse(folder, f"has a transformer of {channels} channels and a vae of {latent}; expected the same number")
    if (vae.get("scale_factor_spatial", SPATIAL), vae.get("scale_factor_temporal", TEMPORAL)) != (SPATIAL, TEMPORAL):
        refuse(
            folder, f"has a vae that is not {SPATIAL} x {SPATIAL} pixels and {TEMPORAL} frames a latent, as Wan 2.1's"
        )
    architecture = {name: transformer.get(name) for name in (*_SHAPE, "in_channels")}
    if any(value is None for value in architecture.values()):
        refuse(folder, f"has a transformer/config.json without {[n for n, v in architecture.items() if v is None]}")
    if architecture["patch_size"] != [1, 2, 2]:
        refuse(folder, f"has a transformer with patch_size={architecture['patch_size']!r}; expected [1, 2, 2]")
    for part, config in (("transformer", transformer), ("vae", vae)):
        for name, most in _MOST[part].items():
            if name in config and not (type(config[name]) is int and 0 < config[name] <= most):
                refuse(folder, f"has a {part} with {name}={_short(config[name])}; expected an integer in [1, {most}]")
    shapes = {part: _read_weights(folder, part) for part in ("transformer", "vae")}
    takes_text = (folder / "text_encoder" / "config.json").is_file() and (folder / "tokenizer").is_dir()
    if takes_text:
        _read_weights(folder, "text_encoder", "model.safetensors")
    return Base(folder, architecture, takes_text, shapes)


def read_adapter(folder: Path) -> Adapter:
    """An adapter that is intact by its checksum; ValueError for one that is not."""
    facts = _read_json(folder, "adapter.json")
    if facts.get("format") != FORMAT:
        refuse(folder, f"has an adapter.json of format {facts.get('format')!r}; expected {FORMAT!r}")
    lora = facts.get("lora")
    kinds = {"base": str, "architecture": dict, "options": dict, "sha256": str}
    for name, kind in kinds.items():
        if not isinstance(facts.get(name), kind):
            refuse(folder, f"has {name}={facts.get(name)!r} in adapter.json; expected a {kind.__name__}")
    if facts.get("trained") not in ("adapter", "all") or not (lora is None or _is_lora(lora)):
        refuse(folder, f"has trained={facts.get('trained')!r} and lora={lora!r} in adapter.json, which nobody wrote")
    weights = folder / "adapter.safetensors"
    if not weights.is_file():
        refuse(folder, "has no adapter.safetensors")
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != facts["sha256"]:
        refuse(folder, "has an adapter.safetensors that does not match its checksum: truncated or altered")
    options = options_from(facts["options"], f"{folder}: adapter.json")
    return Adapter(
        folder,
        facts["base"],
        facts["architecture"],
        options,
        lora,
        facts["trained"],
        facts["sha256"],
        read_shapes(weights, folder),
    )


def read_shapes(path: Path, folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file whose length is what its header tells."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if not length < path.stat().st_size:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        if not all(_are_sizes(entry["shape"]) and _are_sizes(entry["data_offsets"]) for entry in entries.values()):
            raise ValueError("shapes or places that are none")
        ends = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        if path.stat().st_size != 8 + length + ends:
            raise ValueError(f"{path.stat().st_size} bytes, of which its header tells {8 + length + ends}")
        return {name: tuple(entry["shape"]) for name, entry in entries.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error) as error:
        refuse(folder, f"has a {path.name} that is truncated or altered ({error}); fetch it again")


def refuse(folder: Path, why: str) -> NoReturn:
    raise ValueError(f"model='{PREFIX}{folder}' {why}.")


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def _short(value: Any) -> str:
    return repr(value) if len(repr(value)) < 40 else f"{repr(value)[:40]}..."


def _read_weights(
    folder: Path, part: str, name: str = "diffusion_pytorch_model.safetensors"
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights of a part, which are whole by their headers."""
    files = [name]
    if (folder / part / f"{name}.index.json").is_file():
        placed = _read_json(folder, f"{part}/{name}.index.json").get("weight_map")
        if not isinstance(placed, dict) or not all(_is_name(file) for file in placed.values()):
            refuse(folder, f"has a {part}/{name}.index.json without a weight_map of names of files beside it")
        files = sorted(set(placed.values()))
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        if not (folder / part / file).is_file():
            refuse(folder, f"has no {part}/{file}; weights are read from safetensors alone")
        found = read_shapes(folder / part / file, folder)
        if not sum(map(prod, found.values())):
            refuse(folder, f"has a {part}/{file} without weights")
        shapes |= found
    return shapes


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w-][\w.-]*", value) is not None


def _is_lora(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"rank", "alpha"} and all(type(v) is int for v in value.values())


def _find(what: str, name: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ValueError(f"{what} is no folder; expected one that holds a base or an adapter, or a hub id.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_FETCHED))
    except Exception as error:
        raise ValueError(
            f"{what} is no folder, and as a hub id it could not be fetched ({type(error).__name__}); check the "
            "spelling and the connection."
        ) from error


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads((folder / name).read_text())
    except FileNotFoundError:
        refuse(folder, f"has no {name}; expected a base in the layout of diffusers' WanPipeline, or an adapter on one")
    except (OSError, ValueError, RecursionError) as error:
        refuse(folder, f"has {name}, which cannot be read ({error})")
    if not isinstance(content, dict):
        refuse(folder, f"has {name}, which is no JSON object")
    return content
