"""Remembered pixels thrown into new views: what of memory a view shows before anything is painted."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ctxmem_env.camera import Cameras, full_precision
from ctxmem_env.device import is_host
from ctxmem_env.generator.points import Points, depth_of, nearest_of, project_points
from ctxmem_env.generator.vote import put_to_the_vote


def _show(front: Tensor, points: Points, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the points that `nearest_of` names show; as `splat` returns it."""
    (batch, targets, _), size = front.shape, frames.shape[-2:]
    colours = frames.transpose(1, 2).flatten(2)[:, None].expand(-1, targets, -1, -1)
    colours = colours.gather(3, front.clamp_min(0)[:, :, None].expand(-1, -1, 3, -1))
    covered = (front >= 0)[:, :, None].to(colours)
    known = torch.cat([torch.cat([colours, depth_of(front, points)[:, :, None]], dim=2) * covered, covered], dim=2)
    known = _close_cracks(known.view(batch * targets, 5, *size))
    return known.unflatten(0, (batch, targets)).split([3, 1, 1], dim=2)


@torch.no_grad()
@full_precision
def splat(
    frames: Tensor,
    depth: Tensor,
    context: Cameras,
    mask: Tensor,
    views: Cameras,
    given: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Remembered pixels thrown into S new views; the nearest wins.

    Of what was painted, what was seen from nearby counts as nearer: wherever its depth is wrong, it lies where it was
    seen, while errors of depth move what was seen from elsewhere, and of two that disagree the wrong one would win.

    frames (B, k, 3, H, W), depth (B, k, H, W), k cameras of the context, mask (B, k), and those of S views.
    given (B, k) bool: frames that nobody painted. Nothing that was painted stands nearer than `points.CLEAR`, nor where
    others saw through, see `vote.put_to_the_vote`: made up too near, in a place that nobody looked at closely, it would
    hide for ever what is known to be behind it. Nor is it where most of a neighbourhood is contested: that is not
    covered. Specks of it are taken to be the surface around them. None: all are given.
    Returns colours (B, S, 3, H, W), log depth (B, S, 1, H, W) and covered (B, S, 1, H, W); all 0 where not covered.
    """
    points, size = project_points(depth, context, mask, views, given), depth.shape[2:]
    front = nearest_of(points, size)
    if given is not None and (not is_host(mask) or bool((mask & ~given).any())):
        front = put_to_the_vote(front, points, depth, context, mask, views, given)
    return _show(front, points, frames)


def _close_cracks(known: Tensor) -> Tensor:
    """known (N, 5, H, W), log depth and cover last: a pixel in a crack takes the mean of the surface around it.

    A surface that comes nearer is thrown with gaps between its points. A gap is empty, with at least four covered
    neighbours, or shows what lies behind: then five of the eight neighbours or more are nearer by a sixth.
    """
    empty = known[:, 4:] == 0
    behind = torch.where(empty, torch.inf, known[:, 3:4] - 0.16)  # a neighbour nearer than this is in front
    around = F.pad(known, (1, 1, 1, 1))
    depth = torch.where(around[:, 4:] == 0, torch.inf, around[:, 3:4])
    total, count = torch.zeros_like(known), torch.zeros_like(known[:, :1])
    for neighbour, its_depth in zip(_windows(around), _windows(depth), strict=True):
        front = (its_depth < behind).to(known)
        count += front
        total.addcmul_(neighbour, front)
    return torch.where(count >= torch.where(empty, 4.0, 5.0), total / count.clamp(min=1), known)


def _windows(padded: Tensor) -> list[Tensor]:
    """The eight neighbours of each pixel of images (..., H, W) that were padded by one, as views of them."""
    height, width = (side - 2 for side in padded.shape[-2:])
    views = [view for row in padded.unfold(-2, height, 1).unbind(-3) for view in row.unfold(-2, width, 1).unbind(-3)]
    return views[:4] + views[5:]
