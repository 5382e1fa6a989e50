"""The same answer twice: to the bit with one thread, and how far apart with other batches and threads."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.evaluation.metrics import psnr
from ctxmem_env.generator import Generator

Frames = np.ndarray
"""uint8 (T, H, W, 3)."""


def repeats(
    model: str | Generator = "nano", steps: int = 30, batches: tuple[int, ...] = (2, 8), threads: int = 2
) -> dict[str, Any]:
    """Walk the same way again, from the same seed, with one thread and then otherwise.

    Returns:
        model, steps; bit_equal, whether frames are the same to the bit: again in a new environment (`again`), from a
        state that was kept (`restored`), from a file (`loaded`); apart: for each of `batches`, in which the world is
        the first of so many, and for the number of threads, the largest difference of a pixel over the walk, the share
        of values that differ at all, and the PSNR in dB of its last frame.
    """
    actions = np.random.default_rng(0).integers(9, size=steps).tolist()
    with _threads(1):
        alone = _walk(_open(model), actions)
        equal = {"again": _same(alone, _walk(_open(model), actions))}
        half = steps // 2
        env = _open(model)
        for action in actions[:half]:
            env.step(action)
        moment = env.clone_state()
        with tempfile.TemporaryDirectory() as folder:
            path = env.save(Path(folder) / "half.ctxworld")
            other = _open(model, seed=1)
            other.load(path)
        for action in reversed(actions):
            env.step(action)
        env.restore_state(moment)
        for name, one in (("restored", env), ("loaded", other)):
            equal[name] = _same(alone[half:], _walk(one, actions[half:]))
        apart = {f"batch of {size}": _apart(alone, _walk_batch(model, actions, size)) for size in batches}
    with _threads(threads):
        apart[f"{threads} threads"] = _apart(alone, _walk(_open(model), actions))
    name = model if isinstance(model, str) else type(model).__name__
    return {"model": name, "steps": steps, "bit_equal": equal, "apart": apart}


def _open(model: str | Generator, seed: int = 0) -> gym.Env:
    env = gym.make("CtxMemScene-v0", model=model, tour=4).unwrapped
    env.reset(seed=seed)
    return env


def _walk(env: gym.Env, actions: list[int]) -> Frames:
    return np.stack([env.step(action)[0] for action in actions])


def _walk_batch(model: str | Generator, actions: list[int], size: int) -> Frames:
    envs = gym.make_vec("CtxMemScene-v0", size, model=model, tour=4)
    envs.reset(seed=0)
    rng = np.random.default_rng(1)
    frames = []
    for action in actions:
        several = rng.integers(9, size=size)
        several[0] = action
        frames.append(envs.step(several)[0][0])
    envs.close()
    return np.stack(frames)


def _same(one: Frames, other: Frames) -> bool:
    return bool(np.array_equal(one, other))


def _apart(one: Frames, other: Frames) -> dict[str, float]:
    offset = np.abs(one.astype(int) - other.astype(int))
    last = psnr(torch.from_numpy(one[-1:]), torch.from_numpy(other[-1:])).item()
    return {"largest": int(offset.max()), "share": round(float((offset > 0).mean()), 5), "last_db": round(last, 2)}


@contextmanager
def _threads(number: int) -> Iterator[None]:
    former = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(former)
