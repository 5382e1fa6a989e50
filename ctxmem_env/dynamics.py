"""Bodies that do not walk through surfaces. A motion is cut short where the body would touch what was seen.

The body is an upright cylinder around the camera, from a step above the ground to a little above the eyes; the ground
is taken to be an eye's height (1.5 m) below the camera. What is in its way is judged from the depth of remembered
frames alone: what no frame has seen stops nobody.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.camera import body_rotation, focal
from ctxmem_env.device import is_host
from ctxmem_env.memory import FrameMemory

RADII, DEFAULT_RADIUS = (0.02, 1.0), 0.15  # metres, of a body
GAP = 0.05  # metres between body and surface when a motion has been cut short
LOW, HIGH = -1.35, 0.25  # metres from the camera's height; what is below or above is in nobody's way
VIEWS = 6  # remembered frames that are asked
_AGE = 3.0  # how much less the newest frame is asked than the oldest, in units of the other terms: errors add up
_FEW = 2048  # frames that are all looked at at once
_COLUMNS, _ROWS = 64, 32  # of the pixels of a frame, at most, that are looked at
# A painted frame blurs the edges of things, and one may be mistaken: so many points of a frame must show a surface,
# and so many frames.
_POINTS, _WITNESSES = 3, 2
_AT_ONCE = 0.02  # metres; points that are touched so soon after the first form the surface

Sweep = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps places (B, 2) and unit vectors (B, 2) to the free way (B,) in metres and the normals (B, 2) where it ends."""


class Dynamics(Protocol):
    """What a world asks before its cameras move, for bodies of `radius` metres."""

    radius: float

    def limit(self, memory: FrameMemory, poses: Tensor, motion: Tensor, fov: Tensor) -> tuple[Tensor, Tensor]:
        """The part (B, 4) of the motions (B, 4) from poses (B, 6) that is free, and which were cut, bool (B,)."""
        ...


