"""Camera paths from files: the published Context-as-Memory JSON, and a simple format of our own.

The published format (Unreal Engine: left-handed, centimetres, degrees; yaw may run past 360):

    {"CineCameraActor": {"0": {"position": [x, y, z], "rotation": [roll, pitch, yaw], "scale": [1, 1, 1]}, ...}}

Our own format (axes of `ctxmem_env.camera`, metres and radians); "fov", which may be left out, is the horizontal field
of view of the frames in degrees:

    {"fov": 90, "poses": [[x, y, z, yaw, pitch, roll], ...]}
"""

import json
import math
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from ctxmem_env.camera import MAX_PITCH, cropped_fov, from_unreal, motion_between, wrap_angle

# The files of Context-as-Memory hold no intrinsics; these are those of its pictures.
PUBLISHED_FOV = 52.67
PUBLISHED_ASPECT = 640 / 360
_OWN_KEYS = {"fov", "poses"}


@dataclass(frozen=True)
class Trajectory:
    """The path of a camera.

    poses float64 (n, 6), n >= 2, as in `ctxmem_env.camera`; fov, the horizontal field of view in degrees of the
    camera's pictures, None if the file does not say; aspect, width / height of those pictures, None if they have the
    shape of a frame.
    """

    poses: Tensor
    fov: float | None = None
    aspect: float | None = None

    def frame_fov(self, aspect: float) -> float | None:
        """The field of view in degrees of the central part of the picture, whose width is `aspect` x its height."""
        if self.fov is None or self.aspect is None or self.aspect <= aspect:
            return self.fov
        return cropped_fov(self.fov, self.aspect, aspect)

    def motions(self) -> Tensor:
        """Body-frame motions float64 (n - 1, 4) that lead from each pose to the next, height and roll aside.

        Raises ValueError for a pitch that `camera.move` does not reach.
        """
        steep = self.poses[:, 4].abs() > MAX_PITCH + 1e-6
        if bool(steep.any()):
            frame = int(steep.nonzero()[0])
            raise ValueError(
                f"trajectory: frame {frame} has a pitch of {math.degrees(self.poses[frame, 4]):.1f} degrees; "
                f"expected at most {math.degrees(MAX_PITCH):.0f} up or down."
            )
        return motion_between(self.poses[:-1], self.poses[1:])


def read_trajectory(path: str | Path, where: str | None = None) -> Trajectory:
    """The camera path in a file, whose format is recognised by its content; `where` is what errors begin with.

    Raises:
        ValueError: no such file, not JSON, neither of the two formats, fewer than two frames, missing frames, or a
            value that is missing, not a number, NaN or infinite; it names the file, the frame and the field.
    """
    path = Path(path)
    where = f"trajectory={str(path)!r}" if where is None else where
    if not path.is_file():
        raise ValueError(f"{where} does not exist; give the path of a JSON file.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON ({error}); give a camera file, not a video or a picture.") from None
    if isinstance(content, dict) and isinstance(content.get("CineCameraActor"), dict):
        return _read_published(content["CineCameraActor"], where)
    if isinstance(content, dict) and isinstance(content.get("poses"), list):
        return _read_own(content, where)
    keys = f"the keys {sorted(content)[:5]}" if isinstance(content, dict) else f"a {type(content).__name__}"
    raise ValueError(
        f"{where} holds {keys}; expected {{'CineCameraActor': {{'0': {{'position', 'rotation'}}, ...}}}} "
        "(Context-as-Memory) or {'poses': [[x, y, z, yaw, pitch, roll], ...], 'fov': degrees}."
    )


def _read_published(frames: dict, where: str) -> Trajectory:
    for key in frames:
        if not key.isdecimal() or str(int(key)) != key:
            raise ValueError(f"{where}: frame {key!r} is not a number; expected '0', '1', '2', ...")
    numbers = sorted(map(int, frames))
    _check_count(len(numbers), where)
    for previous, number in pairwise(numbers):
        if number != previous + 1:
            missing = f"frame {previous + 1}" if number == previous + 2 else f"frames {previous + 1} to {number - 1}"
            raise ValueError(f"{where}: {missing} missing, between {previous} and {number}; expected every frame.")
    fields = {"position": "x, y, z in centimetres", "rotation": "roll, pitch, yaw in degrees"}
    rows = {name: [] for name in fields}
    for number in numbers:
        frame = frames[str(number)]
        for name, meaning in fields.items():
            if not isinstance(frame, dict) or name not in frame:
                raise ValueError(f"{where}: frame {number} has no {name!r}; expected [{meaning}].")
            rows[name].append(_numbers(frame[name], 3, f"{where}: frame {number}: {name!r}", meaning))
    poses = from_unreal(*(torch.tensor(rows[name], dtype=torch.float64) for name in fields))
    return Trajectory(poses, PUBLISHED_FOV, PUBLISHED_ASPECT)


def _read_own(content: dict, where: str) -> Trajectory:
    extra = sorted(set(content) - _OWN_KEYS)
    if extra:
        raise ValueError(f"{where}: key {extra[0]!r} is unknown; expected 'poses' and, if known, 'fov'.")
    _check_count(len(content["poses"]), where)
    meaning = "x, y, z in metres, yaw, pitch, roll in radians"
    rows = [_numbers(pose, 6, f"{where}: frame {i}: 'poses'", meaning) for i, pose in enumerate(content["poses"])]
    poses = torch.tensor(rows, dtype=torch.float64)
    poses[:, 3:] = wrap_angle(poses[:, 3:])
    fov = content.get("fov")
    if fov is not None:
        (fov,) = _numbers([fov], 1, f"{where}: 'fov'", "degrees")
    return Trajectory(poses, fov)


def _check_count(count: int, where: str) -> None:
    if count < 2:
        raise ValueError(f"{where} holds {count} frame{'' if count == 1 else 's'}; a path needs at least two.")


def _numbers(values: object, count: int, where: str, meaning: str) -> list[float]:
    """`values` as `count` finite floats."""
    fits = isinstance(values, list) and len(values) == count
    # bool is an int in Python, and Python's JSON reader accepts NaN and Infinity.
    fits = fits and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not fits or not all(abs(v) <= sys.float_info.max for v in values):
        shown = values[0] if count == 1 else values
        number = "a finite number" if count == 1 else f"{count} finite numbers"
        raise ValueError(f"{where} is {json.dumps(shown)[:80]}; expected {number}: {meaning}.")
    return [float(v) for v in values]
