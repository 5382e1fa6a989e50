"""Points of one view, and how many of them a later view still shows where they were."""

from typing import NamedTuple

import torch
from torch import Tensor

from ctxmem_env.camera import camera_to_world, focal, full_precision, invert_rigid, pixel_rays

NUMBER = 16  # points in each direction of a view
_FARTHEST = 20.0  # metres; what is farther is as far
_DEPTH, _COLOUR = 0.15, 0.15  # difference of log depth, and of colour of 1, up to which a point is the same
_NEAREST = 0.05  # metres before the camera


class Landmarks(NamedTuple):
    """What B views showed: points (B, n, 3) in the world, metres; colours (B, n, 3) in [0, 1]; fov (B,), degrees."""

    points: Tensor
    colours: Tensor
    fov: Tensor


@full_precision
def mark(frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> Landmarks:
    """`NUMBER`² points of each view: frames uint8 (B, H, W, 3), depth (B, H, W) in metres, poses (B, 6), fov (B,)."""
    rows, columns = (((torch.arange(NUMBER) + 0.5) * size / NUMBER).long() for size in depth.shape[1:])
    rays = pixel_rays(*depth.shape[1:], fov.to(depth.device))
    cells = (slice(None), rows[:, None], columns)
    points = (rays[cells] * depth[cells].float().clamp_max(_FARTHEST)[..., None]).flatten(1, 2)
    world = camera_to_world(poses.float())
    return Landmarks(
        points @ world[:, :3, :3].mT + world[:, None, :3, 3], frames[cells].flatten(1, 2).float() / 255, fov
    )


@full_precision
def found_again(landmarks: Landmarks, frames: Tensor, depth: Tensor, poses: Tensor) -> Tensor:
    """Of the points within the field of view, the share (B,) that is seen where it was: as far, and of its colour.

    0 where none is within view.

    Args:
        frames: uint8 (B, H, W, 3).
        depth: (B, H, W), metres.
        poses: (B, 6).
    """
    height, width = depth.shape[1:]
    camera = invert_rigid(camera_to_world(poses.float()))
    x, y, z = (landmarks.points @ camera[:, :3, :3].mT + camera[:, None, :3, 3]).unbind(-1)
    scale = focal(landmarks.fov)[:, None] * width / 2 / z.clamp_min(_NEAREST)
    column, row = (x * scale + width / 2).floor(), (y * scale + height / 2).floor()
    inside = (z > _NEAREST) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixel = (row * width + column).where(inside, 0).long()
    seen = depth.flatten(1).gather(1, pixel).float().clamp(_NEAREST, _FARTHEST)
    as_far = (seen / z.clamp(_NEAREST, _FARTHEST)).log().abs() < _DEPTH
    colours = frames.flatten(1, 2).gather(1, pixel[..., None].expand(-1, -1, 3)).float() / 255
    alike = (colours - landmarks.colours).abs().mean(-1) < _COLOUR
    return (inside & as_far & alike).sum(1) / inside.sum(1).clamp_min(1)
