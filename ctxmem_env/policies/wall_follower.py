"""Going along walls, by depth and by what stops the camera."""

import math
from typing import ClassVar

import numpy as np

from ctxmem_env.actions import TURN_ANGLE
from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.policies.moves import FORWARD, STUCK, TURN_LEFT, TURN_RIGHT, free_ways, headings_in_view
from ctxmem_env.policies.policy import Observation, ScriptedPolicy

_CLEAR = 0.6  # metres


class WallFollower(ScriptedPolicy):
    """Go straight to a surface, then along it, with the surface on the right. Discrete actions.

    After a full turn to the right without a surface there is none to follow, and it goes straight again.

    Args:
        turn_angle: of the environment, degrees.
        fov: of the environment, degrees.
    """

    observation: ClassVar[str] = "dict"
    tasks: ClassVar[tuple[str, ...]] = ("roam", "explore")

    def __init__(self, turn_angle: float = TURN_ANGLE, fov: float = DEFAULT_FOV):
        self.turn, self.fov = math.radians(turn_angle), fov
        self.circle = math.ceil(360 / turn_angle)
        # Straight ahead, and as far to the right as can be judged.
        self.headings = np.array([0, headings_in_view(fov, turn_angle)[0]])

    def _predict(
        self,
        observation: Observation,
        state: np.ndarray | None,
        episode_start: np.ndarray | None,
        deterministic: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Policy.predict`. The state is float64 (N, 4): x and y in metres, the last action, and the turns to the
        right that are left to find the surface again."""
        depth, poses = self.read(observation, "depth", "pose")
        state = np.zeros((len(depth), 4)) if state is None else state.copy()
        if episode_start is not None:
            state[episode_start] = 0
        ahead, right = (free_ways(depth, self.headings * self.turn, self.fov) >= _CLEAR).T
        last, left = state[:, 2], state[:, 3]
        # What is too low to be in view stops the camera as well.
        ahead &= (last != FORWARD) | (np.hypot(*(poses[:, :2] - state[:, :2]).T) > STUCK)
        left = np.where(ahead & right, left, self.circle)
        # It turns back after a step forward only, or it would turn on the spot.
        back = ahead & right & (left > 0) & (last == FORWARD)
        actions = np.where(~ahead, TURN_LEFT, np.where(back, TURN_RIGHT, FORWARD))
        return actions, np.column_stack([poses[:, :2], actions, left - back])
