"""Actions of an agent, discrete or continuous, and the body-frame motion that each of them asks for."""

import math
from collections.abc import Sequence
from numbers import Real

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from ctxmem_env.errors import unknown_name

ACTIONS = ("discrete", "continuous")
STEP_LENGTH, TURN_ANGLE = 0.25, 15.0  # metres and degrees of an action, by default


class DiscreteActions:
    """Nine actions, each one motion along or about one axis.

    Args:
        step_length: metres of a move, above 0.
        turn_angle: degrees of a turn or look, above 0 and at most 180.
    """

    names = (
        "stay",
        "forward",
        "back",
        "strafe_left",
        "strafe_right",
        "turn_left",
        "turn_right",
        "look_up",
        "look_down",
    )

    def __init__(self, step_length: float = STEP_LENGTH, turn_angle: float = TURN_ANGLE):
        step, turn = _check_scale("step_length", step_length, "turn_angle", turn_angle)
        self.space = gym.spaces.Discrete(len(self.names))
        self._motions = torch.zeros(len(self.names), 4)
        for axis, size in enumerate((step, step, turn, turn)):
            self._motions[1 + 2 * axis, axis] = size
            self._motions[2 + 2 * axis, axis] = -size

    def to_motion(self, actions: Tensor | np.ndarray | Sequence[int]) -> Tensor:
        """Motions float32 (B, 4), as for `camera.move`, of actions (B,), integers 0 to 8; else ValueError."""
        values = np.asarray(actions)
        last = len(self.names) - 1
        fits = values.ndim == 1 and values.dtype.kind in "iu"
        if not fits or bool(((values < 0) | (values > last)).any()):
            meaning = ", ".join(f"{i} {name}" for i, name in enumerate(self.names))
            raise ValueError(f"action={_show(values)}; expected one integer from 0 to {last} a world: {meaning}.")
        return self._motions[torch.from_numpy(values.astype(np.int64))]


class ContinuousActions:
    """Four numbers in [-1, 1]: dx forward, dy left, dyaw left, dpitch up, in units of the largest motion.

    Args:
        max_step: metres at dx or dy = 1, above 0.
        max_turn: degrees at dyaw or dpitch = 1, above 0 and at most 180.
    """

    names = ("dx", "dy", "dyaw", "dpitch")

    def __init__(self, max_step: float = STEP_LENGTH, max_turn: float = TURN_ANGLE):
        step, turn = _check_scale("max_step", max_step, "max_turn", max_turn)
        self.space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self._scale = torch.tensor([step, step, turn, turn])

    def to_motion(self, actions: Tensor | np.ndarray | Sequence[Sequence[float]]) -> Tensor:
        """Motions float32 (B, 4), as for `camera.move`, of actions (B, 4) in [-1, 1]; else ValueError."""
        values = np.asarray(actions)
        fits = values.ndim == 2 and values.shape[1] == 4 and values.dtype.kind in "iuf"
        # NaN compares false, so it does not pass.
        if not fits or not bool((np.abs(values) <= 1).all()):
            raise ValueError(
                f"action={_show(values)}; expected four finite numbers in [-1, 1] a world, "
                f"{', '.join(self.names)}; clip them, and set the scale with step_length and turn_angle."
            )
        return torch.from_numpy(values.astype(np.float32)) * self._scale


def make_actions(
    name: str, step_length: float = STEP_LENGTH, turn_angle: float = TURN_ANGLE
) -> DiscreteActions | ContinuousActions:
    """The action set "discrete" or "continuous", with its (largest) step in metres and turn in degrees."""
    if name not in ACTIONS:
        raise unknown_name("actions", name, ACTIONS)
    _check_scale("step_length", step_length, "turn_angle", turn_angle)
    return (
        DiscreteActions(step_length, turn_angle) if name == "discrete" else ContinuousActions(step_length, turn_angle)
    )


def _check_scale(step_name: str, step: float, turn_name: str, turn: float) -> tuple[float, float]:
    """The step in metres and the turn in radians."""
    if not isinstance(step, Real) or not 0 < step < math.inf:
        raise ValueError(f"{step_name}={step!r}; expected metres, finite and above 0.")
    if not isinstance(turn, Real) or not 0 < turn <= 180:
        raise ValueError(f"{turn_name}={turn!r}; expected degrees above 0 and at most 180.")
    return float(step), math.radians(turn)


def _show(values: np.ndarray) -> str:
    text = np.array2string(values, threshold=8, separator=", ")
    return f"{text} ({values.dtype}, shape {values.shape})"
