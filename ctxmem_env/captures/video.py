"""Frames of videos, decoded one after the other and never all at once. Needs PyAV, the extra `video`."""

import functools
import importlib.util
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from ctxmem_env.captures.capture import MAX_PICTURES
from ctxmem_env.picture import MAX_PIXELS

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi")
# A turn to the left, in degrees, that a file asks for, and the exact one of Pillow.
_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


@dataclass(frozen=True)
class Film:
    """What is known of a video without decoding it: when its n >= 1 frames are shown, and where decoding may begin.

    width, height of a frame as it is shown; times int64 (n,) and keys int64, ascending, in units of `unit` seconds.
    """

    width: int
    height: int
    times: np.ndarray
    keys: np.ndarray
    unit: Fraction

    @property
    def seconds(self) -> np.ndarray:
        """When each frame is shown, float64 (n,), from the first one on."""
        return (self.times - self.times[0]) * float(self.unit)


def look_at(path: Path, where: str) -> Film:
    """The film in a file, of which the first frame alone is decoded; ValueError for none, or one that does not fit."""
    if importlib.util.find_spec("av") is None:
        raise ValueError(f"{where}: {path} is a video, which needs PyAV; pip install 'ctxmem-env[video]'.")
    status = path.stat()
    return _look_at(path, where, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _look_at(path: Path, where: str, size: int, changed: int) -> Film:
    import av

    times, keys = [], []
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise ValueError(f"{where}: {path} holds no video.")
            if stream.sample_aspect_ratio not in (None, 0, 1):
                shape = stream.sample_aspect_ratio
                raise ValueError(f"{where}: {path} has pixels of shape {shape}; expected square ones.")
            for packet in container.demux(stream):
                if packet.pts is None or packet.is_discard:
                    continue
                times.append(packet.pts)
                if packet.is_keyframe:
                    keys.append(packet.pts)
                if len(times) > MAX_PICTURES:
                    raise ValueError(f"{where}: {path} has more than {MAX_PICTURES:,} frames; cut it into pieces.")
            unit = stream.time_base
    except av.FFmpegError as error:
        raise ValueError(f"{where}: {path} is no video that can be read ({error}).") from None
    if not times or not keys:
        raise ValueError(f"{where}: {path} holds no frames.")
    film = Film(0, 0, np.unique(times), np.unique(keys), unit)
    _, first = next(_decode(path, film, [0], where))
    if first.width * first.height > MAX_PIXELS:
        raise ValueError(f"{where}: {path} has frames of {first.width} x {first.height} pixels; expected fewer.")
    return Film(*first.size, film.times, film.keys, unit)


def read_frames(path: Path, numbers: Iterable[int], where: str) -> Iterator[tuple[int, Image.Image]]:
    """Frames of a video, upright, with their numbers, each once and in ascending order; one is in memory at a time.

    Where there is a place to begin between two of them, what lies before it is not decoded. ValueError for a number
    that the video does not have, or a frame that cannot be decoded.
    """
    film, numbers = look_at(path, where), sorted(set(numbers))
    if numbers and not 0 <= numbers[0] <= numbers[-1] < len(film.times):
        raise ValueError(f"{where}: {path} has {len(film.times)} frames; expected frame {numbers[-1]} among them.")
    return _decode(path, film, numbers, where)


def _decode(path: Path, film: Film, numbers: Iterable[int], where: str) -> Iterator[tuple[int, Image.Image]]:
    import av

    with av.open(str(path)) as container:
        stream, now, frames = container.streams.best("video"), None, None
        for number in numbers:
            wanted = int(film.times[number])
            begin = int(film.keys[max(0, np.searchsorted(film.keys, wanted, "right") - 1)])
            try:
                if now is None or now < begin:
                    container.seek(begin, stream=stream)
                    frames = container.decode(stream)
                frame = next((frame for frame in frames if frame.pts is not None and frame.pts >= wanted), None)
                if frame is None or frame.pts != wanted:
                    raise ValueError(f"{where}: {path}: frame {number} cannot be decoded; expected a whole video.")
                picture = frame.to_image()
            except av.FFmpegError as error:
                raise ValueError(f"{where}: {path}: frame {number} cannot be decoded ({error}).") from None
            now = frame.pts
            turn = frame.rotation % 360
            if turn and turn not in _TURNS:
                raise ValueError(f"{where}: {path} is to be turned by {turn} degrees; expected a multiple of 90.")
            yield number, picture.transpose(_TURNS[turn]) if turn else picture
