"""Camera paths with pictures: the layout of Context-as-Memory, and poses as `ctxmem_env.trajectory` has them.

The number that ends a picture's name is that of its pose. Pictures lie in frames/NAME beside jsons/NAME.json, as the
published dataset has them, or beside the JSON file. Positions are metres and Z points up: nothing is turned or scaled.
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
from ctxmem_env.trajectory import read_trajectory

_NUMBERED = re.compile(r"(?:.*[^0-9])?([0-9]{1,9})\.(?:png|jpe?g)", re.IGNORECASE)


class NumberedReader:
    """Reads a camera path and the pictures beside it; see the module."""

    def find(self, path: Path) -> Path | None:
        if not path.is_dir():
            return path if path.suffix == ".json" else None
        files = sorted((path / "jsons").glob("*.json")) or sorted(path.glob("*.json"))
        if len(files) > 1:
            names = ", ".join(file.name for file in files[:3])
            raise ValueError(f"capture: {path} holds {len(files)} camera paths, such as {names}; give the path of one.")
        return files[0] if files else None

    def read(self, found: Path, root: Path) -> Capture:
        where = f"capture: {found}"
        inside(root, found.parent, found.name, where)
        trajectory = read_trajectory(check_size(found))
        check_count(len(trajectory.poses), where)
        folder = found.parent
        if folder.name == "jsons":
            folder = folder.parent / "frames" / found.stem
        pictures = {}
        for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
            match = _NUMBERED.fullmatch(name)
            if match is not None:
                index = int(match[1])
                if index in pictures:
                    raise ValueError(f"{where}: {pictures[index].name} and {name} are both picture {index}.")
                pictures[index] = inside(root, folder, name, f"{where}: picture {index}")
        if trajectory.fov is None:
            raise ValueError(f"{where} has no 'fov'; add the horizontal field of view of the pictures in degrees.")
        lens, shots = None, []
        for index in range(len(trajectory.poses)):
            picture, entry = pictures.get(index, folder / f"{index:04d}.png"), f"{where}: frame {index}"
            if lens is None and picture.is_file():
                try:
                    lens = Lens.of_fov(*picture_size(picture, entry), trajectory.fov)
                except ValueError as error:
                    raise ValueError(f"{entry} has {error}") from None
            shots.append(Shot(picture, lens, entry))
        shots, poses = gather(where, shots, trajectory.poses.numpy())
        return Capture(shots, poses)
