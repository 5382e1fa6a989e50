"""Tasks: reward and termination of a batch of worlds, from poses, frames and depth alone."""

from typing import Protocol

from torch import Tensor

from ctxmem_env.errors import unknown_name


class Task(Protocol):
    """What an environment asks of an agent."""

    def evaluate(self, poses: Tensor, frames: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Reward (B,) float32 and termination (B,) bool of one step.

        Args:
            poses: (B, 6), metres and radians, after the motion.
            frames: uint8 (B, H, W, 3).
            depth: float32 (B, H, W), metres.
        """
        ...


class Roam:
    """Walk freely: the reward is 0 and an episode ends only at its time limit."""

    def evaluate(self, poses: Tensor, frames: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        return poses.new_zeros(len(poses)), poses.new_zeros(len(poses), dtype=bool)


TASKS: dict[str, type[Task]] = {"roam": Roam}


def make_task(name: str) -> Task:
    """A task by name; ValueError with the nearest name when there is none."""
    if name not in TASKS:
        raise unknown_name("task", name, TASKS)
    return TASKS[name]()
