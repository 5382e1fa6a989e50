"""The layout of RealEstate10K: a text file of cameras, and beside it the video or the pictures taken from it.

The first line is an address and is passed over. Each other line has 19 numbers: the time in microseconds; fx, fy, cx
and cy in widths and heights of the picture; k1 and k2; and the world-to-camera matrix, three rows of four, in the
OpenCV camera frame. Beside NAME.txt lies NAME.mp4, of which the frame shown at that time is taken, or NAME/ with
pictures that are named by their times. There is no scale and no direction that is up; `capture.upright` settles both.
"""

from pathlib import Path

import numpy as np

from ctxmem_env.captures.capture import (
    Capture,
    Shot,
    check_count,
    check_matrix,
    check_size,
    gather,
    inside,
    number,
    picture_size,
    upright,
)
from ctxmem_env.captures.lens import Lens
from ctxmem_env.captures.video import VIDEOS, look_at

_NUMBERS = 19
_PICTURES = (".png", ".jpg", ".jpeg")
_APART = 0.1  # seconds that a frame may lie beside its time


class RealEstateReader:
    """Reads a text file of cameras and the video or the pictures beside it; see the module."""

    def find(self, path: Path) -> list[Path]:
        files = sorted(path.glob("*.txt")) if path.is_dir() else [path] if path.suffix == ".txt" else []
        return [file for file in files if _is_one(file)]

    def read(self, found: Path, root: Path) -> Capture:
        where = f"capture: {found}"
        rows = [_row(line, f"{where}: line {i}") for i, line in _lines(found)]
        check_count(len(rows), where)
        times = [int(row[0]) for row in rows]
        entries = [f"{where}: time {time}" for time in times]
        video = next((path for end in VIDEOS if (path := found.with_suffix(end)).is_file()), None)
        if video is not None:
            video = inside(root, found.parent, video.name, where)
            film, numbers = look_at(video, where), _frames_at(times, video, where)
            places = [(video, n, (film.width, film.height)) for n in numbers]
        else:
            places = _pictures(times, found, root, where)
        shots = [
            Shot(path, _lens(row, size, entry) if size else None, entry, number=n)
            for row, entry, (path, n, size) in zip(rows, entries, places, strict=True)
        ]
        matrices = [_camera_to_world(row, entry) for row, entry in zip(rows, entries, strict=True)]
        shots, matrices, missing = gather(where, shots, matrices)
        return Capture(shots, upright(matrices, turn=True, metric=False), missing)


def _is_one(file: Path) -> bool:
    """Whether the first or the second line has the numbers of a camera."""
    with open(file, "rb") as lines:
        return any(len(lines.readline(4096).split()) == _NUMBERS for _ in range(2))


def _lines(found: Path) -> list[tuple[int, str]]:
    try:
        lines = check_size(found).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"capture: {found} is no text ({error}).") from None
    numbered = [(i, line) for i, line in enumerate(lines, 1) if line.strip()]
    return numbered[1:] if numbered and len(numbered[0][1].split()) == 1 else numbered


def _row(line: str, where: str) -> list[float]:
    words = line.split()
    if len(words) != _NUMBERS:
        raise ValueError(f"{where} has {len(words)} numbers; expected {_NUMBERS}: time, lens, world-to-camera matrix.")
    try:
        return [number(float(word), where) for word in words]
    except ValueError:
        raise ValueError(f"{where} is {line[:80]!r}; expected {_NUMBERS} finite numbers.") from None


def _frames_at(times: list[int], video: Path, where: str) -> list[int]:
    seconds, wanted = look_at(video, where).seconds, np.array(times) / 1e6
    after = np.searchsorted(seconds, wanted).clip(1, max(1, len(seconds) - 1))
    before = np.maximum(after - 1, 0)
    after = after.clip(max=len(seconds) - 1)
    nearest = np.where(np.abs(seconds[before] - wanted) <= np.abs(seconds[after] - wanted), before, after)
    far = np.abs(seconds[nearest] - wanted) > _APART
    if far.any():
        i = int(far.argmax())
        raise ValueError(
            f"{where}: time {times[i]} is {wanted[i]:.2f} s, but the frames of {video} lie between 0 and "
            f"{seconds[-1]:.2f} s; expected a frame within {_APART} s."
        )
    return nearest.tolist()


def _pictures(times: list[int], found: Path, root: Path, where: str) -> list[tuple]:
    """Of each time the path of its picture, None, and the size of the first picture; None where nothing is there."""
    folder, size, places = found.with_suffix(""), None, []
    for time in times:
        paths = [inside(root, folder, f"{time}{end}", where) for end in _PICTURES]
        path = next((path for path in paths if path.is_file()), None)
        if path is not None and size is None:
            size = picture_size(path, f"{where}: time {time}")
        places.append((paths[0], None, None) if path is None else (path, None, size))
    return places


def _lens(row: list[float], size: tuple[int, int], where: str) -> Lens:
    (width, height), (fx, fy, cx, cy, k1, k2) = size, row[1:7]
    try:
        return Lens(width, height, fx * width, fy * height, cx * width, cy * height, k1, k2)
    except ValueError as error:
        raise ValueError(f"{where} has {error}") from None


def _camera_to_world(row: list[float], where: str) -> np.ndarray:
    return np.linalg.inv(check_matrix(np.array(row[7:]).reshape(3, 4), f"{where}: matrix"))
