"""Actions of an agent, discrete, continuous or of keyboard and mouse, and the body-frame motion that each asks for."""

import math
import reprlib
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from ctxmem_env.errors import unknown_name

ACTIONS = ("discrete", "continuous", "keyboard_mouse")
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
        values = _as_array(actions)
        last = len(self.names) - 1
        fits = values.ndim == 1 and values.dtype.kind in "iu"
        if not fits or bool(((values < 0) | (values > last)).any()):
            raise ValueError(f"action={_show(values)}; expected {self.expected(' a world')}.")
        return self._motions[torch.from_numpy(values.astype(np.int64))]

    def expected(self, of: str = "") -> str:
        """What an action is, in words; `of` says of whom."""
        meaning = ", ".join(f"{i} {name}" for i, name in enumerate(self.names))
        return f"one integer from 0 to {len(self.names) - 1}{of}: {meaning}"


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
        values = _as_array(actions)
        fits = values.ndim == 2 and values.shape[1] == 4 and values.dtype.kind in "iuf"
        # NaN compares false, so it does not pass.
        if not fits or not bool((np.abs(values) <= 1).all()):
            raise ValueError(f"action={_show(values)}; expected {self.expected(' a world')}.")
        return torch.from_numpy(values.astype(np.float32)) * self._scale

    def expected(self, of: str = "") -> str:
        """What an action is, in words; `of` says of whom."""
        names = ", ".join(self.names)
        return (
            f"four finite numbers in [-1, 1]{of}, {names}; clip them, and set the scale with step_length and turn_angle"
        )


class KeyboardMouseActions:
    """Keys held down and a movement of the mouse, as GameFactory (arXiv:2501.08325) records them in Minecraft.

    `keys` are ws (0 none, 1 W ahead, 2 S back), ad (0 none, 1 A to the left, 2 D to the right) and scs (0 none,
    1 space, 2 shift sneaks at 0.3 of the speed, 3 ctrl sprints at 1.3 of it); `mouse` is pitch_delta and yaw_delta in
    [-1, 1], in units of the turn, of which positive ones look down and turn right, as in Minecraft. Two keys lead
    across, no faster than one. There is nothing to jump over: space moves no camera.

    Args:
        step_length: metres of W, A, S or D, above 0.
        turn_angle: degrees of a mouse at 1, above 0 and at most 180; 15 in GameFactory.
    """

    names = ("ws", "ad", "scs", "pitch_delta", "yaw_delta")

    def __init__(self, step_length: float = STEP_LENGTH, turn_angle: float = TURN_ANGLE):
        self._step, self._turn = _check_scale("step_length", step_length, "turn_angle", turn_angle)
        keys, mouse = gym.spaces.MultiDiscrete([3, 3, 4]), gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.space = gym.spaces.Dict({"keys": keys, "mouse": mouse})

    def to_motion(self, actions: dict[str, Any]) -> Tensor:
        """Motions float32 (B, 4), as for `camera.move`, of keys (B, 3), integers, and mouse (B, 2); else ValueError."""
        given = actions if isinstance(actions, dict) else {}
        keys, mouse = (_as_array(given.get(name)) for name in ("keys", "mouse"))
        fits = given.keys() == {"keys", "mouse"} and keys.dtype.kind in "iu" and mouse.dtype.kind in "iuf"
        fits = fits and keys.ndim == mouse.ndim == 2 and keys.shape == (len(mouse), 3) and mouse.shape[1] == 2
        # NaN compares false, so it does not pass.
        if not fits or not bool(((keys >= 0) & (keys < [3, 3, 4])).all() and (np.abs(mouse) <= 1).all()):
            came = {name: _show(_as_array(value)) for name, value in given.items()} or repr(actions)
            raise ValueError(f"action={came}; expected {self.expected(' a world')}.")
        ws, ad, scs = torch.from_numpy(keys.astype(np.int64)).unbind(1)
        axis = torch.tensor([0.0, 1.0, -1.0])
        way = torch.stack([axis[ws], axis[ad]], dim=1)
        way = way / way.norm(dim=1, keepdim=True).clamp_min(1) * torch.tensor([1.0, 1.0, 0.3, 1.3])[scs, None]
        down, right = torch.from_numpy(mouse.astype(np.float32)).unbind(1)
        return torch.cat([self._step * way, -self._turn * torch.stack([right, down], dim=1)], dim=1)

    def expected(self, of: str = "") -> str:
        """What an action is, in words; `of` says of whom."""
        return (
            f"'keys', three integers{of}, ws from 0 to 2, ad from 0 to 2 and scs from 0 to 3, and 'mouse', two finite "
            "numbers in [-1, 1], pitch_delta and yaw_delta"
        )


ActionSet = DiscreteActions | ContinuousActions | KeyboardMouseActions
_KINDS = dict(zip(ACTIONS, (DiscreteActions, ContinuousActions, KeyboardMouseActions), strict=True))


def make_actions(name: str, step_length: float = STEP_LENGTH, turn_angle: float = TURN_ANGLE) -> ActionSet:
    """The action set of that name, one of `ACTIONS`, with its (largest) step in metres and turn in degrees."""
    if name not in ACTIONS:
        raise unknown_name("actions", name, ACTIONS)
    _check_scale("step_length", step_length, "turn_angle", turn_angle)
    return _KINDS[name](step_length, turn_angle)


def map_actions(function: Callable[[Any], Any], actions: Any) -> Any:
    """The function of actions, or of each part of actions that are dicts."""
    if isinstance(actions, dict):
        return {name: function(part) for name, part in actions.items()}
    return function(actions)


def motion_of_one(actions: ActionSet, action: Any) -> Tensor:
    """The motion float32 (1, 4), as for `camera.move`, of one action; ValueError that tells it as it was given."""
    try:
        return actions.to_motion(map_actions(lambda part: _as_array(part)[None], action))
    except ValueError:
        hint = ""
        if isinstance(action, np.ndarray | Tensor) and isinstance(actions, DiscreteActions):
            values = _as_array(action)
            if values.size == 1 and values.dtype.kind in "iu" and values.item() in actions.space:
                # int(action) is refused by NumPy where the array has axes.
                hint = " Pass the integer alone, action.item()."
        raise ValueError(f"action={_tell(action)}; expected {actions.expected()}.{hint}") from None


def _check_scale(step_name: str, step: float, turn_name: str, turn: float) -> tuple[float, float]:
    """The step in metres and the turn in radians."""
    if not isinstance(step, Real) or not 0 < step <= torch.finfo(torch.float32).max:
        raise ValueError(f"{step_name}={step!r}; expected metres, finite and above 0, in single precision.")
    if not isinstance(turn, Real) or not 0 < turn <= 180:
        raise ValueError(f"{turn_name}={turn!r}; expected degrees above 0 and at most 180.")
    return float(step), math.radians(turn)


def _as_array(value: Any) -> np.ndarray:
    """As an array; what is none, such as lists of different lengths, as the text that shows it."""
    try:
        return np.asarray(value)
    except (OverflowError, TypeError, ValueError):
        return np.array(repr(value)[:80])


def _show(values: np.ndarray) -> str:
    text = np.array2string(values, threshold=8, separator=", ")
    return f"{text} ({values.dtype}, shape {values.shape})"


def _tell(action: Any) -> Any:
    """One action as it was given, in words."""
    if isinstance(action, dict):
        return map_actions(_tell, action)
    if isinstance(action, np.ndarray | np.generic | Tensor):
        return _show(_as_array(action))
    return f"{reprlib.repr(action)} ({type(action).__name__})"
