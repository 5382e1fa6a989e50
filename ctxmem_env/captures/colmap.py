"""Sparse models of COLMAP, binary or text: cameras and images, of which points are passed over.

Poses are world-to-camera quaternions (w, x, y, z) and translations in the OpenCV camera frame, without a scale or a
direction that is up; `capture.upright` settles both. Pictures lie in images/ of the capture, or in the capture itself.
"""

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ctxmem_env.captures.capture import (
    MAX_FILE,
    MAX_PICTURES,
    Capture,
    Shot,
    check_count,
    check_there,
    gather,
    inside,
    upright,
)
from ctxmem_env.captures.lens import Lens

# Of each model its name, and what its parameters mean, in the order of their numbers in binary files.
MODELS = {
    0: ("SIMPLE_PINHOLE", ("f", "cx", "cy")),
    1: ("PINHOLE", ("fx", "fy", "cx", "cy")),
    2: ("SIMPLE_RADIAL", ("f", "cx", "cy", "k1")),
    3: ("RADIAL", ("f", "cx", "cy", "k1", "k2")),
    4: ("OPENCV", ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")),
}
_PARAMETERS = dict(MODELS.values())
_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", ".")
_MAX_NAME = 4096  # bytes


class ColmapReader:
    """Reads cameras and images, .bin or .txt; see the module."""

    def find(self, path: Path) -> list[Path]:
        for folder in (path / name for name in _FOLDERS) if path.is_dir() else ():
            if any((folder / f"cameras{end}").is_file() and (folder / f"images{end}").is_file() for end in _READERS):
                return [folder]
        return []

    def read(self, found: Path, root: Path) -> Capture:
        end = next(end for end in _READERS if (found / f"cameras{end}").is_file())
        read_cameras, read_images = _READERS[end]
        lenses = dict(_guarded(inside(root, found, f"cameras{end}", "capture"), read_cameras))
        path = inside(root, found, f"images{end}", "capture")
        images = sorted(_guarded(path, read_images), key=lambda image: image[0])
        where = f"capture: {path}"
        check_count(len(images), where)
        folder = root / "images" if (root / "images").is_dir() else root
        shots, rows = [], []
        for name, camera, quaternion, place in images:
            entry = f"{where}: image {name!r}"
            if camera not in lenses:
                raise ValueError(f"{entry} has camera {camera}, which cameras{end} does not list.")
            picture = inside(root, folder, name, entry)
            check_there(picture, entry)
            shots.append(Shot(picture, lenses[camera], entry))
            rows.append(_camera_to_world(quaternion, place, entry))
        shots, matrices, _ = gather(where, shots, rows)
        return Capture(shots, upright(matrices, turn=True, metric=False))


def _guarded(path: Path, read: Callable) -> list:
    """What `read` finds in a file, one by one; an error of it names the file."""
    try:
        with open(path, "rb") as file:
            return list(read(file))
    except (struct.error, ValueError, OverflowError) as error:
        raise ValueError(f"capture: {path}: {error}") from None


def _lens(model: str, width: int, height: int, values: list[float], where: str) -> Lens:
    if model not in _PARAMETERS:
        raise ValueError(f"{where} has the model {model[:40]!r}; expected one of {', '.join(_PARAMETERS)}.")
    names = _PARAMETERS[model]
    if len(values) != len(names):
        raise ValueError(f"{where} has {len(values)} parameters; {model} has {len(names)}: {', '.join(names)}.")
    given = dict(zip(names, values, strict=True))
    focal = given.pop("f", None)
    if focal is not None:
        given |= {"fx": focal, "fy": focal}
    try:
        return Lens(width, height, **given)
    except ValueError as error:
        raise ValueError(f"{where} has {error}") from None


def _camera_to_world(quaternion: list[float], place: list[float], where: str) -> np.ndarray:
    length = math.hypot(*quaternion)
    if not (length > 1e-9 and all(map(math.isfinite, (length, *place)))):
        raise ValueError(f"{where} has the rotation {quaternion} and translation {place}; expected finite numbers.")
    w, x, y, z = (part / length for part in quaternion)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn.T, -turn.T @ np.array(place)
    return matrix


def _unpack(file: BinaryIO, layout: str) -> tuple:
    values = file.read(struct.calcsize(f"<{layout}"))
    if len(values) < struct.calcsize(f"<{layout}"):
        raise ValueError("ends too early; expected a whole file of COLMAP.")
    return struct.unpack(f"<{layout}", values)


def _count(file: BinaryIO, of: str) -> int:
    (count,) = _unpack(file, "Q")
    if count > MAX_PICTURES:
        raise ValueError(f"announces {count:,} {of}; expected at most {MAX_PICTURES:,}.")
    return count


def _binary_cameras(file: BinaryIO) -> Iterator[tuple[int, Lens]]:
    for _ in range(_count(file, "cameras")):
        camera, model, width, height = _unpack(file, "iiQQ")
        if model not in MODELS:
            raise ValueError(f"camera {camera} has the model {model}; expected one of {', '.join(_PARAMETERS)}.")
        name, parameters = MODELS[model]
        values = list(_unpack(file, f"{len(parameters)}d"))
        yield camera, _lens(name, width, height, values, f"camera {camera}")


def _binary_images(file: BinaryIO) -> Iterator[tuple]:
    for _ in range(_count(file, "images")):
        _, *pose, camera = _unpack(file, "i7di")
        name = bytearray()
        while (byte := _unpack(file, "c")[0]) != b"\0":
            name += byte
            if len(name) > _MAX_NAME:
                raise ValueError(f"a name of more than {_MAX_NAME} bytes; expected the path of a picture.")
        (points,) = _unpack(file, "Q")
        if points > MAX_FILE:
            raise ValueError(f"announces {points:,} points in a picture; expected at most {MAX_FILE:,}.")
        file.seek(24 * points, 1)  # of each x and y, and the number of the point in space
        yield name.decode(), camera, pose[:4], pose[4:]


def _lines(file: BinaryIO) -> Iterator[list[str]]:
    """Words of the lines that are no comments; an empty line counts, for images without points have one."""
    for line in file:
        text = line.decode().strip()
        if not text.startswith("#"):
            yield text.split()


def _numbers(kind: type, words: list[str], where: str) -> list:
    try:
        return [kind(word) for word in words]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise ValueError(f"{where} has {' '.join(words)[:80]!r}; expected {what}.") from None


def _text_cameras(file: BinaryIO) -> Iterator[tuple[int, Lens]]:
    for words in _lines(file):
        if not words:
            continue
        if len(words) < 4:
            raise ValueError(f"the line {' '.join(words)[:80]!r}; expected number, model, width, height, parameters.")
        camera, width, height = _numbers(int, [words[0], *words[2:4]], f"the line {' '.join(words)[:80]!r}")
        where = f"camera {camera}"
        yield camera, _lens(words[1], width, height, _numbers(float, words[4:], where), where)


def _text_images(file: BinaryIO) -> Iterator[tuple]:
    lines = _lines(file)
    for words in lines:
        if not words:
            continue
        if len(words) < 10:
            raise ValueError(
                f"the line {' '.join(words)[:80]!r}; expected number, rotation, translation, camera, name."
            )
        name = " ".join(words[9:])
        pose = _numbers(float, words[1:8], f"image {name!r}")
        (camera,) = _numbers(int, words[8:9], f"image {name!r}")
        yield name, camera, pose[:4], pose[4:]
        next(lines, None)  # the points of the picture


_READERS = {".bin": (_binary_cameras, _binary_images), ".txt": (_text_cameras, _text_images)}
