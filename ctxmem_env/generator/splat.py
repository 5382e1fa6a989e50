"""Remembered pixels thrown into new views: what of memory a view shows before anything is painted."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ctxmem_env.camera import Cameras, full_precision
from ctxmem_env.device import is_host
from ctxmem_env.generator.lookup import compare
from ctxmem_env.generator.points import Points, depth_of, nearest_of, project_points

_SEEN_THROUGH = 0.08  # log of how much nearer than what a frame saw there a point is; less may be an error of depth
_FURTHER = 0.5  # in log depth, the most that is cleared at once
_CONFIRMED = 0.8  # of the frames that show a point or see through it, so many are to show it
_CONTESTED = 0.55  # of a neighbourhood, the share from which on nothing that was painted is left of it
_SPARSE = 2  # rows and columns of which one is asked about
_SHORT_OF = 0.9  # of the way, in log depth, from a point to what was seen through it: that itself is to stay


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
    others saw through, see `_put_to_the_vote`: made up too near, in a place that nobody looked at closely, it would
    hide for ever what is known to be behind it. Nor is it where most of a neighbourhood is contested: that is not
    covered. None: all are given.
    Returns colours (B, S, 3, H, W), log depth (B, S, 1, H, W) and covered (B, S, 1, H, W); all 0 where not covered.
    """
    points, size = project_points(depth, context, mask, views, given), depth.shape[2:]
    front = nearest_of(points, size)
    if given is not None and (not is_host(mask) or bool((mask & ~given).any())):
        front = _put_to_the_vote(front, points, depth, context, mask, views, given)
    return _show(front, points, frames)


def _put_to_the_vote(
    front: Tensor, points: Points, depth: Tensor, context: Cameras, mask: Tensor, views: Cameras, given: Tensor
) -> Tensor:
    """Which points are the nearest once what was refuted is gone; arguments as of `nearest_of` and `splat`.

    What was painted was made up at first sight, as a wall across a door, say. Of the frames that look there more may
    see through it than show it, or one that nobody painted sees through: then nothing that was painted stands before
    what that one of them shows that saw furthest.

    Where layers that were made up contradict one another still, a mottle of them would be left. Of a neighbourhood that
    is contested for the most part all that was painted is forgotten, to be made up anew and as one, but for what shows
    the same as a frame that nobody painted.
    """
    size = depth.shape[2:]
    painted = ~given.repeat_interleave(size.numel(), dim=1)[:, None]
    votes = _count_votes(front.unflatten(2, size), points, depth, context, mask, views)
    refuted = (votes.against > votes.confirmed) | (votes.through & given[:, None, :, None]).any(2)
    behind = (votes.log_depth + _SHORT_OF * votes.further.clamp(max=_FURTHER)).exp() * (refuted & (front >= 0))
    behind = F.pad(behind, (0, 1))  # what falls nowhere hides nothing
    gone = painted & (points.z < behind.gather(2, points.place))
    if not is_host(mask) or bool(gone.any()):
        left = points._replace(place=points.place.masked_fill(gone, size.numel()))
        front = nearest_of(left, size)
    own = painted.expand(-1, front.shape[1], -1).gather(2, front.clamp_min(0))
    return front.masked_fill(_mottled(front, points, depth, context, mask, views, given) & own, -1)


def _mottled(
    front: Tensor, points: Points, depth: Tensor, context: Cameras, mask: Tensor, views: Cameras, given: Tensor
) -> Tensor:
    """What is not known for sure where most of a neighbourhood is contested, (B, S, HW).

    Every second row and column can tell.
    """
    some = front.unflatten(2, depth.shape[2:])[..., ::_SPARSE, ::_SPARSE]
    votes, covered = _count_votes(some, points, depth, context, mask, views, _SPARSE), some >= 0
    confirmed, against = votes.confirmed, votes.against
    contested = confirmed < _CONFIRMED * (confirmed + against)
    doubtful = ~(votes.shown & given[:, None, :, None]).any(2).view_as(covered)
    contested = contested.view_as(covered) & covered & doubtful
    radius = max(1, covered.shape[-1] // 16)
    images = torch.cat([contested.flatten(0, 1)[:, None], covered.flatten(0, 1)[:, None]], dim=1).float()
    part, whole = F.avg_pool2d(images, 2 * radius + 1, 1, radius, count_include_pad=False).split(1, dim=1)
    mottled = (part > _CONTESTED * whole).view_as(covered) & doubtful
    mottled = mottled.repeat_interleave(_SPARSE, 2).repeat_interleave(_SPARSE, 3)
    return mottled[..., : depth.shape[2], : depth.shape[3]].flatten(2)


class _Votes(NamedTuple):
    """What k remembered frames say of the points that `nearest_of` names, at log depth (B, S, HW).

    through and shown (B, S, k, HW): who sees through them and who shows them; against and confirmed (B, S, HW): how
    many; further (B, S, HW): what the one that sees furthest shows behind them, in log depth.
    """

    log_depth: Tensor
    through: Tensor
    shown: Tensor
    further: Tensor

    @property
    def against(self) -> Tensor:
        return self.through.sum(2)

    @property
    def confirmed(self) -> Tensor:
        return self.shown.sum(2)


def _count_votes(
    front: Tensor, points: Points, depth: Tensor, context: Cameras, mask: Tensor, views: Cameras, every: int = 1
) -> _Votes:
    """What is said of `front` (B, S, H, W), of `every` so many rows and columns alone."""
    log_depth = depth_of(front.flatten(2), points)
    _, error, _, visible = compare(log_depth.view_as(front), views, depth, context, mask, every)
    through, shown = visible & (error < -_SEEN_THROUGH), visible & (error.abs() <= _SEEN_THROUGH)
    further = torch.where(through, -error, 0.0).amax(2)
    return _Votes(log_depth, through, shown, further)


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
