"""The look-up over memory: where in the remembered frames does a pixel of the new view lie?

A remembered frame carries the depth that was predicted when it was made. `splat` throws the remembered pixels into the
new view, which gives the network a first, incomplete depth; `fetch` goes the other way, from every pixel of the new
view at its predicted depth into every remembered frame, and brings back colours. Nothing is fused or kept: both are
computed anew for every view from the frames that retrieval chose. A frame from outside has no depth yet: 0 says so.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ctxmem_env.camera import Cameras, full_precision, rays_of
from ctxmem_env.device import is_host

MIN_DEPTH = 0.05
CLEAR = 0.3  # metres before a camera in which nothing that was painted stands: it could not have come here
_MARGIN = 2  # pixels that a bicubic kernel reaches beyond the one that it stands in
UNKNOWN = math.log(MIN_DEPTH)  # log depth of a frame from outside
SAME_SURFACE = math.log1p(0.1 / 0.02)  # of `Evidence.disagreement`: depths of one surface differ by a tenth at most
_APART = 3.0  # per metre between two cameras: how much further away points count as, see `splat`
_SEEN_THROUGH = 0.08  # log of how much nearer than what a frame saw there a point is; less may be an error of depth
_SHORT_OF = 0.9  # of the way, in log depth, from a point to what was seen through it: that itself is to stay


def _rays_between(rays: Tensor, to_world: Tensor, from_world: Tensor) -> tuple[Tensor, Tensor]:
    """Rays (B, 3, n) of some cameras in the frames of others, by matrices (B, ..., 4, 4) that broadcast.

    Returns directions (B, ..., 3, n) and offsets (B, ..., 3, 1): a point at depth d is offset + d * direction.
    """
    relative = from_world @ to_world
    rotations = relative[..., :3, :3]
    directions = rotations.flatten(1, -2) @ rays
    return directions.view(*rotations.shape[:-1], -1), relative[..., :3, 3:]


def _project(points: Tensor, focal: Tensor) -> tuple[Tensor, Tensor]:
    """Image coordinates (..., 2, n), in [-1, 1] across the width, and z (..., n), of points (..., 3, n) before it."""
    z = points[..., 2, :]
    f = focal.view(-1, *[1] * (z.dim() - 1))
    return points[..., :2, :] * (f / z.clamp(min=MIN_DEPTH))[..., None, :], z


class _Points(NamedTuple):
    """Remembered pixels as points before S new views, (B, S, k H W) each.

    place: of the pixel that they fall on, `height * width` for none; key: how far away they count as, in units of
    1/1024 m, above, the point's index below, so that one minimum finds both; larger: how many times larger than in the
    remembered frame; z.
    """

    place: Tensor
    key: Tensor
    larger: Tensor
    z: Tensor


# Points that are more times larger than the first number are thrown as squares of so many pixels.
_SQUARES = (1.25, 3), (2.5, 5), (5.0, 11), (11.0, 23)
_EMPTY = 2.0**52  # above all keys, which are exact in float64


def _above(count: int) -> float:
    """What a unit of z counts in a key beside the indices of `count` points."""
    return 2.0 ** count.bit_length()


def _project_points(depth: Tensor, context: Cameras, mask: Tensor, views: Cameras, given: Tensor | None) -> _Points:
    """Arguments as in `splat`."""
    slots, height, width = depth.shape[1:]
    rays = rays_of(height, width, views.focal).flatten(1, 2).mT
    directions, offsets = _rays_between(rays, context.to_world[:, None], views.from_world[:, :, None])
    distance = depth.flatten(2)[:, None]  # (B, 1, k, HW)
    image, z = _project(torch.addcmul(offsets, directions, distance[..., None, :]), views.focal)
    column, row = (image * (width / 2) + torch.tensor([[width / 2], [height / 2]], device=z.device)).floor().unbind(-2)
    least = MIN_DEPTH if given is None else torch.where(given, MIN_DEPTH, CLEAR)[:, None, :, None]
    valid = (z > least) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    valid = (valid & (mask[..., None] & (depth.flatten(2) > MIN_DEPTH))[:, None]).flatten(2)
    count, z = slots * height * width, z.flatten(2)
    away = z
    if given is not None:
        apart = (views.poses[:, :, None, :3] - context.poses[:, None, :, :3]).norm(dim=-1)
        apart = apart.masked_fill(given[:, None], 0.0)
        away = z * (1 + _APART * apart).repeat_interleave(height * width, dim=2)
    key = (away.clamp(0, 1e4).double() * 1024).floor() * _above(count) + torch.arange(count, device=z.device)
    place = torch.where(valid, (row * width + column).flatten(2), height * width).long()
    return _Points(place, key, distance.flatten(2) / z.clamp(min=MIN_DEPTH), z)


def _front(points: _Points, size: tuple[int, int]) -> Tensor:
    """Which of the points is the nearest at each of height x width pixels of S views, (B, S, HW); -1 for none."""
    place, key, larger, _ = points
    batch, targets, count = place.shape
    height, width = size

    def throw(key: Tensor, size: int) -> Tensor:  # every point as a square of `size` pixels
        nearest = key.new_full((batch, targets, height * width + 1), _EMPTY).scatter_reduce(-1, place, key, "amin")
        nearest = nearest[..., :-1].unflatten(-1, (height, width))
        if size == 1:
            return nearest
        nearest = F.max_pool2d(nearest.neg(), (size, 1), stride=1, padding=(size // 2, 0))
        return -F.max_pool2d(nearest, (1, size), stride=1, padding=(0, size // 2))

    nearest = throw(key, 1)
    largest = float(larger.where(place < height * width, 0.0).max()) if place.device.type == "cpu" else math.inf
    for least, size in _SQUARES:
        if largest <= least:
            break
        # A pixel that has come nearer is larger now, and hides what its centre alone would leave visible.
        surface = throw(torch.where(larger > least, key, _EMPTY), size)
        nearest = torch.where(surface < 0.85 * nearest, surface, nearest)
    nearest = nearest.flatten(2)
    return torch.where(nearest < _EMPTY, nearest.remainder(_above(count)), -1.0).long()


def _depth_of(front: Tensor, points: _Points) -> Tensor:
    """Log depth (B, S, HW) of the points that `_front` names; of none that of any."""
    return points.z.gather(2, front.clamp_min(0)).clamp(min=MIN_DEPTH).log()


def _show(front: Tensor, points: _Points, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the points that `_front` names show; as `splat` returns it."""
    (batch, targets, _), size = front.shape, frames.shape[-2:]
    colours = frames.transpose(1, 2).flatten(2)[:, None].expand(-1, targets, -1, -1)
    colours = colours.gather(3, front.clamp_min(0)[:, :, None].expand(-1, -1, 3, -1))
    covered = (front >= 0)[:, :, None].to(colours)
    known = torch.cat([torch.cat([colours, _depth_of(front, points)[:, :, None]], dim=2) * covered, covered], dim=2)
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
    given (B, k) bool: frames that nobody painted. Nothing that was painted stands nearer than `CLEAR`, nor where others
    saw through, see `_put_to_the_vote`: made up too near, in a place that nobody looked at closely, it would hide
    for ever what is known to be behind it. None: all are given.
    Returns colours (B, S, 3, H, W), log depth (B, S, 1, H, W) and covered (B, S, 1, H, W); all 0 where not covered.
    """
    points, size = _project_points(depth, context, mask, views, given), depth.shape[2:]
    front = _front(points, size)
    if given is not None and (not is_host(mask) or bool((mask & ~given).any())):
        front = _put_to_the_vote(front, points, depth, context, mask, views, given)
    return _show(front, points, frames)


def _put_to_the_vote(
    front: Tensor, points: _Points, depth: Tensor, context: Cameras, mask: Tensor, views: Cameras, given: Tensor
) -> Tensor:
    """Which points are the nearest once what was refuted is gone; arguments as of `_front` and `splat`.

    What was painted was made up at first sight, as a wall across a door, say. Of the frames that look there more may
    see through it than show it, or one that nobody painted sees through: then nothing that was painted stands before
    what that one of them shows that saw furthest.
    """
    height, width = depth.shape[2:]
    log_depth = _depth_of(front, points).unflatten(2, (height, width))
    _, evidence, visible = locate(log_depth, views, depth, context, mask)
    through = visible & (evidence.sign < -4 * _SEEN_THROUGH)
    shown = visible & (evidence.sign.abs() <= 4 * _SEEN_THROUGH)
    outvoted = through.sum(2) > shown.sum(2)
    refuted = (outvoted | (through & given[:, None, :, None, None]).any(2)).flatten(2) & (front >= 0)
    further = torch.where(through, -evidence.sign, 0.0).amax(2) / 4
    behind = (log_depth + _SHORT_OF * further).flatten(2).exp() * refuted
    behind = F.pad(behind, (0, 1))  # what falls nowhere hides nothing
    painted = ~given.repeat_interleave(height * width, dim=1)[:, None]
    gone = painted & (points.z < behind.gather(2, points.place))
    left = points._replace(place=points.place.masked_fill(gone, height * width))
    if is_host(mask) and not bool(gone.any()):
        return front
    return _front(left, (height, width))


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


def first_smallest(values: Tensor) -> Tensor:
    """Which of k values (B, S, k, n), none negative, is smallest: (B, S, 1, n), to about six digits.

    The order of positive floats is that of their bits, so the last few may hold the index: one minimum, not two
    passes as in `argmin`.
    """
    slots = values.shape[2]
    spare = (1 << slots.bit_length()) - 1
    bits = values.contiguous().view(torch.int32)
    index = torch.arange(slots, dtype=torch.int32, device=values.device)[:, None]
    return ((bits & ~spare) | index).amin(2, keepdim=True).bitwise_and_(spare).long()


def two_largest(scores: Tensor) -> Tensor:
    """The slots of the two largest of k scores (B, S, k, H, W): int64 (B, S, 2, H, W), or one where k is 1.

    Scores below -1e3 count as that; others differ from 1e-2 on.
    """
    cost = (100 - scores.flatten(3)).clamp(1e-3, 1e3)
    first = first_smallest(cost)
    if cost.shape[2] > 1:
        second = first_smallest(cost.scatter(2, first, torch.inf))
        first = torch.cat([first, second], dim=2)
    return first.unflatten(3, scores.shape[3:])


class Evidence(NamedTuple):
    """What speaks for each remembered frame at each pixel of a view, (B, S, k, H, W) each.

    disagreement: between the depth of the pixel as seen from the remembered camera and that camera's own depth, as
    log(1 + |log(z / D)| / 2 %); sign: 4 log(z / D) in [-2, 2], positive where a surface hides the pixel; ratio: the log
    of how much further away the remembered camera stood, in [-1, 1].
    """

    disagreement: Tensor
    sign: Tensor
    ratio: Tensor


@full_precision
def locate(
    log_depth: Tensor, views: Cameras, depth: Tensor, context: Cameras, mask: Tensor
) -> tuple[Tensor, Evidence, Tensor]:
    """Where S new views' pixels, at log depth (B, S, H, W), lie in the remembered frames, and what speaks for it.

    depth (B, k, H, W) and the rest as in `splat`. Returns image coordinates (B, S, k, 2, H, W), in [-1, 1] inside a
    frame, `Evidence` and visible (B, S, k, H, W).
    """
    batch, slots, height, width = depth.shape
    targets = log_depth.shape[1]
    rays = rays_of(height, width, views.focal).flatten(1, 2).mT
    directions, offsets = _rays_between(rays, views.to_world[:, :, None], context.from_world[:, None])
    distance = log_depth.flatten(2).exp()[:, :, None, None]
    points = torch.addcmul(offsets, directions, distance)
    image, z = _project(points, views.focal)  # (B, S, k, 2, HW), (B, S, k, HW)
    image = image * image.new_tensor([[1.0], [width / height]])
    visible = (z > MIN_DEPTH) & (image.abs().amax(-2) < 1) & mask[:, None, :, None]
    with torch.no_grad():
        log_z = z.clamp(min=MIN_DEPTH).log()
        grid = image.transpose(1, 2).flatten(0, 1).clamp(-2, 2).mT  # (B k, S, HW, 2)
        known = depth.clamp(min=MIN_DEPTH).log().flatten(0, 1)[:, None]
        found = F.grid_sample(known, grid, "bilinear", padding_mode="border", align_corners=False)
        found = found.view(batch, slots, targets, -1).transpose(1, 2)
        unknown = depth.flatten(2).amax(-1)[:, None, :, None] <= MIN_DEPTH
        error = (log_z - found).masked_fill(unknown, 0.0)
        ratio = log_z - log_depth.flatten(2)[:, :, None]
        size, sign = (error.abs() / 0.02).log1p(), error.clamp(-0.5, 0.5) * 4
    shape = (batch, targets, slots, height, width)
    evidence = Evidence(*(value.view(shape) for value in (size, sign, ratio.clamp(-1, 1))))
    return image.unflatten(-1, shape[3:]), evidence, visible.view(shape)


@torch.no_grad()
def times_nearer(log_depth: Tensor, views: Cameras, depth: Tensor, context: Cameras, mask: Tensor) -> Tensor:
    """How many times nearer pixels of S views (B, S, H, W) are than in any frame that shows them, 1 / e to e.

    NaN where none does. Arguments as in `locate`.
    """
    _, evidence, visible = locate(log_depth, views, depth, context, mask)
    visible = visible & (evidence.disagreement < SAME_SURFACE)
    times = evidence.ratio.exp().masked_fill(~visible, torch.inf).amin(2)
    return times.masked_fill(~visible.any(2), torch.nan)


@full_precision
def fetch(frames: Tensor, image: Tensor, slot: Tensor) -> Tensor:
    """Colours (B, S, n, 3, H, W) at image coordinates (B, S, k, 2, H, W) of frames (B, k, 3, H, W).

    slot int64 (B, S, n, H, W) names the n frames that each pixel is looked up in.
    """
    slots, height = frames.shape[1], frames.shape[3]
    each = slot[:, :, :, None].expand(-1, -1, -1, 2, -1, -1)
    x, y = image.gather(2, each).clamp(-1, 1).unbind(3)
    # All frames below each other, with room between them for the kernel: one frame with n times as many pixels.
    tall, frames = height + 2 * _MARGIN, frames.transpose(1, 2)
    above, below = ([rim] * _MARGIN for rim in (frames[..., :1, :], frames[..., -1:, :]))
    atlas = torch.cat([*above, frames, *below], dim=3).flatten(2, 3)
    row = slot * tall + _MARGIN + (y + 1) * (height / 2)  # in pixels from the top
    grid = torch.stack([x, row * (2 / (slots * tall)) - 1], dim=-1).flatten(1, 3)
    # A sharper kernel than for depth, since colours are copied again and again; depth would ring at its edges.
    colours = F.grid_sample(atlas, grid, "bicubic", padding_mode="border", align_corners=False)
    return colours.unflatten(2, (*slot.shape[1:3], height)).permute(0, 2, 3, 1, 4, 5)
