"""Pictures as videos."""

import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float = 12) -> Path:
    """Writes pictures uint8 (height, width, 3) as .mp4 (H.264, yuv420p) or .gif, and returns the path.

    `frames` may be a generator: one picture at a time is held. Odd sizes get one more row or column. Missing
    folders are made. The file appears under its name when it is complete; a failure leaves what was there
    before.

    Raises:
        ValueError: another suffix, fps not above 0, no pictures, or a picture of another type or shape.
        OSError: writing failed, as on a full disk.
    """
    path = Path(path)
    if path.suffix not in (".mp4", ".gif"):
        raise ValueError(f"path={str(path)!r} ends in {path.suffix!r}; expected .mp4 or .gif.")
    if not 0 < fps <= 240:
        raise ValueError(f"fps={fps!r}; expected pictures a second, above 0 and at most 240.")
    pictures = _checked(frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError("frames is empty; a video needs at least one picture.")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write = _write_mp4 if path.suffix == ".mp4" else _write_gif
        write(unfinished, first, pictures, fps)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def _checked(frames: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    shape = None
    for i, frame in enumerate(frames):
        frame = np.asarray(frame)
        shape = frame.shape if shape is None else shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3 or frame.shape != shape:
            raise ValueError(
                f"frames[{i}] is {frame.dtype} of shape {frame.shape}; expected uint8 (height, width, 3), "
                f"the same shape for all."
            )
        yield np.pad(frame, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")


def _write_mp4(path: Path, first: np.ndarray, rest: Iterable[np.ndarray], fps: float) -> None:
    from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter

    size = first.shape[1], first.shape[0]
    with FFMPEG_VideoWriter(
        str(path), size, fps, codec="libx264", ffmpeg_params=["-crf", "18", "-movflags", "+faststart"]
    ) as writer:
        process = writer.proc
        for frame in chain([first], rest):
            writer.write_frame(frame)
    if process.returncode != 0:  # of which the writer says nothing: the end of the file may be missing
        raise OSError(f"the video could not be written: ffmpeg ended with {process.returncode}; is the disk full?")


def _write_gif(path: Path, first: np.ndarray, rest: Iterable[np.ndarray], fps: float) -> None:
    Image.fromarray(first).save(
        path,
        save_all=True,
        append_images=(Image.fromarray(frame) for frame in rest),
        duration=round(1000 / fps),
        loop=0,
    )
