"""What every task does, and what it is told."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor


class Place(Protocol):
    """The ground that a world begins on, asked while it is reset and not later."""

    def free(self, x: float, y: float) -> bool:
        """Whether a body may stand there."""
        ...

    def way(self, start: Tensor, goal: Tensor) -> float:
        """Metres of the shortest way between two places (2,), infinite where there is none."""
        ...

    def picture(self, pose: Tensor) -> Tensor | None:
        """The true frame uint8 (H, W, 3) from a pose (6,), None where nobody knows it."""
        ...


@dataclass(frozen=True)
class Beginning:
    """What one world remembers when it begins: frames (n, H, W, 3), depth (n, H, W), poses (n, 6).

    The camera stands at the last pose. fov is in degrees.
    """

    frames: Tensor
    depth: Tensor
    poses: Tensor
    fov: float
    place: Place


class Task:
    """A task of B worlds, each with its own state. This one asks for nothing; the others say what differs.

    An environment calls `open` once, `draw` and then `begin` when a world is reset, and after each step `evaluate`,
    then `observe` and `inform`. Where `cameras` share a world, what is said of a world holds for each of them: those of
    one world are rows that follow each other, and begin in that order.

    Args:
        reward: "dense" or "sparse".
    """

    goal_size: int | None = None  # numbers that the reset option "goal" takes
    needs_depth: bool = False  # to pay what it pays
    cameras: int = 1  # that share a world; set before `open`

    def __init__(self, reward: str = "dense"):
        self.dense = reward == "dense"

    def spaces(self, height: int, width: int) -> dict[str, spaces.Space]:
        """What the observation holds besides what the camera sees, for frames of that size."""
        return {}

    def open(self, num_worlds: int, height: int, width: int, device: torch.device) -> None:
        """Make room for the state of B worlds."""

    def draw(self, beginning: Beginning, goal: tuple[float, ...] | None, rng: np.random.Generator) -> Any:
        """What the episode of one world is about, for `begin`; `goal` as the reset options have it. No state changes.

        Raises:
            ValueError: a goal that cannot be reached, or a beginning that has none.
        """
        return None

    def begin(self, world: int, beginning: Beginning, drawn: Any) -> None:
        """Start one world over."""

    def evaluate(self, poses: Tensor, frames: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Reward (B,) float32 and termination (B,) bool of one step.

        Args:
            poses: (B, 6), metres and radians, after the motion.
            frames: uint8 (B, H, W, 3).
            depth: float32 (B, H, W), metres.
        """
        return poses.new_zeros(len(poses)), poses.new_zeros(len(poses), dtype=torch.bool)

    def observe(self) -> dict[str, Tensor]:
        """What `spaces` announces, (B, ...)."""
        return {}

    def inform(self) -> dict[str, Tensor]:
        """What `info` holds of the task, each (B,), bool or float32."""
        return {}


def check_evaluation(task: Task, told: Any, poses: Tensor) -> tuple[Tensor, Tensor]:
    """Reward and termination that `evaluate` of a task gave for poses (B, 6); ValueError unless they are as it says.

    Only types and shapes are looked at: values on another device would have to be waited for.
    """
    given, rows = f"evaluate of the task {type(task).__name__} gave", len(poses)
    if not isinstance(told, tuple | list) or len(told) != 2:
        came = f"{len(told)} values" if isinstance(told, tuple | list) else f"a {type(told).__name__}"
        raise ValueError(f"{given} {came}; expected a reward and a termination, tensors of shape ({rows},).")
    for name, value, kind in zip(("reward", "termination"), told, ("floats", "torch.bool"), strict=True):
        came = f"a {name} that is a {type(value).__name__}"
        if isinstance(value, Tensor):
            fits = value.is_floating_point() if kind == "floats" else value.dtype == torch.bool
            if fits and value.shape == (rows,) and value.device == poses.device:
                continue
            came = f"a {name} of {value.dtype}, shape {tuple(value.shape)}, on {value.device}"
        raise ValueError(
            f"{given} {came}; expected a tensor of {kind}, shape ({rows},), one for each world, on {poses.device}."
        )
    return told[0], told[1]
