"""A walk of very many steps in one world of bounded memory: finite frames, flat memory, poses that do not drift."""

import gc
import json
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from tqdm import tqdm

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.actions import DiscreteActions
from ctxmem_env.atomic import open_whole
from ctxmem_env.camera import body_rotation, motion_between, move, wrap_angle
from ctxmem_env.device import resident_mb
from ctxmem_env.errors import check_integer
from ctxmem_env.generator import Generator

_PROGRESS = "soak.json"
_SETTLED = 0.2  # share of the steps after which memory is to be flat


def soak(
    folder: str | Path,
    model: str | Generator = "nano",
    steps: int = 100_000,
    capacity: int = 256,
    save_every: int = 5_000,
    seed: int = 0,
    quiet: bool = False,
    weighings: int = 100,
) -> dict[str, Any]:
    """Walk at random for `steps` steps; a walk that was cut off goes on from its last save in `folder`.

    Memory is weighed `weighings` times.

    Returns:
        model, capacity, seed; steps; lives, processes that it took; seconds; not_finite, steps with a depth or a pose
        that is not finite; collisions; resident_mb, memory of the process at even distances; growth_percent, by how
        much the largest of them in the last 80 % of a life exceeds the one at their begin, the most of all lives;
        turn_error, the farthest that R^T R of a camera's rotation was from one; drift_m and drift_rad, how far the
        pose was from the same motions added up in double precision, the farthest; contrast, the standard deviation of
        a frame's pixels, means over the parts between two weighings.

    Raises:
        ValueError: a number that is too small, or a folder with another walk.
    """
    check_integer("steps", steps, check_integer("weighings", weighings, 2))
    check_integer("save_every", save_every, 1)
    torch.set_num_threads(1)
    env = gym.make("CtxMemScene-v0", model=model, memory_capacity=capacity, observation="rgbd").unwrapped
    walk = _Walk(env, Path(folder), steps, {"capacity": capacity, "seed": seed})
    motions = DiscreteActions().to_motion(range(env.action_space.n)).double()
    actions = np.random.default_rng(seed).integers(len(motions), size=steps).tolist()
    each = steps // weighings
    with tqdm(total=steps, initial=walk.step, desc="soak", unit="step", disable=quiet, dynamic_ncols=True) as progress:
        while walk.step < steps:
            action = actions[walk.step]
            walk.advance(action, motions[action])
            if walk.step % each == 0:
                walk.weigh()
            if walk.step % save_every == 0 or walk.step == steps:
                walk.save()
            progress.update()
    return walk.figures(model)


class _Walk:
    """One environment, and what is kept of its walk: figures (JSON types) in a file beside the saved world."""

    def __init__(self, env: gym.Env, folder: Path, steps: int, told: dict[str, int]):
        self.env, self.folder = env, folder
        folder.mkdir(parents=True, exist_ok=True)
        told = told | {"steps": steps}
        path = folder / _PROGRESS
        if path.is_file():
            self.kept = json.loads(path.read_text())
            if {name: self.kept.get(name) for name in told} != told:
                raise ValueError(f"folder={str(folder)!r} holds another walk than one of {told}; name another folder.")
            env.load(self._world(self.step))
            self.exact = torch.tensor([self.kept["exact"]], dtype=torch.float64)
        else:
            env.reset(seed=told["seed"])
            self.exact = env.world.poses.double()
            names = ("step", "not_finite", "collisions", "turn_error", "drift_m", "drift_rad", "seconds")
            self.kept = told | {name: 0 for name in names} | {"lives": [], "contrast": []}
        self.kept["lives"].append([])
        self._contrast: list[float] = []
        self._began = time.monotonic() - self.kept["seconds"]

    @property
    def step(self) -> int:
        return self.kept["step"]

    def _world(self, step: int) -> Path:
        return self.folder / f"step_{step}.ctxworld"

    def advance(self, action: int, motion: torch.Tensor) -> None:
        kept, before = self.kept, self.env.world.poses
        observation, _, _, _, info = self.env.step(action)
        after = self.env.world.poses
        if info["collision"]:
            motion = motion_between(before.double(), after.double())[0]
        self.exact = move(self.exact, motion[None])
        kept["step"] += 1
        kept["collisions"] += info["collision"]
        kept["not_finite"] += not (np.isfinite(observation["depth"]).all() and np.isfinite(info["pose"]).all())
        turn = body_rotation(after)[0].double()
        offset = (after.double() - self.exact)[0]
        errors = {
            "turn_error": (turn.T @ turn - torch.eye(3)).abs().max(),
            "drift_m": offset[:3].norm(),
            "drift_rad": wrap_angle(offset[3:]).abs().max(),
        }
        for name, error in errors.items():
            kept[name] = max(kept[name], float(error))
        self._contrast.append(float(observation["rgb"].std()))

    def weigh(self) -> None:
        gc.collect()
        self.kept["lives"][-1].append([self.step, resident_mb()])
        self.kept["contrast"].append(round(float(np.mean(self._contrast)), 2))
        self._contrast.clear()

    def save(self) -> None:
        """The world, then what points to it: of a process that is killed between the two the earlier pair is left."""
        self.env.save(self._world(self.step))
        self.kept |= {"exact": self.exact[0].tolist(), "seconds": round(time.monotonic() - self._began, 1)}
        with open_whole(self.folder / _PROGRESS) as file:
            file.write(json.dumps(self.kept).encode())
        for path in self.folder.glob("step_*.ctxworld"):
            if path != self._world(self.step):
                path.unlink()

    def figures(self, model: str | Generator) -> dict[str, Any]:
        kept = {name: value for name, value in self.kept.items() if name not in ("step", "exact", "lives")}
        lives = [life for life in self.kept["lives"] if life]
        return {
            "model": model if isinstance(model, str) else type(model).__name__,
            "weights_sha256": getattr(self.env.world.generator, "weights_sha256", None),
            **kept,
            "lives": len(lives),
            "resident_mb": [megabytes for life in lives for _, megabytes in life],
            "growth_percent": max(map(growth_percent, lives)),
        }


def growth_percent(weighed: list[tuple[int, float]]) -> float:
    """By how much the largest of readings (step, megabytes) in their last 80 % exceeds the one at their begin."""
    first = max(round(len(weighed) * _SETTLED) - 1, 0)
    settled = [megabytes for _, megabytes in weighed[first:]]
    return round(100 * (max(settled) / settled[0] - 1), 3)
