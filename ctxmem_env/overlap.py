"""How much of a new view other cameras cover, judged in the ground plane from poses alone.

Everything is computed in the ground frame of the new view and in float64, so that a near tie falls the same
way whatever else is in the batch.
"""

import torch
from torch import Tensor

from ctxmem_env.camera import constant

MAX_RANGE = 8.0  # metres; about the length of a room, beyond which a wall is more likely than a view
MIN_DEPTH = 0.5  # metres; cameras keep off the walls, so nearer surfaces are rare
FINE_GRID = (16, 5)  # columns and depths of the sample points of a view


def view_overlap(candidates: Tensor, pose: Tensor, fov: float | Tensor) -> Tensor:
    """Share (B, N) in [0, 1] of the view from `pose` (B, 6) that each of the poses (B, N, 6) covers alone.

    The view is its sector up to `MAX_RANGE`, where all image columns weigh the same and depth is log-uniform;
    a candidate sees as far. The share is multiplied by the overlap of the pitch ranges, for square frames.
    `fov` is horizontal, in degrees, a number or (B,); walls are unknown.
    """
    fov = torch.as_tensor(fov, dtype=torch.float64, device=pose.device).expand(len(pose))
    x, y, _, heading, pitch = in_view_frame(candidates, pose)
    covered = in_sector(x, y, heading, fov, FINE_GRID).to(torch.float64).mean(1)
    return (covered * pitch_overlap(pitch, fov)).float()


def in_view_frame(candidates: Tensor, pose: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Forward, left and up offsets [m], yaw and pitch offsets [rad], each (B, N), of candidates (B, N, 6)."""
    pose = pose.double()[..., None]
    # Each coordinate lies contiguous from here on: twice as fast over a long memory.
    east, north, up, yaw, pitch, _ = (candidates.double().mT.contiguous() - pose).unbind(1)
    cos, sin = pose[:, 3].cos(), pose[:, 3].sin()
    return east * cos + north * sin, north * cos - east * sin, up, yaw, pitch


def in_sector(x: Tensor, y: Tensor, heading: Tensor, fov: Tensor, grid: tuple[int, int]) -> Tensor:
    """Whether the sector of each camera (B, N) holds each sample point of the new view, bool (B, P, N).

    Sample points are the centres of `grid[0]` image columns times `grid[1]` log-spaced depths.
    """
    slope = torch.tan(torch.deg2rad(fov) / 2)[:, None, None]
    forward, across = _sample_points(*grid, x.device, x.dtype)
    side = across * slope[:, 0] * forward
    points = torch.stack([forward.expand_as(side), side, torch.ones_like(side)], 2)
    # A point (u, v) lies a u + b v + c ahead, or to the left, of a camera; the triples are (a, b, c).
    cos, sin = heading.cos(), heading.sin()
    ahead = points @ torch.stack([cos, sin, -(cos * x + sin * y)], 1)
    left = points @ torch.stack([-sin, cos, sin * x - cos * y], 1)
    return (left.abs_() <= slope * ahead) & (ahead <= MAX_RANGE)


@constant
def _sample_points(columns: int, depths: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """How far ahead the sample points lie, and how far to the left for each metre at 45 degrees, (2, P)."""
    column, depth = (torch.arange(n, dtype=dtype, device=device).add(0.5).div(n) for n in (columns, depths))
    forward = MIN_DEPTH * (MAX_RANGE / MIN_DEPTH) ** depth
    return torch.stack([forward.repeat(columns), (1 - 2 * column).repeat_interleave(depths)])


def pitch_overlap(pitch: Tensor, fov: Tensor) -> Tensor:
    """Share in [0, 1] of the vertical field of view that is common to both, from pitch offsets (B, N)."""
    return (1 - pitch.abs() / torch.deg2rad(fov)[:, None]).clamp_min(0)


def border_rays_meet(x: Tensor, y: Tensor, heading: Tensor, fov: Tensor, near: float, far: float) -> Tensor:
    """The paper's test, bool (B, N): the left border rays of both views meet, and so do the right ones.

    A meeting counts when it is `near` to `far` metres from the new view's camera. Parallel rays never meet.
    """
    half = torch.deg2rad(fov)[:, None] / 2
    meet = torch.ones_like(x, dtype=torch.bool)
    for border in (half, -half):
        own, other = border, heading + border
        # s (cos own, sin own) = (x, y) + t (cos other, sin other), solved by Cramer's rule.
        cross = torch.sin(other - own)
        crosses = cross.abs() > 1e-9
        cross = cross.where(crosses, 1.0)
        s = (x * other.sin() - y * other.cos()) / cross
        t = (x * own.sin() - y * own.cos()) / cross
        meet &= crosses & (t > 0) & (s >= near) & (s <= far)
    return meet
