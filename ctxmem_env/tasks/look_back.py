"""Coming back to a view that was shown at the start."""

import math

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.tasks.goals import Goal, GoalTask
from ctxmem_env.tasks.landmarks import NUMBER, Landmarks, found_again, mark
from ctxmem_env.tasks.task import Beginning

OUTWARD = 20  # steps
_AWAY = 1.0  # metres
# The least share of the first view. On validation scenes, at the first pose, true frames show 0.85 or more of it and
# worlds without memory 0.38 or less.
_FOUND = 0.5


class LookBack(GoalTask):
    """Walk away for 20 steps, then come back to the first view. Nothing but the first observation shows that view.

    It is the view that is to be found again, not a place alone: whoever counts steps gets there, and in a world that
    forgets finds another view. That is judged from colour and depth of 256 points of the first view, those of them
    within the present field of view: by how many of them the frame shows where they were.

    The observation holds `goal`: the share of the 20 steps that is still to be walked; at 0 it is time to come back.

    Randomisation: that of the start.
    Success: after the 20 steps, within 0.5 m and 30 degrees of the first pose, half of the first view is found again.
    Dense reward: out, metres by which the distance grew, up to 1 m; back, as for image_goal.
    Sparse reward: 1 on success.
    Episode end: success; the 20 steps led nowhere 1 m away; or the time limit.
    """

    needs_depth = True
    radius = 0.5
    angle = math.radians(30)

    def spaces(self, height: int, width: int) -> dict[str, spaces.Space]:
        return {"goal": spaces.Box(0.0, 1.0, (1,), np.float32)}

    def open(self, num_worlds: int, height: int, width: int, device: torch.device) -> None:
        super().open(num_worlds, height, width, device)
        self.steps = torch.zeros(num_worlds, dtype=torch.int64, device=device)
        self.farthest, self.found_again = (torch.zeros(num_worlds, device=device) for _ in range(2))
        empty = torch.zeros(num_worlds, NUMBER**2, 3, device=device)
        self.landmarks, self.colours = empty, empty.clone()
        self.fov = torch.full((num_worlds,), DEFAULT_FOV, device=device)

    def draw(self, beginning: Beginning, goal: tuple[float, ...] | None, rng: np.random.Generator) -> Goal:
        return Goal(beginning.poses[-1], 0.0)

    def begin(self, world: int, beginning: Beginning, drawn: Goal) -> None:
        super().begin(world, beginning, drawn)
        self.steps[world], self.farthest[world], self.found_again[world] = 0, 0.0, 1.0
        self.fov[world] = beginning.fov
        first = (part[-1:] for part in (beginning.frames, beginning.depth, beginning.poses))
        marked = mark(*first, self.fov[world : world + 1])
        self.landmarks[world], self.colours[world] = marked.points[0], marked.colours[0]

    def evaluate(self, poses: Tensor, frames: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        before, farthest = self.remaining(), self.farthest
        self.walked += (poses[:, :2] - self.pose[:, :2]).norm(dim=-1)
        self.pose = poses.clone()
        self.steps += 1
        self.found_again = found_again(Landmarks(self.landmarks, self.colours, self.fov), frames, depth, poses)
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

    def arrived(self) -> Tensor:
        return super().arrived() & (self.found_again >= _FOUND)

    def inform(self) -> dict[str, Tensor]:
        return super().inform() | {"found_again": self.found_again.clone()}

    def observe(self) -> dict[str, Tensor]:
        return {"goal": (1 - self.steps / OUTWARD).clamp_min(0)[:, None]}
