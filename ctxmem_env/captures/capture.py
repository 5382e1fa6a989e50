"""What a reader of captures gives, and what all readers share: safe paths, bounded files, poses that are upright."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from ctxmem_env.camera import pose_from_matrix
from ctxmem_env.captures.lens import Lens
from ctxmem_env.picture import PICTURE_ERRORS, open_bounded

MAX_PICTURES = 100_000
MAX_FILE = 256_000_000  # bytes of a file that is not a picture
MAX_POSITION = 10_000.0  # metres from the origin; float32 still resolves a millimetre there
SPREAD = 1.5  # metres: the median distance of cameras from their middle where nothing tells the scale
EYE_HEIGHT = 1.5  # metres


@dataclass(frozen=True)
class Shot:
    """One picture of a capture; nothing of it was opened yet.

    picture is a file of one picture, or a video of which this is frame `number`, counted from 0. entry names it in
    errors; depth is a PNG file of 16 bits, millimetres along the viewing axis, 0 where unknown. A reader that gives it
    for any picture gives positions in metres for all.
    """

    picture: Path
    lens: Lens
    entry: str
    depth: Path | None = None
    number: int | None = None


@dataclass(frozen=True)
class Capture:
    """Pictures in the order of their capture, n >= 1, and their poses float64 (n, 6) as in `ctxmem_env.camera`.

    missing: pictures that have a pose and are not there. labels: the folder where Context-as-Memory keeps for picture n
    the file n.json, which names pictures that overlap with it; None if there is none.
    """

    shots: Sequence[Shot]
    poses: np.ndarray
    missing: tuple[Path, ...] = ()
    labels: Path | None = None

    def fov(self, aspect: float) -> float:
        """The widest field of view in degrees, at most 150, of a view that every one of the pictures fills."""
        return min(150.0, *(shot.lens.widest(aspect) for shot in self.shots))


class CaptureReader(Protocol):
    """Reads one layout of captures."""

    def find(self, path: Path) -> list[Path]:
        """The files or folders, at or below a path that exists, that hold the cameras of one capture each."""
        ...

    def read(self, found: Path, root: Path) -> Capture:
        """The capture whose cameras `find` found; `root` is the folder that no path may lead out of.

        ValueError, which names the file and the entry, for anything that does not fit.
        """
        ...


def inside(root: Path, folder: Path, name: object, where: str) -> Path:
    """The file `name` of `folder`; ValueError if it is no text, absolute, or leads out of `root`, also by a link."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"{where} names {str(name)[:80]!r}; expected the path of a file, relative to the capture.")
    path = folder / name
    try:
        path.is_file()  # fails for names that no file can have
        leads_out = Path(name).is_absolute() or not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        leads_out = True
    if leads_out:
        raise ValueError(
            f"{where} names {name[:80]!r}, which leads out of the capture's folder; expected a file inside of it."
        )
    return path


def check_size(path: Path) -> Path:
    """The same path; ValueError for a file of more than MAX_FILE bytes."""
    size = path.stat().st_size
    if size > MAX_FILE:
        raise ValueError(f"capture: {path} has {size:,} bytes; expected at most {MAX_FILE:,}.")
    return path


