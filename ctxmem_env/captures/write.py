"""Walks written as captures, in the layouts of nerfstudio and of Context-as-Memory."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ctxmem_env.camera import to_opengl, to_unreal
from ctxmem_env.captures.lens import Lens
from ctxmem_env.captures.nerfstudio import NAME

_FARTHEST = 65.535  # metres; what 16 bits of millimetres hold


def write_nerfstudio(
    folder: str | Path, views: Iterable[tuple[np.ndarray, np.ndarray | None]], poses: np.ndarray, fov: float
) -> Path:
    """Write images/, depths/ and transforms.json, and return the folder, which must be new or empty.

    views: for each of the poses (n, 6) a frame uint8 (H, W, 3), `fov` degrees wide, and its depth (H, W) in metres,
    of which what lies beyond 65.5 m is written as 65.5 m, or None. Z points up, so "orientation_override" is "none".
    """
    folder = new_folder(folder)
    (folder / "images").mkdir()
    matrices = to_opengl(torch.as_tensor(poses, dtype=torch.float64)).tolist()
    frames = []
    for i, ((frame, depth), matrix) in enumerate(zip(views, matrices, strict=True)):
        name = f"{i:04d}.png"
        Image.fromarray(frame).save(folder / "images" / name)
        frames.append({"file_path": f"images/{name}", "transform_matrix": matrix})
        if depth is not None:
            (folder / "depths").mkdir(exist_ok=True)
            millimetres = (depth.clip(0, _FARTHEST) * 1000).round().astype(np.uint16)
            Image.fromarray(millimetres).save(folder / "depths" / name)
            frames[-1]["depth_file_path"] = f"depths/{name}"
    height, width, _ = frame.shape
    lens = Lens.of_fov(width, height, fov)
    content = {
        "camera_model": "OPENCV",
        "w": width,
        "h": height,
        "fl_x": lens.fx,
        "fl_y": lens.fy,
        "cx": lens.cx,
        "cy": lens.cy,
        "orientation_override": "none",
        "auto_scale_poses_override": False,
        "frames": frames,
    }
    (folder / NAME).write_text(json.dumps(content, indent=1))
    return folder


def write_published(
    folder: str | Path, name: str, views: Iterable[tuple[np.ndarray, np.ndarray | None]], poses: np.ndarray
) -> Path:
    """Write frames/NAME/ and jsons/NAME.json as Context-as-Memory has them, and return the folder, new or empty.

    views: as for `write_nerfstudio`, 52.67 degrees wide; the layout has no place for depth. Captions and labels of
    overlap are not written.
    """
    folder = new_folder(folder)
    (folder / "frames" / name).mkdir(parents=True)
    (folder / "jsons").mkdir()
    positions, rotations = (part.tolist() for part in to_unreal(torch.as_tensor(poses, dtype=torch.float64)))
    frames = {}
    for i, ((frame, _), position, rotation) in enumerate(zip(views, positions, rotations, strict=True)):
        Image.fromarray(frame).convert("RGBA").save(folder / "frames" / name / f"{i:04d}.png")
        frames[str(i)] = {"position": position, "rotation": rotation, "scale": [1.0, 1.0, 1.0]}
    (folder / "jsons" / f"{name}.json").write_text(json.dumps({"CineCameraActor": frames}, indent=1))
    return folder


def new_folder(folder: str | Path) -> Path:
    """The folder, made where it is missing; ValueError unless it is empty."""
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"out={str(folder)!r} is there and not an empty folder; give the path of a new one.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
