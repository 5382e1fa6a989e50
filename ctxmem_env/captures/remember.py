"""Which frames of a capture a world remembers, and the frames themselves."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctxmem_env.camera import MAX_PITCH
from ctxmem_env.captures.capture import Capture, CaptureReader, Shot, check_poses, inside, open_picture
from ctxmem_env.captures.colmap import ColmapReader
from ctxmem_env.captures.nerfstudio import NerfstudioReader
from ctxmem_env.captures.numbered import NumberedReader

READERS: tuple[CaptureReader, ...] = (NerfstudioReader(), ColmapReader(), NumberedReader())
MOST_REMEMBERED = 256  # frames beside the first one, where nobody asks for a number
_MILLIMETRES = 1000


@dataclass(frozen=True)
class Remembered:
    """What a world begins with: frames uint8 (n, H, W, 3), the last one in view, and their poses float64 (n, 6).

    depth float32 (n, H, W) in metres, 0 where unknown, None if the capture does not bring it for each of them; fov in
    degrees.
    """

    frames: np.ndarray
    depth: np.ndarray | None
    poses: np.ndarray
    fov: float


def open_capture(path: str | Path) -> Capture:
    """The capture in a folder, or of a camera file in it, whose layout is recognised by what is there.

    ValueError, which names the file and the entry, where there is none or it does not fit.
    """
    if not isinstance(path, str | Path):
        raise ValueError(f"capture is a {type(path).__name__}; expected the path of a folder or of a camera file.")
    path = Path(path)
    if not path.exists():
        raise ValueError(f"capture={str(path)!r} does not exist; give the path of a folder with posed pictures.")
    for reader in READERS:
        found = reader.find(path)
        if found is not None:
            root = path if path.is_dir() else path.parent
            if path.is_file() and root.name == "jsons":
                root = root.parent
            inside(root, root, str(found.relative_to(root)), "capture")
            capture = reader.read(found, root)
            check_poses(capture.poses, capture.shots)
            return capture
    raise ValueError(
        f"capture={str(path)!r} holds no posed pictures; expected transforms.json, a sparse model of COLMAP, or a JSON "
        "file with poses beside its pictures."
    )


def remember(
    capture: Capture, tour: int | None, pose: tuple[float, ...] | None, fov: float | None, height: int, width: int
) -> Remembered:
    """Frames of the capture, height x width pixels and `fov` degrees wide.

    The last one, where the camera stands, is the one nearest to `pose`, or the last of the capture, among those that
    look at most 60 degrees up or down. Before it come `tour` others, spread evenly over the capture and in its order,
    by default all up to 256. fov: by default the widest that all pictures fill.

    Raises:
        ValueError: a tour of more frames than there are, a fov that a picture does not fill or out of [10, 150], no
            frame to stand at, or a picture that cannot be read.
    """
    count = len(capture.shots)
    if tour is not None and tour > count - 1:
        raise ValueError(
            f"options['tour']={tour}, but beside the first frame the capture holds {count - 1} frames; ask for at most "
            "that many."
        )
    widest = capture.fov(width / height)
    if fov is not None and fov > widest + 1e-6:
        raise ValueError(
            f"options['fov']={fov:g}, but the pictures of the capture fill {widest:.2f} degrees; ask for at most that."
        )
    fov = widest if fov is None else fov
    if fov < 10:
        raise ValueError(f"the pictures of the capture fill {fov:.2f} degrees; expected at least 10.")
    start = _start(capture.poses, pose)
    others = np.delete(np.arange(count), start)
    number = min(len(others), MOST_REMEMBERED) if tour is None else tour
    chosen = others[np.linspace(0, len(others) - 1, number).round().astype(int)] if number else others[:0]
    indices = [*chosen.tolist(), start]
    shots = [capture.shots[i] for i in indices]
    frames = np.stack([_frame(shot, height, width, fov) for shot in shots])
    depth = None
    if all(shot.depth is not None for shot in shots):
        depth = np.stack([_depth(shot, height, width, fov) for shot in shots])
    return Remembered(frames, depth, capture.poses[indices], fov)


def _start(poses: np.ndarray, pose: tuple[float, ...] | None) -> int:
    level = np.flatnonzero(np.abs(poses[:, 4]) <= MAX_PITCH)
    if not len(level):
        raise ValueError(
            f"all frames of the capture look more than {math.degrees(MAX_PITCH):.0f} degrees up or down; expected one "
            "that a camera can stand at."
        )
    if pose is None:
        return int(level[-1])
    near = poses[level]
    turn = 1 - np.cos(near[:, 3] - pose[3]) * np.cos(near[:, 4] - pose[4])
    # A quarter turn is as far as a metre.
    return int(level[(np.linalg.norm(near[:, :3] - pose[:3], axis=1) + turn).argmin()])


def _frame(shot: Shot, height: int, width: int, fov: float) -> np.ndarray:
    with open_picture(shot.picture, shot.entry) as picture:
        try:
            # As stored: structure from motion does not look at a rotation in EXIF either.
            return shot.lens.resized(*picture.size).view(picture.convert("RGB"), height, width, fov)
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{shot.entry}: {shot.picture}: {error}") from None


def _depth(shot: Shot, height: int, width: int, fov: float) -> np.ndarray:
    """Depth float32 (height, width) in metres of the nearest pixels, 0 where unknown."""
    where = f"{shot.entry}: depth"
    with open_picture(shot.depth, where) as picture:
        if picture.mode not in ("I;16", "I;16B", "I"):
            raise ValueError(f"{where}: {shot.depth} is of mode {picture.mode}; expected grey of 16 bits, millimetres.")
        if any(shot.lens.distortion):
            raise ValueError(f"{where}: {shot.depth} belongs to a distorted picture; undistort both first.")
        try:
            lens = shot.lens.resized(*picture.size)
            values = np.array(picture).astype(np.float32)
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{where}: {shot.depth}: {error}") from None
    left, top, right, bottom = lens.box(height, width, fov)
    rows = (top + (np.arange(height) + 0.5) * (bottom - top) / height).astype(int).clip(0, lens.height - 1)
    columns = (left + (np.arange(width) + 0.5) * (right - left) / width).astype(int).clip(0, lens.width - 1)
    return values[rows][:, columns].clip(0, None) / _MILLIMETRES
