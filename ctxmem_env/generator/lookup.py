"""The look-up over memory: where in the remembered frames does a pixel of the new view lie?

A remembered frame carries the depth that was predicted when it was made. `splat.splat` throws the remembered pixels
into the new view, which gives the network a first, incomplete depth; `fetch` goes the other way, from every pixel of
the new view at its predicted depth into every remembered frame, and brings back colours. Nothing is fused or kept: both
are computed anew for every view from the frames that retrieval chose. A frame from outside has no depth yet: 0 says so.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ctxmem_env.camera import Cameras, full_precision, rays_of

MIN_DEPTH = 0.05
_MARGIN = 2  # pixels that a bicubic kernel reaches beyond the one that it stands in
UNKNOWN = math.log(MIN_DEPTH)  # log depth of a frame from outside
SAME_SURFACE = math.log1p(0.1 / 0.02)  # of `Evidence.disagreement`: depths of one surface differ by a tenth at most


def rays_between(rays: Tensor, to_world: Tensor, from_world: Tensor) -> tuple[Tensor, Tensor]:
    """Rays (B, 3, n) of some cameras in the frames of others, by matrices (B, ..., 4, 4) that broadcast.

    Returns directions (B, ..., 3, n) and offsets (B, ..., 3, 1): a point at depth d is offset + d * direction.
    """
    relative = from_world @ to_world
    rotations = relative[..., :3, :3]
    directions = rotations.flatten(1, -2) @ rays
    return directions.view(*rotations.shape[:-1], -1), relative[..., :3, 3:]


def project(points: Tensor, focal: Tensor) -> tuple[Tensor, Tensor]:
    """Image coordinates (..., 2, n), in [-1, 1] across the width, and z (..., n), of points (..., 3, n) before it."""
    z = points[..., 2, :]
    f = focal.view(-1, *[1] * (z.dim() - 1))
    return points[..., :2, :] * (f / z.clamp(min=MIN_DEPTH))[..., None, :], z


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

    Scores below -900 count as -900, and those above 100 as 100; others differ from 1e-2 on.
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
def compare(
    log_depth: Tensor, views: Cameras, depth: Tensor, context: Cameras, mask: Tensor, every: int = 1
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Arguments as of `locate`: image coordinates (B, S, k, 2, HW), and (B, S, k, HW) each:

    log(z / D), how much further from the remembered camera a pixel of a view lies than what that one saw there, 0 where
    its depth is unknown; log of how much further from it than from the view's camera; and visible. log_depth may be
    that of `every` so many rows and columns alone.
    """
    batch, slots, height, width = depth.shape
    targets = log_depth.shape[1]
    rays = rays_of(height, width, views.focal)[:, ::every, ::every].flatten(1, 2).mT
    directions, offsets = rays_between(rays, views.to_world[:, :, None], context.from_world[:, None])
    distance = log_depth.flatten(2).exp()[:, :, None, None]
    image, z = project(torch.addcmul(offsets, directions, distance), context.focal)
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
    return image, error, ratio, visible


def locate(
    log_depth: Tensor, views: Cameras, depth: Tensor, context: Cameras, mask: Tensor
) -> tuple[Tensor, Evidence, Tensor]:
    """Where S new views' pixels, at log depth (B, S, H, W), lie in the remembered frames, and what speaks for it.

    depth (B, k, H, W) and the rest as in `splat.splat`. Returns image coordinates (B, S, k, 2, H, W), in [-1, 1] inside
    a frame, `Evidence` and visible (B, S, k, H, W).
    """
    image, error, ratio, visible = compare(log_depth, views, depth, context, mask)
    evidence = (error.abs() / 0.02).log1p(), 4 * error.clamp(-0.5, 0.5), ratio.clamp(-1, 1)
    size = depth.shape[2:]
    evidence = Evidence(*(value.unflatten(-1, size) for value in evidence))
    return image.unflatten(-1, size), evidence, visible.unflatten(-1, size)


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
