"""Coming back to a view that was shown at the start."""

import math

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from ctxmem_env.tasks.goals import Goal, GoalTask
from ctxmem_env.tasks.task import Beginning

OUTWARD = 20  # steps
_AWAY = 1.0  # metres


class LookBack(GoalTask):
    """Walk away for 20 steps, then come back to the first view. Nothing but the first observation shows that view.

    The observation holds `goal`: the share of the 20 steps that is still to be walked; at 0 it is time to come back.

    Randomisation: that of the start.
    Success: after the 20 steps the camera is within 0.5 m and 30 degrees of yaw and pitch of the first pose.
    Dense reward: out, metres by which the distance grew, up to 1 m; back, as for image_goal.
    Sparse reward: 1 on success.
    Episode end: success; the 20 steps led nowhere 1 m away; or the time limit.
    """

    radius = 0.5
    angle = math.radians(30)

    def spaces(self, height: int, width: int) -> dict[str, spaces.Space]:
        return {"goal": spaces.Box(0.0, 1.0, (1,), np.float32)}

    def open(self, num_worlds: int, height: int, width: int, device: torch.device) -> None:
        super().open(num_worlds, height, width, device)
        self.steps = torch.zeros(num_worlds, dtype=torch.int64, device=device)
        self.farthest = torch.zeros(num_worlds, device=device)

    def draw(self, beginning: Beginning, goal: tuple[float, ...] | None, rng: np.random.Generator) -> Goal:
        return Goal(beginning.poses[-1], 0.0)

    def begin(self, world: int, beginning: Beginning, drawn: Goal) -> None:
        super().begin(world, beginning, drawn)
        self.steps[world], self.farthest[world] = 0, 0.0

    def evaluate(self, poses: Tensor, frames: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        before, farthest = self.remaining(), self.farthest
        self.walked += (poses[:, :2] - self.pose[:, :2]).norm(dim=-1)
        self.pose = poses.clone()
        self.steps += 1
        out, turning = self.steps <= OUTWARD, self.steps == OUTWARD
        self.farthest = torch.maximum(farthest, self.distance())
        # The way back is judged from where it began, as a straight line.
        self.way = torch.where(turning, self.distance(), self.way)
        self.walked = self.walked.masked_fill(out, 0.0)
        reward, ended = self.judge(before, ~out)
        if self.dense:
            outward = self.farthest.clamp_max(_AWAY) - farthest.clamp_max(_AWAY)
            reward = torch.where(out, outward, reward)
        return reward, ended | (turning & (self.farthest < _AWAY))

    def observe(self) -> dict[str, Tensor]:
        return {"goal": (1 - self.steps / OUTWARD).clamp_min(0)[:, None]}
