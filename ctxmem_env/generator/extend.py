"""Beyond what is remembered: frames carried on over their borders, an example of what may be there."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ctxmem_env.camera import Cameras, full_precision, rays_of, wrap_angle
from ctxmem_env.generator.lookup import MIN_DEPTH, UNKNOWN, first_smallest

_COARSE = 2  # pixels on a side that take one frame, that of the first of them


def to_signal(frames: Tensor) -> Tensor:
    """Frames, uint8 or in [-1, 1] already, in [-1, 1]."""
    return frames if frames.is_floating_point() else frames.float().div_(127.5).sub_(1)


@torch.no_grad()
@full_precision
def extend(
    frames: Tensor, depth: Tensor, context: Cameras, mask: Tensor, views: Cameras
) -> tuple[Tensor, Tensor, Tensor]:
    """Remembered frames carried on beyond their borders, as S new views see them: an example of what may be there.

    Each frame is wound around its camera like the picture on a cylinder, again and again: beyond its right border it
    begins anew at its left one. A direction of the new view is looked up in the frame that comes nearest to it, at
    its own elevation, so that a floor stays a floor; where the cameras stand is ignored. That is no geometry but an
    example of the place, as sharp as what was seen. Winding does not degenerate where views follow each other in
    small steps: mirrored frames would repeat a strip as narrow as the step, and their outermost column would smear.

    Above and below a frame its rows go on mirrored. Arguments as in `splat.splat`; frames may be uint8. Returns
    colours (B, S, 3, H, W), log depth (B, S, 1, H, W), `UNKNOWN` where the frame has none, and how far the direction
    lies beyond the frame's borders (B, S, 1, H, W), in radians of azimuth and half heights of the frame: 0 inside it,
    pi where nothing is remembered.
    """
    height, width = depth.shape[2:]
    poses, context_poses = views.poses, context.poses
    rotations = context.to_world[..., :3, :3]  # (B, k, 3, 3)
    rays = rays_of(height, width, views.focal).flatten(1, 2)[:, None]
    rays = rays @ views.to_world[..., :3, :3].transpose(-1, -2)  # (B, S, HW, 3), in the world
    f = context.focal[:, None, None]
    border, upper = torch.atan(1 / f), torch.atan(height / width / f)
    some = rays.unflatten(2, (height, width))[:, :, ::_COARSE, ::_COARSE].flatten(2, 3)
    yaw, pitch = context_poses[:, None, :, None, 3], context_poses[:, None, :, None, 4]
    azimuth = torch.atan2(some[..., 1], some[..., 0])[:, :, None]
    effort = (wrap_angle(azimuth - yaw).abs() - border[:, :, None]).clamp(min=0)
    # A little is added for rows that are not in the frame either, and for every metre between the cameras.
    elevation = torch.atan2(some[..., 2], some[..., :2].norm(dim=-1))
    above = ((elevation[:, :, None] - pitch).abs() - upper[:, :, None]).clamp(min=0)
    apart = (poses[:, :, None, :3] - context_poses[:, None, :, :3]).norm(dim=-1)[..., None]
    effort = effort.add_(above, alpha=0.3).add_(0.1 * apart).masked_fill(~mask[:, None, :, None], torch.inf)
    slot = first_smallest(effort)[:, :, 0].unflatten(2, (-(-height // _COARSE), -1))
    slot = slot.repeat_interleave(_COARSE, 2)[:, :, :height].repeat_interleave(_COARSE, 3)[..., :width].flatten(2)
    yaw = context_poses[:, None, :, 3].expand(-1, poses.shape[1], -1).gather(2, slot)
    azimuth = wrap_angle(torch.atan2(rays[..., 1], rays[..., 0]) - yaw)
    moved = (azimuth.abs() - border).clamp(min=0)
    wound = torch.remainder(azimuth + border, 2 * border) - border
    turn = wound - azimuth
    x, y = rays[..., 0], rays[..., 1]
    turned = torch.stack([x * turn.cos() - y * turn.sin(), x * turn.sin() + y * turn.cos(), rays[..., 2]], dim=-1)
    each = rotations.flatten(2)[:, None].expand(-1, poses.shape[1], -1, -1)
    each = each.gather(2, slot[..., None].expand(-1, -1, -1, 9)).unflatten(-1, (3, 3))
    x, y, z = (turned[..., None] * each).sum(-2).unbind(-1)
    z = z.clamp(min=0.2)
    column, row = x / z * f, y / z * f * (width / height)
    height_ratio = row.abs().clamp(min=1)  # to that of the frame's border
    moved = moved + (height_ratio - 1)
    mirrored = (torch.remainder(row - 1, 4) - 2).abs() - 1
    column = ((column + 1) * (width / 2)).long().clamp(0, width - 1)

    def at(values: Tensor, row: Tensor) -> Tensor:  # (B, k, c, H, W) -> (B, S, c, HW)
        row = ((row + 1) * (height / 2)).long().clamp(0, height - 1)
        place = ((slot * height + row) * width + column).flatten(1)[..., None].expand(-1, -1, values.shape[2])
        # Of frames in bytes, whose channels lie side by side, nothing is copied but the pixels that are wanted.
        found = values.permute(0, 1, 3, 4, 2).flatten(1, 3).gather(1, place)
        return found.unflatten(1, slot.shape[1:]).movedim(-1, 2)

    anything = mask.any(1)[:, None, None, None]
    colours = to_signal(at(frames, mirrored)) * anything
    log_depth = at(depth[:, :, None], row).clamp(min=MIN_DEPTH).log()
    # The point lies as far away along the level as the example's, where z of the new view is 1 on its own ray; above
    # and below the frame it lies as high as the frame's border, as on a floor or a ceiling.
    log_depth = torch.where(log_depth > UNKNOWN, log_depth - (z * height_ratio)[:, :, None].log(), log_depth)
    moved = torch.where(anything[..., 0], moved.clamp(max=3.0), torch.pi)
    shape = (*poses.shape[:2], -1, height, width)
    return colours.reshape(shape), (log_depth * anything).reshape(shape), moved.view(shape)


class Hints(NamedTuple):
    """What is known of the pixels of S views before anything is painted, each (B, S, channels, H, W).

    thrown: colours of the remembered pixels that fall on them, in [-1, 1], their log depth, and `covered`, 1 where one
    does; 0 elsewhere, see `splat.splat`. example: colours of an example that is carried on there, their log depth, and
    by how much it is `moved` beyond its borders, see `extend`.
    """

    thrown: Tensor
    thrown_depth: Tensor
    covered: Tensor
    example: Tensor
    example_depth: Tensor
    moved: Tensor


def beyond_memory(hints: Hints) -> Tensor:
    """Where S views look at what is not remembered at all, bool (B, S, 1, H, W).

    That is beyond the borders of all remembered frames, and in wide holes within them, but for their rims: behind a
    wall that was passed, but not beside an edge, where what is next to a hole tells enough.
    """
    covered, moved = hints.covered, hints.moved
    empty, radius = covered == 0, max(1, covered.shape[-1] // 20)
    near = _spread(1 - empty.flatten(0, 1).to(covered), radius)  # to something that is remembered
    wide = _spread(1 - near, radius - 1).unflatten(0, covered.shape[:2]) > 0
    return empty & (moved < torch.pi) & ((moved > 0) | wide)


def _spread(mask: Tensor, radius: int) -> Tensor:
    """mask (N, 1, H, W), and whatever lies within a square of `radius` pixels around it."""
    size = 2 * radius + 1
    columns = F.max_pool2d(mask, (size, 1), stride=1, padding=(radius, 0))
    return F.max_pool2d(columns, (1, size), stride=1, padding=(0, radius))
