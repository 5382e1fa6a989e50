"""Remembered pixels as points before new views, and which of them is the nearest at each pixel."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ctxmem_env.camera import Cameras, rays_of
from ctxmem_env.device import is_host
from ctxmem_env.generator.lookup import MIN_DEPTH, project, rays_between

CLEAR = 0.3  # metres before a camera in which nothing that was painted stands: it could not have come here
_APART = 3.0  # per metre between two cameras: how much further away points count as, see `splat.splat`


class Points(NamedTuple):
    """Remembered pixels as points before S new views, (B, S, k H W) each.

    place: of the pixel that they fall on, `height * width` for none; key: how far away they count as in its
    upper bits, see `_key_layout`, and the point's index below, so that one minimum finds both; larger: how many times
    larger than in the remembered frame, 0 for none; z.
    """

    place: Tensor
    key: Tensor
    larger: Tensor
    z: Tensor


# Points that are more times larger than the first number are thrown as squares of so many pixels.
_SQUARES = (1.25, 3), (2.5, 5), (5.0, 11), (11.0, 23)
_FARTHEST = 1e4  # metres; what is further away is taken to be there
_HIDES = 0.85  # of the depth of what a surface hides, at most


def _key_layout(count: int) -> tuple[torch.dtype, int, float]:
    """Of keys for `count` points their type, the bits that hold an index, and what those above count for a log depth.

    An int32 is fast. Of large frames it would leave too few bits for the depth, with a step of more than 0.2 %.
    """
    bits = count.bit_length()
    dtype, depth_bits = (torch.int32, 31 - bits) if bits <= 18 else (torch.int64, 20)
    return dtype, bits, (2**depth_bits - 2) / math.log(_FARTHEST / MIN_DEPTH / _HIDES)


def project_points(depth: Tensor, context: Cameras, mask: Tensor, views: Cameras, given: Tensor | None) -> Points:
    """Arguments as in `splat.splat`."""
    slots, height, width = depth.shape[1:]
    rays = rays_of(height, width, context.focal).flatten(1, 2).mT
    directions, offsets = rays_between(rays, context.to_world[:, None], views.from_world[:, :, None])
    distance = depth.flatten(2)[:, None]  # (B, 1, k, HW)
    image, z = project(torch.addcmul(offsets, directions, distance[..., None, :]), views.focal)
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
    dtype, bits, fine = _key_layout(count)
    key = (away.clamp(MIN_DEPTH, _FARTHEST).div(MIN_DEPTH).log() * fine).to(dtype) << bits
    key = key + torch.arange(count, dtype=dtype, device=z.device)
    place = torch.where(valid, (row * width + column).flatten(2), height * width).long()
    finer = (views.focal / context.focal)[:, None, None]
    larger = torch.where(valid, finer * distance.flatten(2) / z.clamp(min=MIN_DEPTH), 0.0)
    return Points(place, key, larger, z)


def nearest_of(points: Points, size: tuple[int, int]) -> Tensor:
    """Which of the points is the nearest at each of height x width pixels of S views, (B, S, HW); -1 for none."""
    batch, targets, count = points.place.shape
    pixels = size[0] * size[1]
    _, bits, fine = _key_layout(count)
    nearer, empty = round(math.log(1 / _HIDES) * fine) << bits, torch.iinfo(points.key.dtype).max
    rows = torch.arange(batch * targets, device=points.place.device) * (pixels + 1)
    place = (points.place + rows.view(batch, targets, 1)).flatten()
    key, larger = points.key.flatten(), points.larger.flatten()

    def throw(width: int) -> Tensor:  # every point as a square of so many pixels
        nearest = key.new_full((len(rows) * (pixels + 1),), empty).scatter_reduce(0, place, key, "amin")
        return least_around(nearest.view(batch, targets, -1)[..., :-1].unflatten(-1, size), width)

    nearest = throw(1)
    for least, width in _SQUARES:
        near = larger > least
        if is_host(near):
            kept = near.nonzero()[:, 0]
            if len(kept) == 0:
                break
            place, key, larger = place[kept], key[kept], larger[kept]
        else:
            key = key.where(near, empty)
        # A pixel that has come nearer is larger now, and hides what its centre alone would leave visible.
        surface = throw(width)
        nearest = torch.where(surface < nearest - nearer, surface, nearest)
    nearest = nearest.flatten(2)
    return torch.where(nearest < empty, nearest & ((1 << bits) - 1), -1).long()


def least_around(images: Tensor, size: int) -> Tensor:
    """The least value of integer images (..., H, W) in a square of `size` pixels, an odd number, around each.

    Windows that overlap are joined, which takes log2(size) passes; a pooling layer takes `size`.
    """
    if size > 1:  # a value that pads is a double, in which the greatest int64 does not fit
        reach = size // 2
        height, width = (extent + 2 * reach for extent in images.shape[-2:])
        wide = images.new_full((*images.shape[:-2], height, width), torch.iinfo(images.dtype).max)
        wide[..., reach:-reach, reach:-reach] = images
        images = wide
    for dim in (-1, -2):
        joined = 1
        while joined < size:
            shift = min(joined, size - joined)
            rest = images.shape[dim] - shift
            images = torch.minimum(images.narrow(dim, 0, rest), images.narrow(dim, shift, rest))
            joined += shift
    return images


def depth_of(front: Tensor, points: Points) -> Tensor:
    """Log depth (B, S, HW) of the points that `nearest_of` names; of none that of any."""
    return points.z.gather(2, front.clamp_min(0)).clamp(min=MIN_DEPTH).log()
