"""Pictures of a capture as frames and depth of a world: cropped, undistorted and shrunk one by one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ctxmem_env.captures.capture import Shot, open_picture
from ctxmem_env.captures.video import read_frames
from ctxmem_env.picture import PICTURE_ERRORS

_MILLIMETRES = 1000


def view_frames(shots: Sequence[Shot], height: int, width: int, fov: float) -> np.ndarray:
    """Frames uint8 (n, height, width, 3) that are `fov` degrees wide; one whole picture is in memory at a time.

    ValueError, which names the entry and the file, for a picture that cannot be read.
    """
    frames = np.empty((len(shots), height, width, 3), np.uint8)
    films: dict[Path, dict[int, list[int]]] = {}
    for i, shot in enumerate(shots):
        if shot.number is None:
            frames[i] = _picture(shot, height, width, fov)
        else:
            films.setdefault(shot.picture, {}).setdefault(shot.number, []).append(i)
    for path, rows in films.items():
        first = shots[min(map(min, rows.values()))]
        for number, picture in read_frames(path, rows, first.entry):
            shot = shots[rows[number][0]]
            frames[rows[number]] = _view(shot, picture, height, width, fov)
    return frames


def view_depth(shots: Sequence[Shot], height: int, width: int, fov: float) -> np.ndarray:
    """Depth float32 (n, height, width) in metres of the nearest pixels, 0 where unknown."""
    depth = np.zeros((len(shots), height, width), np.float32)
    for i, shot in enumerate(shots):
        if shot.depth is not None:
            depth[i] = _depth(shot, height, width, fov)
    return depth


def _picture(shot: Shot, height: int, width: int, fov: float) -> np.ndarray:
    with open_picture(shot.picture, shot.entry) as picture:
        return _view(shot, picture, height, width, fov)


def _view(shot: Shot, picture: Image.Image, height: int, width: int, fov: float) -> np.ndarray:
    try:
        # As stored: structure from motion does not look at a rotation in EXIF either.
        rgb = picture if picture.mode == "RGB" else picture.convert("RGB")  # which would be a second whole picture
        return shot.lens.resized(*picture.size).view(rgb, height, width, fov)
    except PICTURE_ERRORS as error:
        raise ValueError(f"{shot.entry}: {shot.picture}: {error}") from None


def _depth(shot: Shot, height: int, width: int, fov: float) -> np.ndarray:
    where = f"{shot.entry}: depth"
    with open_picture(shot.depth, where) as picture:
        if picture.mode not in ("I;16", "I;16B", "I"):
            raise ValueError(f"{where}: {shot.depth} is of mode {picture.mode}; expected grey of 16 bits, millimetres.")
        if any(shot.lens.distortion):
            raise ValueError(f"{where}: {shot.depth} belongs to a distorted picture; undistort both first.")
        try:
            lens = shot.lens.resized(*picture.size)
            values = np.array(picture).astype(np.float32)
        except PICTURE_ERRORS as error:
            raise ValueError(f"{where}: {shot.depth}: {error}") from None
    left, top, right, bottom = lens.box(height, width, fov)
    rows = (top + (np.arange(height) + 0.5) * (bottom - top) / height).astype(int).clip(0, lens.height - 1)
    columns = (left + (np.arange(width) + 0.5) * (right - left) / width).astype(int).clip(0, lens.width - 1)
    return values[rows][:, columns].clip(0, None) / _MILLIMETRES
