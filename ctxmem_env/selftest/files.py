"""Parsers of single files for the fuzzer; each function gets an empty folder and gives a `Target`."""

import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import torch

from ctxmem_env.selftest.calls import small_env
from ctxmem_env.selftest.mutate import SEPARATOR
from ctxmem_env.selftest.target import Target


def world_file(folder: Path) -> Target:
    """Saved worlds: as bytes, and as a table and arrays whose checksums are right."""
    path = folder / "a.ctxworld"
    env = small_env(observation="dict", task="explore", memory_capacity=6, eviction="reservoir", actions="continuous")
    env.reset(seed=0)
    for _ in range(2):
        env.step(np.array([0.5, 0, 1, 0], np.float32))
    env.save(path)
    moment = env.clone_state()

    def run(data: bytes) -> None:
        parts = data.split(SEPARATOR)
        path.write_bytes(data if len(parts) == 1 else whole_world(*parts))
        env.load(path)
        observation = env.step(np.zeros(4, np.float32))[0]
        assert observation["rgb"].shape == (16, 16, 3) and np.isfinite(observation["pose"]).all()
        env.restore_state(moment)

    return Target([path.read_bytes(), SEPARATOR.join(parts_of_world(path))], run)


def parts_of_world(path: Path) -> list[bytes]:
    """Of a saved world: its table, which leaves lengths and checksums open, and its arrays unpacked."""
    from ctxmem_env.world_file import WorldFile

    with WorldFile(path) as file:
        arrays = [
            {"name": n, "dtype": e.dtype, "shape": e.shape, "rows": e.rows, "bytes": None, "sha256": None}
            for n, e in file.entries.items()
        ]
        table = json.dumps({"facts": file.facts, "arrays": arrays}).encode()
        return [table, *(zlib.decompress(_stream(path, entry)) for entry in file.entries.values())]


def _stream(path: Path, entry) -> bytes:
    return path.read_bytes()[entry.offset : entry.offset + entry.bytes]


def whole_world(table: bytes, *arrays: bytes) -> bytes:
    """A file of that table; lengths and checksums that it leaves open are right."""
    streams = [zlib.compress(array, 1) for array in arrays]
    try:
        told = json.loads(table)
        for entry, stream in zip(told["arrays"], streams, strict=False):
            sha256 = hashlib.sha256(stream).hexdigest()
            right = {"bytes": len(stream), "sha256": sha256}
            entry |= {name: value for name, value in right.items() if entry.get(name, 0) is None}
        table = json.dumps(told).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    end = len(table).to_bytes(8, "little") + hashlib.sha256(table).digest()
    return b"ctxworld" + (1).to_bytes(4, "little") + b"".join(streams) + table + end


def generator_folder(folder: Path) -> Target:
    """Generators: config, index, and weights in safetensors, with checksums that are right."""
    from ctxmem_env.generator.locate import read_traits
    from ctxmem_env.generator.store import read_generator

    place = tiny_generator(folder / "model")
    names = ["transformer/config.json", "model_index.json", "transformer/diffusion_pytorch_model.safetensors"]
    config, index, weights = ((place / name).read_bytes() for name in names)

    def run(data: bytes) -> None:
        config, index, *weights = data.split(SEPARATOR)
        parts = dict(zip(names, (config, index, join_safetensors(weights)), strict=True))
        for name, content in parts.items():
            (place / name).write_bytes(content)
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
        (place / "checksums.json").write_text(json.dumps(sums))
        read_traits(str(place))
        read_generator(place)

    return Target([SEPARATOR.join([config, index, *split_safetensors(weights)])], run)


def tiny_generator(folder: Path) -> Path:
    """The folder of a generator of 16 x 16 pixels with random weights."""
    from ctxmem_env.generator.pipeline import SceneGenerator
    from ctxmem_env.generator.store import save_generator
    from ctxmem_env.generator.transformer import SceneTransformer

    sizes = {"height": 16, "width": 16, "patch_size": 8, "dim": 16, "num_heads": 1, "num_layers": 1}
    return save_generator(SceneGenerator(SceneTransformer(**sizes, num_context_layers=1, pixel_dim=4)), folder)