def read_json(path: Path) -> object:
    """What a JSON file holds; ValueError for one that is too large or no JSON."""
    try:
        return json.loads(check_size(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"capture: {path} is not JSON ({error}).") from None


def number(value: object, where: str) -> float:
    """`value` as a float; ValueError unless a finite number."""
    # bool is an int in Python, and Python's JSON reader accepts NaN, Infinity and integers of any length.
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if not fits:
        raise ValueError(f"{where} is {str(value)[:80]}; expected a finite number.")
    return float(value)


def open_picture(path: Path, where: str) -> Image.Image:
    """A picture, not decoded yet; ValueError if it cannot be read or has too many pixels."""
    try:
        if path.stat().st_size == 0:
            raise ValueError("it has 0 bytes")
        return open_bounded(path)
    except PICTURE_ERRORS as error:
        raise ValueError(f"{where}: {path} is no picture that can be read ({error}); give PNG or JPEG.") from None


def picture_size(path: Path, where: str) -> tuple[int, int]:
    """Width and height of a picture, of which the header alone is read."""
    with open_picture(path, where) as picture:
        return picture.size


def check_there(picture: Path, where: str) -> None:
    """ValueError for a picture that a file of cameras names and that is not there."""
    if not picture.is_file():
        raise ValueError(f"{where} names {picture}, which is not there; put it there, or take its entry out.")


def gather(
    where: str, shots: Sequence[Shot], rows: Sequence[np.ndarray]
) -> tuple[list[Shot], np.ndarray, tuple[Path, ...]]:
    """The shots whose pictures are there, their rows, and the pictures that are not; ValueError if none is there."""
    if not shots:
        raise ValueError(f"{where} names no pictures; expected at least one.")
    there = [shot.picture.is_file() for shot in shots]
    if not any(there):
        raise ValueError(f"{where}: none of the {len(shots)} pictures is there, such as {shots[0].picture}.")
    missing = tuple(shot.picture for shot, here in zip(shots, there, strict=True) if not here)
    return [shot for shot, here in zip(shots, there, strict=True) if here], np.array(rows, np.float64)[there], missing


def check_count(count: int, where: str) -> None:
    """ValueError for more pictures than a capture may have."""
    if count > MAX_PICTURES:
        raise ValueError(f"{where} names {count:,} pictures; expected at most {MAX_PICTURES:,}.")


def check_matrix(matrix: object, where: str) -> np.ndarray:
    """A camera-to-world matrix as float64 (4, 4); ValueError unless it is finite and turns without mirror or scale."""
    expected = "expected a finite camera-to-world matrix of 4 x 4 numbers"
    try:
        rows = [list(row) for row in matrix]
    except TypeError:
        raise ValueError(f"{where} is {str(matrix)[:80]}; {expected}.") from None
    if len(rows) not in (3, 4) or any(len(row) != 4 for row in rows):
        lengths = ", ".join(map(str, sorted({len(row) for row in rows})))
        raise ValueError(f"{where} has {len(rows)} rows of {lengths} numbers; {expected}.")
    # Each by its place: of a matrix that is printed whole nobody finds the one that is NaN.
    array = np.array(
        [[number(value, f"{where}[{i}][{j}]") for j, value in enumerate(row)] for i, row in enumerate(rows)]
    )
    if len(rows) == 3:
        array = np.vstack([array, [0.0, 0.0, 0.0, 1.0]])
    turn = array[:3, :3]
    if np.abs(turn.T @ turn - np.eye(3)).max() > 1e-2:
        raise ValueError(f"{where} scales or shears; expected a rotation.")
    if np.linalg.det(turn) < 0:
        raise ValueError(
            f"{where} mirrors, so that it turns right-handed axes into left-handed ones; expected a rotation between "
            "right-handed axes. Turn one axis of the world around, in the rotation and in the position."
        )
    return array


def upright(matrices: np.ndarray, turn: bool, metric: bool) -> np.ndarray:
    """Poses float64 (n, 6) of camera-to-world matrices (n, 4, 4) in the OpenCV camera frame.

    turn: the mean of the cameras' up directions becomes Z, by the smallest rotation; if these cancel out, Z stays.
    metric: positions are metres and stay. Otherwise the mean position becomes (0, 0, 1.5) and the median distance from
    it 1.5 m, for pictures alone have no scale; cameras at one place are not scaled.
    """
    matrices = matrices.copy()
    if turn:
        up = -matrices[:, :3, 1].mean(0)  # y of the OpenCV camera points down
        length = np.linalg.norm(up)
        if length > 1e-3:
            matrices[:, :3] = _onto_z(up / length) @ matrices[:, :3]
    if not metric:
        places = matrices[:, :3, 3]
        places -= places.mean(0)
        far = float(np.median(np.linalg.norm(places, axis=1)))
        places *= SPREAD / far if far > 1e-9 else 1.0
        places[:, 2] += EYE_HEIGHT
    poses = pose_from_matrix(torch.from_numpy(matrices)).numpy()
    # Straight up or down yaw and roll turn about one axis: the roll is 0, and yaw is where the right side points.
    steep = np.hypot(matrices[:, 0, 2], matrices[:, 1, 2]) < 1e-6
    poses[steep, 3], poses[steep, 5] = np.arctan2(matrices[steep, 0, 0], -matrices[steep, 1, 0]), 0.0
    return poses


def check_poses(poses: np.ndarray, shots: Sequence[Shot]) -> None:
    """ValueError for poses (n, 6) that lie too far out."""
    far = np.abs(poses[:, :3]).max(1)
    if not far.max() <= MAX_POSITION:
        i = int(np.flatnonzero(~(far <= MAX_POSITION))[0])
        raise ValueError(
            f"{shots[i].entry} lies {far[i]:,.0f} m out; expected at most {MAX_POSITION:,.0f} m. Shift the origin."
        )


def _onto_z(up: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that turns a direction (3,) of length 1 to Z."""
    x, y, z = up
    if z < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    cross = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])  # of up x Z
    return np.eye(3) + cross + cross @ cross / (1 + z)
