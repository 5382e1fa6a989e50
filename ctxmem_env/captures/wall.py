"""A photograph on a wall, seen from a path that comes back to its beginning: a capture whose poses are exact.

The picture is a plane, `DISTANCE` metres before the middle of the path; a frame is what a camera sees of it, by the
homography between plane and camera. What is photographed is real, and its parallax is that of a picture on a wall.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ctxmem_env.camera import camera_to_world, pixel_rays

DISTANCE = 3.0  # metres
_HEIGHT = 1.5  # metres above the ground
_SAMPLES = 2  # rays across a pixel
_FILLED = 0.55  # of the angle that the picture has room for is that of a frame, so that there is a way to go
# Amplitudes of x, y, z in metres and of yaw and pitch in radians, as far as the picture allows.
_SWAY = np.array([0.5, 1.5, 0.6, 0.5, 0.25])


def wall_path(picture: Image.Image, fov: float, frames: int, aspect: float) -> tuple[np.ndarray, float]:
    """Poses (frames, 6) from which the picture fills every view, and the field of view in degrees of these.

    fov: the angle across the picture from the middle of the path, in degrees. aspect: of a frame, width over height.
    """
    across = math.tan(math.radians(fov) / 2)
    room = min(across, across * picture.height / picture.width * aspect)
    own = math.degrees(2 * math.atan(_FILLED * room))
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        inside = _on_wall(_poses(middle, frames), own, aspect) <= np.array(
            [across, across * picture.height / picture.width]
        )
        low, high = (middle, high) if inside.all() else (low, middle)
    return _poses(low, frames), own


def _poses(share: float, frames: int) -> np.ndarray:
    t = 2 * np.pi * np.arange(frames) / frames
    ways = np.stack([np.sin(2 * t), np.sin(t), np.cos(t), np.sin(2 * t + 1), np.sin(3 * t)], axis=1)
    poses = np.zeros((frames, 6))
    poses[:, :5] = share * _SWAY * ways
    poses[:, 2] += _HEIGHT
    return poses


def _on_wall(poses: np.ndarray, fov: float, aspect: float) -> np.ndarray:
    """How far to the side and up, in units of `DISTANCE`, the corners of views (n, 6) lie on the wall; (n, 4, 2)."""
    x = math.tan(math.radians(fov) / 2)
    corners = torch.tensor([[sx * x, sy * x / aspect, 1.0] for sx in (-1, 1) for sy in (-1, 1)], dtype=torch.float64)
    return np.abs(_meet(torch.from_numpy(poses)[:, None], corners).numpy())


def _meet(poses: Tensor, rays: Tensor) -> Tensor:
    """Where rays (..., 3) of the OpenCV camera frame, from poses (..., 6), meet the wall: right and down (..., 2)."""
    turned = (camera_to_world(poses)[..., :3, :3] @ rays[..., None])[..., 0]
    far = (DISTANCE - poses[..., 0]) / turned[..., 0].clamp(min=1e-6)
    right = -(poses[..., 1] + far * turned[..., 1]) / DISTANCE
    down = -(poses[..., 2] - _HEIGHT + far * turned[..., 2]) / DISTANCE
    return torch.stack([right, down], dim=-1)


def wall_views(
    picture: Image.Image, fov: float, poses: np.ndarray, own: float, height: int, width: int
) -> Iterator[tuple[np.ndarray, None]]:
    """What is seen from poses as `wall_path` gives them, frames uint8 (height, width, 3), with no depth."""
    across = math.tan(math.radians(fov) / 2)
    # Of a picture with more detail than the rays resolve only that would be left which happens to meet one.
    rays_across = _SAMPLES * width * across / math.tan(math.radians(own) / 2)
    shrink = min(1.0, rays_across / picture.width)
    size = max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink))
    whole = torch.from_numpy(np.array(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)))
    whole = whole.movedim(-1, 0)[None].float()
    rays = pixel_rays(_SAMPLES * height, _SAMPLES * width, own).double()
    scale = torch.tensor([across, across * picture.height / picture.width], dtype=torch.float64)
    for pose in torch.as_tensor(poses, dtype=torch.float64):
        grid = (_meet(pose, rays) / scale).float()
        fine = F.grid_sample(whole, grid[None], "bilinear", padding_mode="border", align_corners=False)
        frame = F.avg_pool2d(fine, _SAMPLES)[0].round().clamp(0, 255).to(torch.uint8)
        yield frame.movedim(0, -1).numpy(), None
