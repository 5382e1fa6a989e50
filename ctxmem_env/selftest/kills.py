"""Processes that are killed at any moment: what they had saved whole is there, and nothing else is taken for it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tqdm import tqdm

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.config import DataConfig, TrainConfig
from ctxmem_env.testing import PoseGenerator
from ctxmem_env.training.checkpoint import load_checkpoint, save_checkpoint
from ctxmem_env.training.train import train

ACTIONS = np.random.default_rng(0).integers(0, 9, 100_000).tolist()
BOUNDS: dict[str, dict[str, Any]] = {
    "unbounded": {},
    "bounded": {"memory_capacity": 40, "eviction": "reservoir"},
}


@contextmanager
def child(work: Callable[[], Any]) -> Iterator[int]:
    """A process, forked from this one so that nothing is imported again, which does `work` until it is killed."""
    pid = os.fork()
    if pid == 0:
        # The lock of progress bars is shared with forks: killed while it holds it, a child would leave it locked here.
        tqdm.set_lock(threading.RLock())
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != -signal.SIGKILL:
        raise RuntimeError(f"a process that was to work until it was killed ended by itself, with {code}")


def wait_for_saves(path: Path, count: int, timeout: float = 60) -> None:
    """Until the file has been made or replaced so many times; RuntimeError after `timeout` seconds."""
    end, seen = time.monotonic() + timeout, set()
    while len(seen) <= count and time.monotonic() < end:
        seen.add(_version(path))
        time.sleep(0.0005)
    if len(seen) <= count:
        raise RuntimeError(f"{path} was not saved {count} times in {timeout} s")


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()  # asked once: of two answers each could be of another file
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def open_env(bound: dict[str, Any]) -> gym.Env:
    """A small environment with a world in it; `bound` is what it remembers at most."""
    env = gym.make("CtxMemScene-v0", model=PoseGenerator(), tour=2, observation="dict", task="explore", **bound)
    env.unwrapped.reset(seed=0)
    return env.unwrapped


def kill_walks(folder: Path, kills: int, bound: dict[str, Any]) -> dict[str, int]:
    """A walk that saves at every step is killed again and again, and goes on from its last save.

    Returns:
        kills; lost, times that the last whole save could not be loaded or was an older one; torn, unfinished files
        that kills left behind, and taken, those of them that were taken for a world that they were not; steps, how far
        the walk came; different, steps of the walk that the kills cut into pieces which are not those of one that was
        never cut, of the last ten.
    """
    path, rng = folder / "walk.ctxworld", np.random.default_rng(1)
    env, other = open_env(bound), open_env(bound)
    told = {"kills": 0, "lost": 0, "torn": 0, "taken": 0, "steps": 0}
    env.save(path)
    begun = time.monotonic()
    env.save(path)
    moments = 4 * (time.monotonic() - begun)

    def walk_and_save() -> None:
        for action in ACTIONS[told["steps"] :]:
            env.step(action)
            env.save(path)

    for _ in range(kills):
        least = int(rng.integers(3))
        with child(walk_and_save):
            wait_for_saves(path, least)
            time.sleep(float(rng.uniform(0, moments)))
        told["kills"] += 1
        told["lost"] += not _goes_on(env, path, told["steps"] + least)
        told["steps"] = len(env._track) - 1
        for rest in folder.glob(f".{path.name}.*.tmp"):
            whole = _loads(other, rest)
            told["torn"] += not whole
            told["taken"] += whole and len(other._track) - 1 != told["steps"] + 1  # whole, but for its name
            rest.unlink()
    return told | {"different": _different(env, open_env(bound), told["steps"])}


def _goes_on(env: gym.Env, path: Path, steps: int) -> bool:
    return _loads(env, path) and len(env._track) - 1 >= steps


def _loads(env: gym.Env, path: Path) -> bool:
    try:
        env.load(path)
    except ValueError as error:
        if not any(text in str(error) for text in ("is truncated or damaged", "is not a saved world")):
            raise
        return False
    return True


def _different(env: gym.Env, whole: gym.Env, steps: int) -> int:
    for action in ACTIONS[:steps]:
        whole.step(action)
    count = 0
    for action in ACTIONS[steps : steps + 10]:
        one, other = env.step(action)[0], whole.step(action)[0]
        count += not all(np.array_equal(one[name], other[name]) for name in one)
    return count


def kill_checkpoints(folder: Path, kills: int) -> dict[str, int]:
    """A process that writes checkpoints of 4 MB is killed while it writes: kills, and lost, as of `kill_walks`."""
    path, rng, told = folder / "latest.safetensors", np.random.default_rng(0), {"kills": 0, "lost": 0, "step": 0}
    save_checkpoint(path, {"weights": torch.zeros(1_000_000)}, {"step": 0})

    def save_and_save() -> None:
        for step in range(told["step"] + 1, told["step"] + 10_000):
            save_checkpoint(path, {"weights": torch.full((1_000_000,), float(step))}, {"step": step})

    for _ in range(kills):
        with child(save_and_save):
            wait_for_saves(path, 1)
            time.sleep(float(rng.uniform(0, 0.03)))
        told["kills"] += 1
        try:
            tensors, facts = load_checkpoint(path)
        except ValueError:
            told["lost"] += 1
            continue
        whole = facts["step"] > told["step"] and bool((tensors["weights"] == facts["step"]).all())
        told["lost"] += not whole
        told["step"] = facts["step"]
    return {name: told[name] for name in ("kills", "lost")}


def small_training() -> TrainConfig:
    """A run of a few seconds that keeps a checkpoint at every step."""
    sizes = {"height": 16, "width": 16, "patch_size": 4, "dim": 32, "num_heads": 2}
    layers = {"num_layers": 2, "num_context_layers": 1, "pixel_dim": 8}
    data = DataConfig(scenes_per_batch=2, targets_per_scene=2, num_context=2, walk_length=8, tour=2, workers=0)
    return TrainConfig(
        name="kills",
        num_steps=24,
        warmup_steps=2,
        self_context=0.5,
        self_context_from=2,
        adversarial_from=3,
        precision="float32",
        validate_every=24,
        validation_scenes=2,
        checkpoint_every=1,
        model=sizes | layers,
        data=data,
    )


def kill_training(folder: Path, kills: int) -> dict[str, int]:
    """A training run is killed again and again and then ends: kills; lives, those that got a step further; lost,
    checkpoints that were not whole or older than the one before; different, tensors that are not, to the bit, those of
    a run that was never killed.
    """
    config, rng = small_training(), np.random.default_rng(0)
    train(config, folder / "whole", quiet=True)
    out = folder / "cut"
    latest = out / "latest.safetensors"
    steps, told = [0], {"kills": 0, "lives": 0, "lost": 0}
    for _ in range(kills):
        get_on = int(rng.integers(2)) and steps[-1] < config.num_steps
        with child(lambda: (train(config, out, quiet=True), time.sleep(60))):
            if get_on:  # by saves, not by time: a slow machine gets nowhere in seconds
                wait_for_saves(latest, 1)
            time.sleep(float(rng.uniform(0, 0.1 if get_on else 1.2)))
        told["kills"] += 1
        if latest.exists():
            try:
                steps.append(load_checkpoint(latest)[1]["step"])
            except ValueError:
                told["lost"] += 1
                continue
            told["lost"] += steps[-1] < steps[-2]
            told["lives"] += steps[-1] > steps[-2]
    train(config, out, quiet=True)
    one, other = (load_checkpoint(path / "latest.safetensors")[0] for path in (folder / "whole", out))
    different = sum(name not in other or not torch.equal(one[name], other[name]) for name in one)
    return told | {"different": different + len(other.keys() - one.keys())}