def policy_file(folder: Path) -> Target:
    """Trained policies, with a checksum that is right."""
    from ctxmem_env.policies.network import NetworkPolicy, load_policy, save_policy

    encoder = {"images": ["depth"], "goal_size": 2, "features": 4, "height": 36, "width": 36}
    path = save_policy(NetworkPolicy("point_goal", encoder, (4,)), folder / "a.safetensors")
    whole = path.read_bytes()
    header, body = split_safetensors(whole)
    header = json.loads(header)
    told = header.pop("__metadata__")["policy"]
    observation = {"depth": np.ones((1, 36, 36, 1), np.float32), "goal": np.zeros((1, 2), np.float32)}

    def run(data: bytes) -> None:
        parts = data.split(SEPARATOR)
        path.write_bytes(data if len(parts) < 3 else _whole_policy(*parts[:3]))
        policy = load_policy(path)
        if policy.encoder_arguments.get("height") == 36 == policy.encoder_arguments.get("width"):
            policy.predict(observation)

    return Target([whole, SEPARATOR.join([told.encode(), json.dumps(header).encode(), body])], run)


def _whole_policy(told: bytes, header: bytes, body: bytes) -> bytes:
    text, digest = told.decode(errors="replace"), hashlib.sha256(told)
    try:
        header = json.loads(header)
        for name in sorted(header):
            first, last = header[name]["data_offsets"]
            digest.update(name.encode() + body[first:last])
        metadata = {"format": "ctxmem-policy-1", "policy": text, "sha256": digest.hexdigest()}
        header = json.dumps({"__metadata__": metadata, **header}).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return join_safetensors([header, body])


def checkpoint(folder: Path) -> Target:
    """Checkpoints of a training run."""
    from ctxmem_env.training.checkpoint import load_checkpoint, save_checkpoint

    path = folder / "latest.safetensors"
    save_checkpoint(path, {"ema.a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.int64)}, {"step": 3})
    whole = path.read_bytes()

    def run(data: bytes) -> None:
        path.write_bytes(join_safetensors(data.split(SEPARATOR)))
        load_checkpoint(path)

    return Target([whole, SEPARATOR.join(split_safetensors(whole))], run)


def split_safetensors(safetensors: bytes) -> tuple[bytes, bytes]:
    """Header and body of a file of safetensors."""
    length = int.from_bytes(safetensors[:8], "little")
    return safetensors[8 : 8 + length], safetensors[8 + length :]


def join_safetensors(parts: list[bytes]) -> bytes:
    """The file of a header and a body, the length of the header being right; of one part, that part."""
    return b"".join(parts) if len(parts) < 2 else len(parts[0]).to_bytes(8, "little") + b"".join(parts)


def config_yaml(folder: Path) -> Target:
    """Configurations of training."""
    from ctxmem_env.config import TrainConfig, load_config

    path = folder / "a.yaml"
    seeds = [
        b"name: nano\nnum_steps: 10\nlearning_rate: 1.0e-3\nmodel:\n  dim: 16\n  lookup: true\ndata:\n  tour: 2\n",
        b"name: &a [x, x]\nmodel: {b: &b [*a, *a, *a], c: [*b, *b, *b]}\ninit: ''\n",
        b"seed: 0o17\ncompile: no\nname: 2001-01-01\nthreads: 1_0\n? [a]\n: b\n<<: {seed: 1}\n",
    ]

    def run(data: bytes) -> None:
        path.write_bytes(data)
        load_config(TrainConfig, path)

    return Target(seeds, run)


def actions_file(folder: Path) -> Target:
    """What `ctxmem rollout --actions` reads: a file of actions, or their names."""
    from ctxmem_env.cli.drive import parse_actions, read_actions

    path = folder / "actions.json"

    def run(data: bytes) -> None:
        if data[:1] in (b"[", b"{"):
            path.write_bytes(data)
            read_actions(path, None)
        else:
            parse_actions(data.decode(errors="surrogateescape"))

    return Target(
        [b'["forward", "turn_left"]', b"[[1, 0, 0.5, -1], [0, 0, 0, 0]]", b"forward*4,turn_left*24, stay"], run
    )
