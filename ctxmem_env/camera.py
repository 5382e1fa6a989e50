"""Camera poses, motion and projection: the axes and units of the whole package, stated once.

World      right-handed, metres: X east, Y north, Z up.
Pose       float tensor (..., 6): x, y, z [m], yaw, pitch, roll [rad].
           Yaw 0 looks along +X and grows to the left; positive pitch looks up; positive roll lowers the right side.
Body       X forward, Y left, Z up.
Motion     (..., 4): dx forward [m], dy left [m], dyaw [rad], dpitch [rad], on the ground plane (pitch does not lift).
Pixels     OpenCV camera frame: x right, y down, z forward; square pixels, principal point in the centre.
           A world has one horizontal field of view, `fov`, in degrees. Depth is the z coordinate, in metres.

A pose holds angles and not a matrix, so that no number of steps can make a rotation drift from orthonormal.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_PITCH = math.radians(60.0)
DEFAULT_FOV = 90.0

# Columns: the OpenCV camera's x (right), y (down), z (forward) in the body frame.
_BODY_FROM_OPENCV = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
_OPENCV_FROM_OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


def full_precision(function: Callable) -> Callable:
    """Geometry, computed in the precision of its inputs even where autocast would multiply in bfloat16.

    Eight bits of mantissa are 8 cm at 20 m.
    """

    @functools.wraps(function)
    def exact(*args, **kwargs):
        given = (value[0] if isinstance(value, Cameras) else value for value in (*args, *kwargs.values()))
        device = next(value.device.type for value in given if isinstance(value, Tensor))
        if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return exact


def constant(function: Callable) -> Callable:
    """A tensor that depends on plain values alone, computed once for each of them and never to be written to."""

    @functools.lru_cache(maxsize=64)
    @torch.inference_mode(False)  # what is made in that mode could not be trained with
    @torch.no_grad()
    def once(*args) -> Tensor:
        return function(*args)

    @functools.wraps(function)
    def known(*args) -> Tensor:
        return function(*args) if torch.compiler.is_compiling() else once(*args)

    return known


def wrap_angle(angle: Tensor) -> Tensor:
    """Angles in radians, brought to [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def _axes(poses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where poses (..., 6) look ahead, left and up, each (..., 3): the columns of Rz(yaw) Ry(-pitch) Rx(roll)."""
    (cy, cp, cr), (sy, sp, sr) = poses[..., 3:].cos().unbind(-1), poses[..., 3:].sin().unbind(-1)
    ahead = torch.stack([cy * cp, sy * cp, sp], dim=-1)
    level = torch.stack([-sy, cy, torch.zeros_like(cy)], dim=-1)  # to the left, before the roll
    above = torch.stack([-cy * sp, -sy * sp, cp], dim=-1)
    cr, sr = cr[..., None], sr[..., None]
    return ahead, above * sr + level * cr, above * cr - level * sr


@full_precision
def body_rotation(poses: Tensor) -> Tensor:
    """World-from-body rotations (..., 3, 3), Rz(yaw) Ry(-pitch) Rx(roll), of poses (..., 6)."""
    return torch.stack(_axes(poses), dim=-1)


@full_precision
def camera_to_world(poses: Tensor) -> Tensor:
    """World-from-camera matrices (..., 4, 4) in the OpenCV camera frame, of poses (..., 6)."""
    ahead, left, up = _axes(poses)
    matrix = F.pad(torch.stack([-left, -up, ahead, poses[..., :3]], dim=-1), (0, 0, 0, 1))
    matrix[..., 3, 3] = 1.0
    return matrix


@full_precision
def invert_rigid(matrix: Tensor) -> Tensor:
    """Inverse of rigid transforms (..., 4, 4)."""
    inverse = torch.zeros_like(matrix)
    rotation = matrix[..., :3, :3].transpose(-1, -2)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3:] = -rotation @ matrix[..., :3, 3:]
    inverse[..., 3, 3] = 1.0
    return inverse


class Cameras(NamedTuple):
    """n cameras in each of B worlds, with all that projection needs, so that none of it is computed twice.

    poses (B, n, 6), their matrices to and from the world (B, n, 4, 4), float32, and focal (B,), see `focal`.
    """

    poses: Tensor
    to_world: Tensor
    from_world: Tensor
    focal: Tensor

    def some(self, which: slice | Tensor) -> "Cameras":
        """Those cameras of each world that an index of the second dimension names."""
        return Cameras(self.poses[:, which], self.to_world[:, which], self.from_world[:, which], self.focal)

    def split(self, *counts: int) -> list["Cameras"]:
        """The first ones of each world, those after them and so on."""
        parts = (part.split(counts, dim=1) for part in self[:3])
        return [Cameras(*part, self.focal) for part in zip(*parts, strict=True)]

    def beside(self, other: "Cameras") -> "Cameras":
        """These and then those, of the same worlds."""
        return Cameras(*(torch.cat(pair, dim=1) for pair in zip(self[:3], other[:3], strict=True)), self.focal)


@full_precision
def cameras_at(poses: Tensor, fov: Tensor) -> Cameras:
    """Cameras at poses (B, n, 6) with horizontal fields of view (B,) in degrees."""
    poses = poses.float()
    to_world = camera_to_world(poses)
    return Cameras(poses, to_world, invert_rigid(to_world), focal(fov))


def pose_from_matrix(matrix: Tensor) -> Tensor:
    """Poses (..., 6) of world-from-camera matrices (..., 4, 4) in the OpenCV camera frame."""
    rotation = matrix[..., :3, :3] @ _BODY_FROM_OPENCV.to(matrix).T
    yaw = torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0])
    pitch = torch.atan2(rotation[..., 2, 0], torch.hypot(rotation[..., 0, 0], rotation[..., 1, 0]))
    roll = torch.atan2(rotation[..., 2, 1], rotation[..., 2, 2])
    return torch.cat([matrix[..., :3, 3], torch.stack([yaw, pitch, roll], dim=-1)], dim=-1)


def move(poses: Tensor, motion: Tensor) -> Tensor:
    """Poses (..., 6) after a body-frame motion (..., 4): first the translation, then the turn.

    Yaw stays in [-pi, pi) and pitch in [-MAX_PITCH, MAX_PITCH].
    """
    x, y, z, yaw, pitch, roll = poses.unbind(-1)
    dx, dy, dyaw, dpitch = motion.unbind(-1)
    return torch.stack(
        [
            x + dx * yaw.cos() - dy * yaw.sin(),
            y + dx * yaw.sin() + dy * yaw.cos(),
            z,
            wrap_angle(yaw + dyaw),
            (pitch + dpitch).clamp(-MAX_PITCH, MAX_PITCH),
            roll,
        ],
        dim=-1,
    )


def along(poses: Tensor, motion: Tensor, count: int) -> Tensor:
    """Poses (..., count, 6) evenly along a body-frame motion (..., 4); the last are where `move` arrives."""
    return torch.stack([move(poses, motion * (i / count)) for i in range(1, count + 1)], dim=-2)


def motion_between(start: Tensor, end: Tensor) -> Tensor:
    """The motion (..., 4) for which `move(start, motion)` stands where `end` does, height and roll aside."""
    offset = end[..., :2] - start[..., :2]
    cos, sin = start[..., 3].cos(), start[..., 3].sin()
    dx = offset[..., 0] * cos + offset[..., 1] * sin
    dy = -offset[..., 0] * sin + offset[..., 1] * cos
    return torch.stack([dx, dy, wrap_angle(end[..., 3] - start[..., 3]), end[..., 4] - start[..., 4]], dim=-1)


def focal(fov: Tensor | float) -> Tensor:
    """Focal length in units of half the image width, 1 / tan(fov / 2), for a horizontal fov in degrees."""
    return (torch.as_tensor(fov, dtype=torch.float32) * (math.pi / 360)).tan().reciprocal()


def cropped_fov(fov: float, width: int, crop_width: int) -> float:
    """Horizontal field of view in degrees of the central `crop_width` of `width` pixels that span `fov` degrees."""
    return math.degrees(2 * math.atan(math.tan(math.radians(fov) / 2) * crop_width / width))


def pixel_rays(height: int, width: int, fov: Tensor | float) -> Tensor:
    """Rays (..., height, width, 3) through the pixel centres in the OpenCV camera frame, with z = 1.

    `fov` (...) in degrees. A point at z-depth d is `d * ray`.
    """
    return rays_of(height, width, focal(fov))


def rays_of(height: int, width: int, focal: Tensor) -> Tensor:
    """`pixel_rays` of cameras whose focal lengths (...) are known."""
    ahead, aside = _rays_at_focal_1(height, width, focal.device)
    return torch.addcdiv(ahead, aside, focal[..., None, None, None])


def level(poses: Tensor) -> Tensor:
    """Poses (..., 6) that look ahead along X, whatever their yaw, with their own pitch and roll."""
    ahead = poses.clone()
    ahead[..., 3] = 0.0
    return ahead


@full_precision
def level_rays(height: int, width: int, to_world: Tensor, focal: Tensor) -> Tensor:
    """Unit rays (N, 3, height, width), ahead, left and up, of cameras at `level` poses: matrices (N, 4, 4), focal (N,).

    Which way is up decides between floor and ceiling, and nothing else tells a token its row: rotary positions are
    relative.
    """
    rays = F.normalize(rays_of(height, width, focal), dim=-1).flatten(1, 2)
    return (rays @ to_world[:, :3, :3].mT).mT.unflatten(2, (height, width))


@constant
def _rays_at_focal_1(height: int, width: int, device: torch.device) -> Tensor:
    """Their parts (2, height, width, 3) along the optical axis and across it."""
    right, below = (1 - 1 / width), (height - 1) / width  # the outermost pixels' centres
    x = torch.linspace(-right, right, width, device=device).expand(height, width)
    y = torch.linspace(-below, below, height, device=device)[:, None].expand_as(x)
    none = torch.zeros_like(x)
    return torch.stack([torch.stack([none, none, none + 1], -1), torch.stack([x, y, none], -1)])


def from_opengl(matrix: Tensor) -> Tensor:
    """Poses (..., 6) of OpenGL camera-to-world matrices (..., 4, 4): x right, y up, looking along -z; metres, Z up."""
    matrix = matrix.clone()
    matrix[..., :3, :3] = matrix[..., :3, :3] @ _OPENCV_FROM_OPENGL.to(matrix)
    return pose_from_matrix(matrix)


def to_opengl(poses: Tensor) -> Tensor:
    """OpenGL camera-to-world matrices (..., 4, 4) of poses (..., 6); the inverse of `from_opengl`."""
    matrix = camera_to_world(poses)
    matrix[..., :3, :3] = matrix[..., :3, :3] @ _OPENCV_FROM_OPENGL.to(matrix)
    return matrix


def from_unreal(position: Tensor, rotation: Tensor) -> Tensor:
    """Poses (..., 6) of Unreal Engine positions (..., 3) and rotators (..., 3).

    Unreal: left-handed, X forward, Y right, Z up, centimetres; rotation is (roll, pitch, yaw) in degrees and
    positive yaw turns right. Roll and pitch have our sign (FRotator: pitch up, roll clockwise).
    """
    roll, pitch, yaw = torch.deg2rad(rotation).unbind(-1)
    xyz = position / 100 * position.new_tensor([1.0, -1.0, 1.0])
    return torch.cat([xyz, torch.stack([wrap_angle(-yaw), pitch, roll], dim=-1)], dim=-1)


def to_unreal(poses: Tensor) -> tuple[Tensor, Tensor]:
    """Unreal positions (..., 3) in centimetres and rotators (..., 3) in degrees; the inverse of `from_unreal`."""
    yaw, pitch, roll = poses[..., 3:].unbind(-1)
    position = poses[..., :3] * 100 * poses.new_tensor([1.0, -1.0, 1.0])
    return position, torch.rad2deg(torch.stack([roll, pitch, -yaw], dim=-1))
