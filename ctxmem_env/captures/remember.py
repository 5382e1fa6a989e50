"""Which frames of a capture a world remembers, and the frames themselves."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ctxmem_env.camera import MAX_PITCH
from ctxmem_env.captures.capture import Capture, CaptureReader, check_poses, inside
from ctxmem_env.captures.colmap import ColmapReader
from ctxmem_env.captures.frames import view_depth, view_frames
from ctxmem_env.captures.minecraft import MinecraftReader
from ctxmem_env.captures.nerfstudio import NerfstudioReader
from ctxmem_env.captures.numbered import NumberedReader
from ctxmem_env.captures.realestate import RealEstateReader

READERS: tuple[CaptureReader, ...] = (
    NerfstudioReader(),
    ColmapReader(),
    MinecraftReader(),
    RealEstateReader(),
    NumberedReader(),
)
CAMERA_FOLDERS = ("jsons", "metadata")  # whose files belong to the folder above
MOST_REMEMBERED = 256  # frames beside the first one, where nobody asks for a number


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


@dataclass(frozen=True)
class Found:
    """A capture that was found and not read yet: the file or folder with its cameras, which no path may lead out of
    `root`."""

    reader: CaptureReader
    cameras: Path
    root: Path

    def read(self) -> Capture:
        """The capture. ValueError, which names the file and the entry, for what does not fit."""
        inside(self.root, self.root, str(self.cameras.relative_to(self.root)), "capture")
        capture = self.reader.read(self.cameras, self.root)
        check_poses(capture.poses, capture.shots)
        return capture


def find_captures(path: str | Path) -> list[Found]:
    """The captures in a folder or, where it holds none itself, in the folders in it; or that of a camera file."""
    path = Path(path)
    if not path.exists():
        raise ValueError(f"capture={str(path)!r} does not exist; give the path of a folder with posed pictures.")
    folders = sorted(child for child in path.iterdir() if child.is_dir()) if path.is_dir() else ()
    return _find(path) or [found for folder in folders for found in _find(folder)]


def _find(path: Path) -> list[Found]:
    every = ([Found(reader, cameras, _root(path)) for cameras in reader.find(path)] for reader in READERS)
    return next(filter(None, every), [])


def _root(path: Path) -> Path:
    folder = path if path.is_dir() else path.parent
    return folder.parent if path.is_file() and folder.name in CAMERA_FOLDERS else folder


def open_capture(path: str | Path) -> Capture:
    """The capture in a folder, or of a camera file in it, whose layout is recognised by what is there.

    A warning tells of pictures that have a pose in a camera path and are not there. ValueError, which names the file
    and the entry, where there is no capture, where there are several, or where one does not fit.
    """
    if not isinstance(path, str | Path):
        raise ValueError(f"capture is a {type(path).__name__}; expected the path of a folder or of a camera file.")
    found = find_captures(path)
    if len(found) > 1:
        names = ", ".join(str(one.cameras.relative_to(path)) for one in found[:3])
        raise ValueError(f"capture: {path} holds {len(found)} captures, such as {names}; give the path of one.")
    if not found:
        raise ValueError(
            f"capture={str(path)!r} holds no posed pictures; expected transforms.json, a sparse model of COLMAP, "
            "metadata/ and video/ of GF-Minecraft, a camera file of RealEstate10K with its video, or a JSON file with "
            "poses beside its pictures or its video."
        )
    capture = found[0].read()
    if capture.missing:
        text = f"{len(capture.missing)} of {len(capture.missing) + len(capture.shots)} pictures are not there"
        warnings.warn(f"capture: {path}: {text}, such as {capture.missing[0]}; left out.", stacklevel=2)
    return capture


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
    frames, depth = view_frames(shots, height, width, fov), None
    if all(shot.depth is not None for shot in shots):
        depth = view_depth(shots, height, width, fov)
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
