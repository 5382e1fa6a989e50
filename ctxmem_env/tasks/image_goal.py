"""Going to where a picture was taken."""

import math

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from ctxmem_env.camera import wrap_angle
from ctxmem_env.tasks.goals import Goal, GoalTask, check_free
from ctxmem_env.tasks.task import Beginning


class ImageGoal(GoalTask):
    """Go to where a picture was taken, and look as it looks. The observation holds `goal`, the picture.

    Randomisation: one of the remembered frames that is not at the start already; option `goal`: the pose of a true one.
    Success: the camera is within 0.5 m of the pose and within 30 degrees of its yaw and its pitch.
    Dense reward: as for point_goal, where half a turn of yaw or pitch counts as a metre.
    Sparse reward: 1 on success.
    Episode end: success, or the time limit.
    """

    goal_size = 6
    radius = 0.5
    angle = math.radians(30)

    def spaces(self, height: int, width: int) -> dict[str, spaces.Space]:
        return {"goal": spaces.Box(0, 255, (height, width, 3), np.uint8)}

    def open(self, num_worlds: int, height: int, width: int, device: torch.device) -> None:
        super().open(num_worlds, height, width, device)
        self.frames = torch.zeros(num_worlds, height, width, 3, dtype=torch.uint8, device=device)

    def draw(self, beginning: Beginning, goal: tuple[float, ...] | None, rng: np.random.Generator) -> Goal:
        poses = beginning.poses.cpu()
        if goal is not None:
            pose, way = torch.tensor(goal), check_free(beginning, goal)
            frame = beginning.place.picture(pose)
            if frame is None:
                raise ValueError(
                    "options['goal'] was given, but nobody knows what a photograph does not show; leave it out."
                )
            return Goal(pose, way, frame)
        here = (poses[:, :2] - poses[-1, :2]).norm(dim=-1) <= self.radius
        here &= (wrap_angle(poses[:, 3:5] - poses[-1, 3:5]).abs() <= self.angle).all(-1)
        others = (~here).nonzero().flatten()
        if len(others) == 0:
            raise ValueError(
                f"task='image_goal' draws its goal from the remembered frames, and all {len(poses)} of them show the "
                "start; raise 'tour', or give options['goal']."
            )
        pick = int(others[int(rng.integers(len(others)))])
        way = beginning.place.way(poses[-1, :2], poses[pick, :2])
        # A tour looks from places that can be reached in a straight line.
        way = way if math.isfinite(way) else float((poses[-1, :2] - poses[pick, :2]).norm())
        return Goal(poses[pick], way, beginning.frames[pick])

    def begin(self, world: int, beginning: Beginning, drawn: Goal) -> None:
        super().begin(world, beginning, drawn)
        self.frames[world] = drawn.frame

    def observe(self) -> dict[str, Tensor]:
        return {"goal": self.frames}
