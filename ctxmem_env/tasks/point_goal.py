"""Going to a place that is given by distance and bearing."""

import math

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from ctxmem_env.camera import motion_between
from ctxmem_env.tasks.goals import Goal, GoalTask, check_free, draw_seen_place
from ctxmem_env.tasks.task import Beginning

_FAR = 300_000.0  # metres; more than two places of a world are apart


class PointGoal(GoalTask):
    """Go to a place. The observation holds `goal`: its distance in metres and its bearing in radians, left positive.

    Randomisation: a free place, 1 to 8 m away, that the remembered frames have seen; option `goal`: (x, y).
    Success: the camera is within 0.3 m of it; there is no stop action.
    Dense reward: metres by which the straight distance shrank, - 0.01, + 2.5 on success.
    Sparse reward: 1 on success.
    Episode end: success, or the time limit.
    """

    goal_size = 2

    def spaces(self, height: int, width: int) -> dict[str, spaces.Space]:
        return {"goal": spaces.Box(np.array([0, -math.pi], np.float32), np.array([_FAR, math.pi], np.float32))}

    def draw(self, beginning: Beginning, goal: tuple[float, ...] | None, rng: np.random.Generator) -> Goal:
        x, y, way = draw_seen_place(beginning, rng)
        if goal is not None:
            x, y, way = *goal, check_free(beginning, goal)
        return Goal(torch.tensor([x, y, 0.0, 0.0, 0.0, 0.0]), way)

    def observe(self) -> dict[str, Tensor]:
        dx, dy, _, _ = motion_between(self.pose, self.goal).unbind(-1)
        bearing = torch.atan2(dy, dx).clamp(-math.pi, math.pi)
        return {"goal": torch.stack([torch.hypot(dx, dy), bearing], dim=-1)}
