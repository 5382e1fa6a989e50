"""What tasks with a goal share: where it is, how far, whether it is reached, and by how long a way."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.camera import wrap_angle
from ctxmem_env.dynamics import surface_points
from ctxmem_env.tasks.task import Beginning, Task

STEP_COST, BONUS = 0.01, 2.5
_NEAREST, _FARTHEST = 1.0, 8.0  # metres from the start to a goal that is drawn
_CLEARANCE = 0.4  # metres before the surface that a view shows
_DRAWS = 100


class Goal(NamedTuple):
    """Where to go: pose (6,), metres of the shortest way, and the goal's frame uint8 (H, W, 3), if there is one."""

    pose: Tensor
    way: float
    frame: Tensor | None = None


class GoalTask(Task):
    """A place, or a pose, that each world is to reach.

    radius: metres on the ground; angle: radians of yaw and of pitch, None where the direction does not matter.
    """

    radius: float = 0.3
    angle: float | None = None

    def open(self, num_worlds: int, height: int, width: int, device: torch.device) -> None:
        self.goal, self.pose = (torch.zeros(num_worlds, 6, device=device) for _ in range(2))
        self.way, self.walked, self.spl = (torch.zeros(num_worlds, device=device) for _ in range(3))
        self.success = torch.zeros(num_worlds, dtype=torch.bool, device=device)

    def begin(self, world: int, beginning: Beginning, drawn: Goal) -> None:
        self.goal[world], self.pose[world] = drawn.pose, beginning.poses[-1]
        self.way[world], self.walked[world], self.spl[world] = drawn.way, 0.0, 0.0
        self.success[world] = False

    def evaluate(self, poses: Tensor, frames: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        before = self.remaining()
        self.walked += (poses[:, :2] - self.pose[:, :2]).norm(dim=-1)
        self.pose = poses.clone()
        return self.judge(before, torch.ones_like(self.success))

    def judge(self, before: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Reward and termination of worlds where arriving counts, bool (B,), after a step that began `before`."""
        self.success = counts & self.arrived()
        # A way below the radius is judged as one of that length, or standing still would be the only good way.
        shortest = self.way.clamp_min(self.radius)
        self.spl = self.success * shortest / torch.maximum(shortest, self.walked)
        if not self.dense:
            return self.success.float(), self.success.clone()
        return before - self.remaining() - STEP_COST + BONUS * self.success, self.success.clone()

    def distance(self) -> Tensor:
        """Straight to the goal, on the ground, (B,) in metres."""
        return (self.goal[:, :2] - self.pose[:, :2]).norm(dim=-1)

    def turn(self) -> Tensor:
        """How differently the camera and the goal look, (B, 2): yaw and pitch in radians."""
        return wrap_angle(self.goal[:, 3:5] - self.pose[:, 3:5]).abs()

    def remaining(self) -> Tensor:
        """What the dense reward pays for: metres, and where the direction matters, half a turn as one metre."""
        return self.distance() if self.angle is None else self.distance() + self.turn().sum(-1) / math.pi

    def arrived(self) -> Tensor:
        """Worlds whose camera is at the goal, bool (B,)."""
        near = self.distance() <= self.radius
        return near if self.angle is None else near & (self.turn() <= self.angle).all(-1)

    def inform(self) -> dict[str, Tensor]:
        return {"success": self.success.clone(), "spl": self.spl.clone(), "distance_to_goal": self.distance()}


def check_free(beginning: Beginning, goal: tuple[float, ...]) -> float:
    """The shortest way to a goal that was asked for; ValueError where there is none."""
    where = f"options['goal'] lies at x={goal[0]:.2f}, y={goal[1]:.2f}, which"
    if not beginning.place.free(goal[0], goal[1]):
        raise ValueError(
            f"{where} is in a wall or an object of the scene, or outside; choose a free place, or leave 'goal' out."
        )
    way = beginning.place.way(beginning.poses[-1, :2].cpu(), torch.tensor(goal[:2]))
    if not math.isfinite(way):
        raise ValueError(f"{where} cannot be reached from the start; choose another place, or leave 'goal' out.")
    return way


def draw_seen_place(beginning: Beginning, rng: np.random.Generator) -> tuple[float, float, float]:
    """x, y and the shortest way, in metres, of a free place that the remembered frames have seen, 1 to 8 m away.

    It lies in a column of one of the frames, before the surface that is seen there. Where everything is nearer, the
    farthest place that was drawn is taken, at last the start.
    """
    start = beginning.poses[-1, :2].cpu()
    best, farthest = (float(start[0]), float(start[1]), 0.0), 0.0
    reach, direction = _reach(beginning)
    eyes = beginning.poses[:, :2].cpu()
    for _ in range(_DRAWS):
        frame, column = int(rng.integers(len(reach))), int(rng.integers(reach.shape[1]))
        share = float(rng.random())
        room = float(reach[frame, column]) - _CLEARANCE
        if room <= 0:
            continue
        place = eyes[frame] + direction[frame, column] * min(room, _FARTHEST) * share
        straight = float((place - start).norm())
        if not farthest < straight <= _FARTHEST or not beginning.place.free(*place.tolist()):
            continue
        way = beginning.place.way(start, place)
        if math.isfinite(way):
            best, farthest = (float(place[0]), float(place[1]), way), straight
            if straight >= _NEAREST:
                break
    return best


def _reach(beginning: Beginning) -> tuple[Tensor, Tensor]:
    """Metres (n, columns) to the nearest surface at the height of a body, and unit vectors (n, columns, 2) there."""
    poses = beginning.poses.cpu()
    mask, fov = torch.ones(1, len(poses), dtype=torch.bool), torch.tensor([beginning.fov])
    # One row: what is at the height of the eyes sets how far a look goes; free ground is the place's to tell.
    middle = beginning.depth.shape[1] // 2
    level = poses.clone()
    level[:, 4:] = 0
    row = beginning.depth[:, middle : middle + 1].cpu().float().clamp(0.01, _FARTHEST)
    points, _ = surface_points(row[None], level[None], mask, fov, level[-1:])
    offset = points[0] - poses[:, None, :2]
    reach = offset.norm(dim=-1)
    return reach, offset / reach[..., None].clamp_min(1e-6)