@dataclass
class SeenSurfaces:
    """Bodies of `radius` metres that are stopped by what the remembered frames show; `sliding`: they go on along it."""

    radius: float
    sliding: bool = False

    def limit(self, memory: FrameMemory, poses: Tensor, motion: Tensor, fov: Tensor) -> tuple[Tensor, Tensor]:
        indices = choose_views(memory.poses, memory.lengths, poses, motion, fov)
        newest = memory.lengths[:, None] - 1
        newest = newest.masked_fill((indices == newest).any(1, keepdim=True), -1)
        indices = torch.cat([indices, newest], dim=1)
        seen = memory.gather(indices)
        points, valid = surface_points(seen.depth, seen.poses, indices >= 0, fov, poses)

        def sweep(start: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
            return sweep_points(points - start[:, None, None], valid, direction, self.radius, last_confirms=True)

        return limit_motion(motion, poses, sweep, self.sliding)


def make_dynamics(collisions: bool, body_radius: float, sliding: bool) -> SeenSurfaces | None:
    """What `GenerativeSceneEnv` asks for; None without collisions. ValueError for values that do not fit."""
    for name, value in (("collisions", collisions), ("sliding", sliding)):
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{name}={value!r} is a {type(value).__name__}; expected True or False.")
    low, high = RADII
    number = isinstance(body_radius, Real) and not isinstance(body_radius, bool)
    if not number or not low <= body_radius <= high:
        raise ValueError(f"body_radius={body_radius!r}; expected metres, from {low} to {high}.")
    if sliding and not collisions:
        raise ValueError(
            "sliding=True, but with collisions=False there is nothing to slide along; leave one of them out."
        )
    return SeenSurfaces(float(body_radius), bool(sliding)) if collisions else None


def limit_motion(motion: Tensor, poses: Tensor, sweep: Sweep, sliding: bool) -> tuple[Tensor, Tensor]:
    """The free part (B, 4) of body-frame motions (B, 4) from poses (B, 6), and which of them were cut, bool (B,).

    A body stops `GAP` before the surface. With `sliding` the rest of its way, as far as it leads along the surface, is
    walked too, if that is free. Turns are never cut.
    """
    yaw = poses[:, 3]
    cos, sin = yaw.cos(), yaw.sin()
    dx, dy = motion[:, 0], motion[:, 1]
    way = torch.stack([dx * cos - dy * sin, dx * sin + dy * cos], dim=-1)
    walked, normal, cut = _walk(poses[:, :2], way, sweep)
    if sliding:
        rest = way - walked
        rest = (rest - (rest * normal).sum(-1, keepdim=True) * normal) * cut[:, None]
        walked = walked + _walk(poses[:, :2] + walked, rest, sweep)[0]
    x, y = walked.unbind(-1)
    free = torch.stack([x * cos + y * sin, y * cos - x * sin], dim=-1)
    return torch.cat([free.where(cut[:, None], motion[:, :2]), motion[:, 2:]], dim=-1), cut


def _walk(start: Tensor, way: Tensor, sweep: Sweep) -> tuple[Tensor, Tensor, Tensor]:
    """The free part of ways (B, 2), the normals of what ends them, and which were cut."""
    length = way.norm(dim=-1)
    direction = way / length.clamp_min(1e-9)[:, None]
    free, normal = sweep(start, direction)
    free = torch.minimum((free - GAP).clamp_min(0), length)
    return direction * free[:, None], normal, free < length - 1e-4


def sweep_points(
    points: Tensor, valid: Tensor, direction: Tensor, radius: float, last_confirms: bool = False
) -> tuple[Tensor, Tensor]:
    """The free way (B,) of discs of `radius` metres among points, and the normals (B, 2) where they touch; see `Sweep`.

    A disc that holds points already may move away from them only.

    Args:
        points: (B, k, P, 2), what each of k frames shows, from the centre of the disc.
        valid: (B, k, P), which of them count.
        direction: (B, 2), unit vectors.
        radius: metres.
        last_confirms: the last frame is asked only where of several others one alone shows anything ahead.
    """
    (x, y), (ahead_x, ahead_y) = points.unbind(-1), direction[:, :, None, None].unbind(1)
    along = torch.addcmul(x * ahead_x, y, ahead_y)
    beside = torch.addcmul(x * ahead_y, y, ahead_x, value=-1)
    depth = radius**2 - beside.square()
    entry = torch.where(valid & (depth > 0) & (along > 0), along - depth.clamp_min(0).sqrt(), torch.inf)
    by_frame = entry.topk(min(_POINTS, entry.shape[2]), dim=2, largest=False).values[..., -1]
    asked = slice(None, -1) if last_confirms else slice(None)
    ordered, frames = by_frame[:, asked].sort(dim=1).values, valid[:, asked].any(2).sum(1)
    free = ordered.gather(1, frames.clamp(1, _WITNESSES)[:, None] - 1)[:, 0]
    if last_confirms:
        # To others a surface hides the way, or it leads past all that they show: they are no witnesses.
        alone = (ordered.isfinite().sum(1) == 1) & (frames > 1)
        free = torch.where(alone, torch.maximum(ordered[:, 0], by_frame[:, -1]), free)
    free = free.clamp_min(0)
    first = entry <= (free + _AT_ONCE)[:, None, None]
    touch = (direction * free.nan_to_num(posinf=0.0)[:, None])[:, None, None] - points
    normal = (touch * first[..., None]).sum((1, 2))
    return free, normal / normal.norm(dim=-1, keepdim=True).clamp_min(1e-9)


def surface_points(depth: Tensor, poses: Tensor, mask: Tensor, fov: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """The surfaces that frames show, from above: points (B, k, P, 2) in the world, and which count, bool (B, k, P).

    Those count that lie at the height of a body whose camera is at `at` (B, 6).

    Args:
        depth: (B, k, H, W), metres.
        poses: (B, k, 6).
        mask: (B, k), False for an empty slot.
        fov: (B,), degrees.
    """
    height, width = depth.shape[-2:]
    rows, columns = (max(1, -(-size // most)) for size, most in ((height, _ROWS), (width, _COLUMNS)))
    depth = depth[..., rows // 2 :: rows, columns // 2 :: columns].float()
    # A pixel's ray in the body frame is (1, left, up).
    left = 1 - (2 * torch.arange(width, device=depth.device)[columns // 2 :: columns] + 1) / width
    up = (height - 1 - 2 * torch.arange(height, device=depth.device)[rows // 2 :: rows, None]) / width
    slope = (1 / focal(fov))[:, None, None, None, None]
    forward, leftward, upward = body_rotation(poses)[..., None, None].unbind(3)
    ray = forward + slope * (leftward * left + upward * up)
    x, y, z = ray.unbind(2)
    offset = poses[..., :3] - at[:, None, :3]
    z = z * depth + offset[..., 2, None, None]
    points = torch.stack([x * depth + poses[..., 0, None, None], y * depth + poses[..., 1, None, None]], dim=-1)
    valid = (z > LOW) & (z < HIGH) & mask[..., None, None]
    return points.flatten(2, 3), valid.flatten(2)


def choose_views(memory_poses: Tensor, lengths: Tensor, poses: Tensor, motion: Tensor, fov: Tensor) -> Tensor:
    """Indices int64 (B, k) of the remembered frames that show best what is in the way, -1 for none; k <= `VIEWS`.

    The place where the body is to arrive must lie within the sector of a frame. Of a near place only what is at the
    height of the eyes is in view, and of a far one depth is less certain: about 1.5 m are best.

    Args:
        memory_poses: (B, T, 6), oldest first; lengths int64 (B,).
        poses, motion: (B, 6) and (B, 4), where the bodies stand and want to go.
        fov: (B,), degrees.
    """
    cos, sin = poses[:, 3].cos(), poses[:, 3].sin()
    dx, dy = motion[:, 0], motion[:, 1]
    arrival = poses[:, 0] + dx * cos - dy * sin, poses[:, 1] + dx * sin + dy * cos
    count = total = memory_poses.shape[1]
    if is_host(memory_poses) and total > _FEW:
        count = total // 8
    while True:
        best, indices = _score_views(memory_poses[:, :count], lengths, arrival, fov).topk(min(VIEWS, count), dim=1)
        found = indices.where(best > -torch.inf, -1)
        if count == total:
            return found
        # A frame has at most 1 - _AGE order / length: from here on none can be among the best.
        contenders = ((1 - best[:, -1]).clamp(max=_AGE) / _AGE * lengths + 1).minimum(lengths)
        needed = min(total, math.ceil(float(contenders.max())))
        if count >= needed:
            return found
        count = needed


def _score_views(poses: Tensor, lengths: Tensor, arrival: tuple[Tensor, Tensor], fov: Tensor) -> Tensor:
    """How well the oldest n frames, at poses (B, n, 6), show a place, (B, n), at most 1; -inf for not at all."""
    east, north = (to[:, None] - poses[..., i] for i, to in enumerate(arrival))
    heading = poses[..., 3]
    cos, sin = heading.cos(), heading.sin()
    ahead, left = east * cos + north * sin, north * cos - east * sin
    slope = (1 / focal(fov))[:, None]
    order = torch.arange(east.shape[1], device=east.device)
    seen = (left.abs() <= slope * ahead) & (order < lengths[:, None])
    score = (ahead * slope / -LOW).clamp(max=1) - ahead / 6 - poses[..., 4].abs()
    score = score - _AGE * order / lengths[:, None]
    return score.masked_fill(~seen, -torch.inf)
