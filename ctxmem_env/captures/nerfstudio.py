"""The layout of nerfstudio and instant-ngp: transforms.json, with OpenGL camera-to-world matrices.

Lenses are given for the file or for single frames, as fl_x, fl_y, cx, cy, w and h, or as camera_angle_x in radians;
k1, k2, p1 and p2 are undistorted. "orientation_override": "none" says that Z points up already, and
"auto_scale_poses_override": false that positions are metres, and so do depth files, even of some frames alone, for
these are in millimetres of the same world; otherwise `capture.upright` finds both.
"""

import math
from pathlib import Path

from ctxmem_env.captures.capture import (
    Capture,
    Shot,
    check_count,
    check_matrix,
    check_there,
    gather,
    inside,
    number,
    picture_size,
    read_json,
    upright,
)
from ctxmem_env.captures.lens import Lens

NAME = "transforms.json"
_DISTORTION = ("k1", "k2", "p1", "p2")
_MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
_ENDINGS = ("", ".png", ".jpg", ".jpeg")  # synthetic scenes of NeRF leave them out


class NerfstudioReader:
    """Reads transforms.json; see the module."""

    def find(self, path: Path) -> list[Path]:
        if path.is_dir():
            return [path / NAME] if (path / NAME).is_file() else []
        if path.suffix != ".json":
            return []
        content = read_json(path)
        return [path] if isinstance(content, dict) and isinstance(content.get("frames"), list) else []

    def read(self, found: Path, root: Path) -> Capture:
        where = f"capture: {found}"
        content = read_json(found)
        if not isinstance(content, dict) or not isinstance(content.get("frames"), list):
            raise ValueError(f"{where} has no 'frames'; expected a list of them.")
        frames = content["frames"]
        check_count(len(frames), where)
        shots, rows = [], []
        for i, frame in enumerate(frames):
            entry = f"{where}: frame {i}"
            if not isinstance(frame, dict):
                raise ValueError(f"{entry} is a {type(frame).__name__}; expected an object.")
            picture = _picture(root, found.parent, frame.get("file_path"), f"{entry}: 'file_path'")
            check_there(picture, f"{entry}: 'file_path'")
            depth = frame.get("depth_file_path")
            if depth is not None:
                depth = inside(root, found.parent, depth, f"{entry}: 'depth_file_path'")
            rows.append(check_matrix(frame.get("transform_matrix"), f"{entry}: 'transform_matrix'"))
            shots.append(Shot(picture, _lens({**content, **frame}, picture, entry), entry, depth))
        shots, matrices, _ = gather(where, shots, rows)
        turn = content.get("orientation_override") != "none"
        if not turn and matrices[:, 2, 1].mean() < -0.5:
            raise ValueError(
                f"{where}: 'orientation_override' is none, and the cameras stand on their heads; expected Z up in the "
                "world, and in 'transform_matrix' the axes of OpenGL: a camera looks along -z, and its y points up. "
                "Of matrices in the axes of OpenCV change the sign of columns 1 and 2."
            )
        matrices[:, :3, 1:3] *= -1  # OpenGL looks along -z, and its y points up
        # Any, not all: whoever takes some of the pictures may find depth for each of these, beside scaled positions.
        metric = content.get("auto_scale_poses_override") is False or any(shot.depth is not None for shot in shots)
        return Capture(shots, upright(matrices, turn, metric))


def _picture(root: Path, folder: Path, name: object, where: str) -> Path:
    paths = [inside(root, folder, f"{name}{ending}" if ending else name, where) for ending in _ENDINGS]
    return next((path for path in paths if path.is_file()), paths[0])


def _lens(values: dict, picture: Path, where: str) -> Lens:
    model = values.get("camera_model", "OPENCV")
    if model not in _MODELS:
        raise ValueError(f"{where}: 'camera_model' is {str(model)[:80]!r}; expected one of {', '.join(_MODELS)}.")

    def get(name: str, default: float | None = None) -> float:
        return default if name not in values else number(values[name], f"{where}: {name!r}")

    if get("k3", 0.0) or get("k4", 0.0):
        raise ValueError(f"{where} has distortion k3 or k4; expected k1, k2, p1 and p2 alone. Undistort the pictures.")
    width, height = get("w"), get("h")
    if width is None or height is None:
        width, height = picture_size(picture, where)
    focal = get("fl_x")
    if focal is None:
        angle = get("camera_angle_x")
        if angle is None or not 0 < angle < math.pi:
            raise ValueError(
                f"{where} has neither 'fl_x' nor 'camera_angle_x' in (0, pi); expected the focal length in pixels or "
                "the horizontal field of view in radians."
            )
        focal = width / 2 / math.tan(angle / 2)
    centre = get("cx", width / 2), get("cy", height / 2)
    distortion = (get(name, 0.0) for name in _DISTORTION)
    try:
        return Lens(round(width), round(height), focal, get("fl_y", focal), *centre, *distortion)
    except ValueError as error:
        raise ValueError(f"{where} has {error}") from None
