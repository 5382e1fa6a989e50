"""Going to a goal by its bearing, with or without a look at what stands in the way."""

import math
from typing import ClassVar, NamedTuple

import numpy as np

from ctxmem_env.actions import STEP_LENGTH, TURN_ANGLE
from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.policies.moves import (
    FORWARD,
    STAY,
    TURN_LEFT,
    TURN_RIGHT,
    free_ways,
    headings_in_view,
    turn_or_go,
)
from ctxmem_env.policies.policy import Observation, ScriptedPolicy

_CLEAR = 0.75  # metres that must be free in a direction worth going
_STUCK = 0.02  # metres; a step forward that led no farther was stopped
_ASIDE, _ON = 6, 3  # steps of a detour around what stopped the camera unseen, and how many of them lead on


class _Detour(NamedTuple):
    """Of one world: the side of a detour, 1 left, -1 right, 0 none; the last action; how far ahead the goal was, in
    metres; and the steps that are left of a detour around something unseen."""

    side: int = 0
    action: int = STAY
    ahead: float = 0.0
    left: int = 0


class TurnAndGo(ScriptedPolicy):
    """Turn to the goal of point_goal, then go. Discrete actions.

    Args:
        avoid: go round what the depth of the frame shows: of the directions in view that are free, that nearest to the
            goal, and always on the same side of an obstacle until the way to the goal is free. Needs "rgbd".
        turn_angle: of the environment, degrees.
        fov: of the environment, degrees.
    """

    tasks: ClassVar[tuple[str, ...]] = ("point_goal",)

    def __init__(self, avoid: bool = False, turn_angle: float = TURN_ANGLE, fov: float = DEFAULT_FOV):
        self.avoid, self.turn, self.fov = avoid, math.radians(turn_angle), fov
        self.observation = "rgbd" if avoid else "rgb"
        self.headings = headings_in_view(fov, turn_angle)

    def _predict(
        self,
        observation: Observation,
        state: list[_Detour] | None,
        episode_start: np.ndarray | None,
        deterministic: bool,
    ) -> tuple[np.ndarray, list[_Detour] | None]:
        """See `Policy.predict`. The state, with `avoid`, holds a row for each world: `_Detour`."""
        if not self.avoid:
            (goal,) = self.read(observation, "goal")
            return turn_or_go(goal[:, 1] / self.turn), None
        goal, depth = self.read(observation, "goal", "depth")
        begins = np.full(len(goal), state is None) if episode_start is None else episode_start
        detours = [_Detour() if begins[i] or state is None else state[i] for i in range(len(goal))]
        ways = free_ways(depth, self.headings * self.turn, self.fov)
        detours = [self._avoid(*each) for each in zip(detours, goal.tolist(), ways, strict=True)]
        return np.array([detour.action for detour in detours]), detours

    def _avoid(self, before: "_Detour", goal: tuple[float, float], ways: np.ndarray) -> "_Detour":
        """What is done next, given what was done before."""
        (distance, bearing), side, middle = goal, before.side, len(self.headings) // 2
        ahead = distance * math.cos(bearing)
        if before.action == FORWARD and before.ahead - ahead < _STUCK:  # by something too low to be in view
            side = side or (1 if ways[middle:].sum() >= ways[: middle + 1].sum() else -1)
            return _Detour(side, TURN_LEFT if side > 0 else TURN_RIGHT, ahead, _ASIDE)
        if before.left > 0:
            turning = before.left > _ON
            action = (TURN_LEFT if side > 0 else TURN_RIGHT) if turning or ways[middle] < STEP_LENGTH else FORWARD
            return _Detour(side, action, ahead, before.left - 1)
        side, turns = self._choose(round(bearing / self.turn), ways >= min(_CLEAR, distance), side)
        action = int(turn_or_go(np.array(turns)))
        if {action, before.action} == {TURN_LEFT, TURN_RIGHT}:  # two views disagree: do not turn to and fro
            action = FORWARD if ways[middle] >= STEP_LENGTH else before.action
        return _Detour(side, action, ahead, 0)

    def _choose(self, wanted: int, clear: np.ndarray, side: int) -> tuple[int, int]:
        """The side of the detour, 1 left, -1 right, 0 none, and the direction to take, in turns to the left.

        wanted: direction of the goal, in turns; clear: bool (K,), directions that are free.
        """
        most = len(self.headings) // 2
        if abs(wanted) <= most and clear[wanted + most]:
            return 0, wanted
        if abs(wanted) > most and side == 0:
            return 0, wanted
        nearest = int(np.clip(wanted, -most, most))
        if side == 0:
            free = self.headings[clear]
            side = int(np.sign(free[np.abs(free - nearest).argmin()] - nearest)) if len(free) else 1
        ordered = range(nearest, side * (most + 1), side)
        return side, next((turns for turns in ordered if clear[turns + most]), side * (most + 1))
