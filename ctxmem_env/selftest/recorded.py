"""Episodes and Wan folders for the fuzzer; each function gets an empty folder and gives a `Target`."""

import hashlib
import json
from pathlib import Path

import gymnasium as gym
import numpy as np

from ctxmem_env.selftest.calls import read_object
from ctxmem_env.selftest.files import join_safetensors, split_safetensors, tiny_generator
from ctxmem_env.selftest.mutate import SEPARATOR
from ctxmem_env.selftest.target import Target

_MOST_FRAMES, _LARGEST = 12, 64  # of a replay that is not worth the time


def episode_file(folder: Path) -> Target:
    """Episodes, which are replayed where the world is small: a large one takes its time, which is what it asks for."""
    from ctxmem_env.episodes import RecordEpisode, load_episode, replay

    path = folder / "episode.json"
    small = {"height": 16, "width": 16, "tour": 1}
    model = {"model": str(tiny_generator(folder / "model")), "tour": 1, "num_context": 2}
    seeds = []
    for kind, kwargs, action in (
        ("CtxMemTrueScene-v0", small, 1),
        ("CtxMemTrueScene-v0", small | {"actions": "keyboard_mouse", "task": "point_goal"}, None),
        ("CtxMemScene-v0", model | {"actions": "continuous"}, np.array([0.5, 0, 1, 0], np.float32)),
    ):
        env = RecordEpisode(gym.make(kind, **kwargs))
        env.reset(seed=0, options={"scene": "library"})
        for _ in range(2):
            env.step(env.action_space.sample() if action is None else action)
        seeds.append(env.episode().save(path).read_bytes())

    def run(data: bytes) -> None:
        path.write_bytes(data)
        episode = load_episode(path)
        sizes = [episode.arguments.get(name, 0) for name in ("height", "width", "tour")]
        tour = (episode.options or {}).get("tour")
        small = all(isinstance(size, int) and size <= _LARGEST for size in (*sizes, tour or 0))
        if small and max(sizes[2], tour or 0) <= 3 and len(episode.frames) <= _MOST_FRAMES:
            for moment in replay(episode):
                assert isinstance(moment.same, bool)

    return Target(seeds, run, (ValueError, OSError, gym.error.Error))


def wan_folder(folder: Path) -> Target:
    """A Wan base and an adapter on it: their JSON, the headers of their weights, and the adapter's weights."""
    from diffusers import WanTransformer3DModel

    from ctxmem_env.generator.wan.folders import find_wan
    from ctxmem_env.generator.wan.options import WanOptions
    from ctxmem_env.generator.wan.store import ContextTransformer, check, is_adapter, make_base, save_adapter

    transformer = {"num_layers": 1, "num_attention_heads": 1, "attention_head_dim": 12, "ffn_dim": 8, "freq_dim": 8,
                   "text_dim": 8, "in_channels": 2, "out_channels": 2, "rope_max_seq_len": 16}  # fmt: skip
    vae = {"base_dim": 2, "z_dim": 2, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1, "latents_mean": [0.0, 0.1],
           "latents_std": [0.5, 0.6]}  # fmt: skip
    base = make_base(folder / "base", transformer, vae)
    network = ContextTransformer(WanTransformer3DModel.from_pretrained(base.folder / "transformer"))
    tensors = {name: value for name, value in network.state_dict().items() if is_adapter(name)}
    options = WanOptions(32, 32, 5)
    adapter = save_adapter(folder / "adapter", tensors, str(base.folder), base.architecture, options, None, "adapter")
    names = ["base/transformer/config.json", "base/vae/config.json"]
    weights = base.folder / "transformer" / "diffusion_pytorch_model.safetensors"
    header, body = split_safetensors(weights.read_bytes())
    facts = json.loads((adapter / "adapter.json").read_text()) | {"base": None, "sha256": None}
    parts = [(folder / name).read_bytes() for name in names]
    own = split_safetensors((adapter / "adapter.safetensors").read_bytes())

    def run(data: bytes) -> None:
        parts = data.split(SEPARATOR)
        parts += [b""] * (6 - len(parts))
        for name, part in zip(names, parts, strict=False):
            (folder / name).write_bytes(part)
        weights.write_bytes(join_safetensors([parts[2], body]))
        (adapter / "adapter.safetensors").write_bytes(join_safetensors(parts[4:6]))
        right = {"base": str(base.folder), "sha256": hashlib.sha256(join_safetensors(parts[4:6])).hexdigest()}
        (adapter / "adapter.json").write_bytes(_filled(parts[3], right))
        for place in (base.folder, adapter):
            found = find_wan(f"wan:{place}")
            _ = found.traits
        check(found)

    seed = SEPARATOR.join([*parts, header, json.dumps(facts).encode(), *own])
    lora = json.dumps(facts | {"lora": {"rank": 2, "alpha": 2}, "trained": "all"}).encode()
    return Target([seed, SEPARATOR.join([*parts, header, lora, *own])], run, (ValueError,))


def _filled(facts: bytes, right: dict[str, str]) -> bytes:
    """What an input leaves open is right."""
    try:
        told = read_object(facts)
    except ValueError:
        return facts
    return json.dumps(told | {name: value for name, value in right.items() if told.get(name, 0) is None}).encode()
