"""Pictures of a capture as frames and depth of a world: cropped, undistorted and shrunk one by one."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ctxmem_env.captures.capture import Shot, open_picture
from ctxmem_env.captures.strips import decode_reduced
from ctxmem_env.captures.video import read_frames
from ctxmem_env.picture import PICTURE_ERRORS, to_rgb

_MILLIMETRES = 1000
# Pixels that are left across one of a frame, at least, when a file is decoded at a smaller size: the kernel that then
# shrinks it is so wide that means of blocks of pixels serve it as the pixels do (`reducing_gap` of Pillow).
_LEFT = 2.0
_SMALLEST = 8  # as a JPEG can be decoded; strips, which are a multiple of it high, stay thin


def view_frames(shots: Sequence[Shot], height: int, width: int, fov: float) -> np.ndarray:
    """Frames uint8 (n, height, width, 3) that are `fov` degrees wide; one picture is in memory at a time.

    That takes 4 bytes a pixel. A JPEG of far more pixels than a frame needs is decoded at a half, a quarter or an
    eighth of its width and height, and so, in strips, is a PNG of 8 bits that is not interlaced, at any whole factor up
    to 8; other files are decoded whole, and so are frames of videos. A progressive JPEG takes 3 more bytes for each
    pixel that it has.

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
        lens = shot.lens.resized(*picture.size)
    except ValueError as error:
        raise ValueError(f"{shot.entry}: {shot.picture}: {error}") from None
    try:
        picture, smaller = _decode_smaller(picture, lens.detail(height, width, fov) / _LEFT)
        # As stored: structure from motion does not look at a rotation in EXIF either.
        return lens.view(to_rgb(picture), height, width, fov, smaller)
    except PICTURE_ERRORS as error:
        raise ValueError(f"{shot.entry}: {shot.picture} cannot be decoded ({error}); fetch it again.") from None


def _decode_smaller(picture: Image.Image, most: float) -> tuple[Image.Image, int]:
    """A picture that is, or will be, decoded at a size up to 8 and `most` times smaller, and how many times that is.

    For a JPEG it is 1, 2, 4 or 8, for a PNG that can be decoded in strips any integer, for anything else 1.
    """
    factor = min(_SMALLEST, int(most))
    if factor < 2:
        return picture, 1
    small = decode_reduced(picture, factor)
    if small is not None:
        return small, factor
    width, height = picture.size
    drafted = picture.draft(None, (math.ceil(width / most), math.ceil(height / most)))
    # The box that `draft` returns is the size before it was rounded up to whole pixels.
    return picture, 1 if drafted is None else round(width / drafted[1][2])


def _depth(shot: Shot, height: int, width: int, fov: float) -> np.ndarray:
    where = f"{shot.entry}: depth"
    with open_picture(shot.depth, where) as picture:
        if picture.mode not in ("I;16", "I;16B", "I"):
            raise ValueError(f"{where}: {shot.depth} is of mode {picture.mode}; expected grey of 16 bits, millimetres.")
        if any(shot.lens.distortion):
            raise ValueError(f"{where}: {shot.depth} belongs to a distorted picture; undistort both first.")
        try:
            lens = shot.lens.resized(*picture.size)
            values = np.array(picture)
        except PICTURE_ERRORS as error:
            raise ValueError(f"{where}: {shot.depth}: {error}") from None
    left, top, right, bottom = lens.box(height, width, fov)
    rows = (top + (np.arange(height) + 0.5) * (bottom - top) / height).astype(int).clip(0, lens.height - 1)
    columns = (left + (np.arange(width) + 0.5) * (right - left) / width).astype(int).clip(0, lens.width - 1)
    return values[rows][:, columns].astype(np.float32).clip(0, None) / _MILLIMETRES
