"""The layout of GF-Minecraft (GameFactory, arXiv:2501.08325): metadata/NAME.json and video/NAME.mp4.

    {"actions": {"0": {...}, "1": {"pos": [x, y, z], "yaw": degrees, "pitch": degrees, ...}, ...}}

Entry n is of frame n; entry 0 is passed over, as its authors do. Axes are those of Minecraft: X east, Y up, Z south,
yaw 0 looks south and grows to the right, positive pitch looks down; a block is a metre. `pos` is where the feet are,
and the eyes are 1.62 m above. The files hold no lens: it is that of the game's default, 70 degrees from top to bottom.
annotation.csv holds captions and is not read.
"""

import math
from pathlib import Path

import numpy as np

from ctxmem_env.captures.capture import Capture, Shot, check_count, check_there, inside, number, read_json
from ctxmem_env.captures.lens import Lens
from ctxmem_env.captures.video import look_at

EYES = 1.62  # metres above the feet
VERTICAL_FOV = 70.0  # degrees


class MinecraftReader:
    """Reads one file of metadata and its video; see the module."""

    def find(self, path: Path) -> list[Path]:
        if path.is_dir():
            return sorted((path / "metadata").glob("*.json")) if (path / "video").is_dir() else []
        return [path] if path.suffix == ".json" and path.parent.name == "metadata" else []

    def read(self, found: Path, root: Path) -> Capture:
        where = f"capture: {found}"
        content = read_json(found)
        actions = content.get("actions") if isinstance(content, dict) else None
        if not isinstance(actions, dict) or not all(key.isdecimal() for key in actions):
            raise ValueError(f"{where} has no 'actions'; expected an object with the keys '0', '1', '2', ...")
        check_count(len(actions), where)
        video = inside(root, root / "video", f"{found.stem}.mp4", where)
        check_there(video, where)
        film = look_at(video, where)
        numbers = sorted(n for n in map(int, actions) if n > 0)
        if not numbers or numbers[-1] >= len(film.times):
            raise ValueError(
                f"{where} has {len(numbers)} entries after the first, and {video} has {len(film.times)} frames; "
                "expected entries from '1' to the last frame at most."
            )
        width = math.degrees(2 * math.atan(math.tan(math.radians(VERTICAL_FOV) / 2) * film.width / film.height))
        lens = Lens.of_fov(film.width, film.height, width)
        shots, poses = [], []
        for n in numbers:
            entry = f"{where}: entry {n}"
            shots.append(Shot(video, lens, entry, number=n))
            poses.append(_pose(actions[str(n)], entry))
        return Capture(shots, np.array(poses))


def _pose(action: object, where: str) -> list[float]:
    place = action.get("pos") if isinstance(action, dict) else None
    if not isinstance(place, list) or len(place) != 3:
        raise ValueError(f"{where}: 'pos' is {str(place)[:80]}; expected [x, y, z] in metres.")
    east, up, south = (number(value, f"{where}: 'pos'") for value in place)
    yaw, pitch = (math.radians(number(action.get(name), f"{where}: {name!r}")) for name in ("yaw", "pitch"))
    turn = math.remainder(-math.pi / 2 - yaw, 2 * math.pi)
    return [east, -south, up + EYES, turn, -pitch, 0.0]
