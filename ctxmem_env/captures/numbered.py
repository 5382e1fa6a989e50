"""Camera paths with pictures: the layout of Context-as-Memory, and poses as `ctxmem_env.trajectory` has them.

The number that ends a picture's name is that of its pose. Pictures lie in frames/NAME beside jsons/NAME.json, as the
published dataset has them, or beside the JSON file; or there is a video in their place, of as many frames as there are
poses, NAME.mp4 or the only one. Positions are metres and Z points up: nothing is turned or scaled.
"""

import os
import re
from pathlib import Path

from ctxmem_env.captures.capture import (
    Capture,
    Shot,
    check_count,
    check_size,
    gather,
    inside,
    picture_size,
)
from ctxmem_env.captures.lens import Lens
from ctxmem_env.captures.video import VIDEOS, look_at
from ctxmem_env.trajectory import read_trajectory

_NUMBERED = re.compile(r"(?:.*[^0-9])?([0-9]{1,9})\.(?:png|jpe?g)", re.IGNORECASE)


class NumberedReader:
    """Reads a camera path and the pictures beside it; see the module."""

    def find(self, path: Path) -> list[Path]:
        if not path.is_dir():
            return [path] if path.suffix == ".json" else []
        return sorted((path / "jsons").glob("*.json")) or sorted(path.glob("*.json"))

    def read(self, found: Path, root: Path) -> Capture:
        where = f"capture: {found}"
        inside(root, found.parent, found.name, where)
        trajectory = read_trajectory(check_size(found), where)
        check_count(len(trajectory.poses), where)
        if trajectory.fov is None:
            raise ValueError(f"{where} has no 'fov'; add the horizontal field of view of the pictures in degrees.")
        folder, labels = found.parent, None
        if folder.name == "jsons":
            folder, labels = folder.parent / "frames" / found.stem, folder.parent / "overlap_labels" / found.stem
        pictures, video = _pictures(folder, root, where), None
        if not pictures:
            video = _video(folder, found, root, where)
        if video is not None:
            shots = _of_video(video, len(trajectory.poses), trajectory.fov, where)
        else:
            shots = _of_pictures(pictures, folder, len(trajectory.poses), trajectory.fov, where)
        shots, poses, missing = gather(where, shots, trajectory.poses.numpy())
        return Capture(shots, poses, missing, labels if labels is not None and labels.is_dir() else None)


def _pictures(folder: Path, root: Path, where: str) -> dict[int, Path]:
    """The pictures of a folder by their numbers."""
    pictures = {}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        match = _NUMBERED.fullmatch(name)
        if match is not None:
            index = int(match[1])
            if index in pictures:
                raise ValueError(f"{where}: {pictures[index].name} and {name} are both picture {index}.")
            pictures[index] = inside(root, folder, name, f"{where}: picture {index}")
    return pictures


def _video(folder: Path, found: Path, root: Path, where: str) -> Path | None:
    """The video that belongs to a camera file: the one of its name, or the only one; None if there is none."""
    names = sorted(name for name in os.listdir(folder) if name.lower().endswith(VIDEOS)) if folder.is_dir() else []
    own = [name for name in names if Path(name).stem == found.stem] or names
    if len(own) > 1:
        raise ValueError(f"{where}: {' and '.join(own[:2])} lie beside it; name its video {found.stem}{VIDEOS[0]}.")
    return inside(root, folder, own[0], f"{where}: video") if own else None


def _of_video(video: Path, count: int, fov: float, where: str) -> list[Shot]:
    film = look_at(video, where)
    if len(film.times) != count:
        raise ValueError(f"{where} has {count} poses, and {video} has {len(film.times)} frames; expected one for each.")
    lens = _lens(film.width, film.height, fov, where)
    return [Shot(video, lens, f"{where}: frame {i}", number=i) for i in range(count)]


def _of_pictures(pictures: dict[int, Path], folder: Path, count: int, fov: float, where: str) -> list[Shot]:
    lens, shots = None, []
    for index in range(count):
        picture, entry = pictures.get(index, folder / f"{index:04d}.png"), f"{where}: frame {index}"
        if lens is None and picture.is_file():
            lens = _lens(*picture_size(picture, entry), fov, entry)
        shots.append(Shot(picture, lens, entry))
    return shots


def _lens(width: int, height: int, fov: float, where: str) -> Lens:
    try:
        return Lens.of_fov(width, height, fov)
    except ValueError as error:
        raise ValueError(f"{where} has {error}") from None
