"""Panels, windows and videos: what a person sees of an episode."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from gymnasium.error import DependencyNotInstalled
from PIL import Image, ImageDraw, ImageFont

_SCALE = 2  # lines and the map are drawn at twice their size and shrunk, which smooths them
_FRAME = 384
_MARGIN = 16
_GAP = 8
_LABEL = 18
_TILES = 8  # in a row of the strip
_SECTOR = 2.5  # metres to which the map draws the view sector

_BACKGROUND = (22, 23, 26)
_SURFACE = (32, 34, 38)
_GRID = (46, 48, 54)
_TEXT = (226, 228, 232)
_MUTED = (140, 144, 152)
_PATH = (118, 124, 134)
_CAMERA = (255, 183, 77)
_CONTEXT = (100, 181, 246)


@dataclass(frozen=True)
class View:
    """What a panel shows of one step.

    frame uint8 (H, W, 3); poses (T, 6) of the path so far, the present one last; fov in degrees; num_context
    slots, and of the n <= num_context frames in them context_frames uint8 (n, H, W, 3), context_poses (n, 6)
    and overlap (n,) in [0, 1].
    """

    frame: np.ndarray
    poses: np.ndarray
    fov: float
    num_context: int
    context_frames: np.ndarray
    context_poses: np.ndarray
    overlap: np.ndarray


def draw_panel(view: View) -> np.ndarray:
    """The frame, the map and the retrieved frames, uint8 (height, width, 3), sizes even for video codecs.

    The size is the same for every step of a world: it depends on the number of context slots alone.
    """
    width = 2 * _FRAME + 3 * _MARGIN
    tile = (width - 2 * _MARGIN - (_TILES - 1) * _GAP) // _TILES
    rows = -(-view.num_context // _TILES)
    top = _MARGIN + _LABEL
    strip_top = top + _FRAME + _MARGIN
    height = strip_top + _LABEL + rows * (tile + _LABEL) + _MARGIN - _GAP
    panel = Image.new("RGB", (width, height + height % 2), _BACKGROUND)
    draw = ImageDraw.Draw(panel)
    step = len(view.poses) - 1
    x, y, _, yaw, pitch, _ = view.poses[-1]
    right = 2 * _MARGIN + _FRAME

    _text(draw, _MARGIN, _MARGIN, "view", f"step {step}", _MARGIN + _FRAME)
    panel.paste(_fit(view.frame, _FRAME, _FRAME), (_MARGIN, top))
    where = f"x {x:+.1f} m   y {y:+.1f} m   yaw {np.degrees(yaw):+.0f}°   pitch {np.degrees(pitch):+.0f}°"
    _text(draw, right, _MARGIN, "map", where, right + _FRAME)
    panel.paste(_draw_map(view, _FRAME), (right, top))

    _text(
        draw,
        _MARGIN,
        strip_top,
        "retrieved frames",
        "share of the new view that each covers",
        width - _MARGIN,
    )
    for i in range(view.num_context):
        left = _MARGIN + (i % _TILES) * (tile + _GAP)
        above = strip_top + _LABEL + (i // _TILES) * (tile + _LABEL)
        if i >= len(view.context_frames):
            draw.rectangle((left, above, left + tile - 1, above + tile - 1), fill=_SURFACE)
            continue
        panel.paste(_fit(view.context_frames[i], tile, tile), (left, above))
        draw.text(
            (left + tile / 2, above + tile + _LABEL / 2),
            f"{100 * view.overlap[i]:.0f} %",
            font=_font(12),
            fill=_TEXT,
            anchor="mm",
        )
    return np.array(panel)


def _draw_map(view: View, size: int) -> Image.Image:
    """The path from above, north up, and the cameras of the context."""
    side = size * _SCALE
    image = Image.new("RGB", (side, side), _SURFACE)
    draw = ImageDraw.Draw(image)
    # The path alone sets the section, so that the map does not jump when the camera turns.
    low, high = view.poses[:, :2].min(axis=0), view.poses[:, :2].max(axis=0)
    radius = 0.5 * float((high - low).max()) + _SECTOR + 0.5
    scale = side / (2 * radius)
    centre = (low + high) / 2

    def place(points: np.ndarray) -> list[tuple[float, float]]:
        offset = (np.asarray(points, dtype=float) - centre) * scale
        return [(side / 2 + dx, side / 2 - dy) for dx, dy in offset.reshape(-1, 2)]

    spacing = _grid_spacing(radius)
    for axis in range(2):
        first = np.ceil((centre[axis] - radius) / spacing) * spacing
        for value in np.arange(first, centre[axis] + radius, spacing):
            at = (value - centre[axis]) * scale
            line = (
                [(side / 2 + at, 0), (side / 2 + at, side)]
                if axis == 0
                else [(0, side / 2 - at), (side, side / 2 - at)]
            )
            draw.line(line, fill=_GRID, width=_SCALE)
    here = view.poses[-1]
    draw.polygon(place(_sector(here, view.fov, _SECTOR)), fill=_blend(_CAMERA, _SURFACE, 0.3), outline=_CAMERA)
    if len(view.poses) > 1:
        draw.line(place(view.poses[:, :2]), fill=_PATH, width=2 * _SCALE, joint="curve")
    for pose in view.context_poses:
        tip = place(_sector(pose, min(view.fov, 60.0), 0.12 * radius))
        draw.line([tip[-1], tip[0], tip[1]], fill=_CONTEXT, width=_SCALE)
        _dot(draw, tip[0], 3 * _SCALE, _CONTEXT)
    _dot(draw, place(here[:2])[0], 5 * _SCALE, _CAMERA)
    image = image.resize((size, size), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(image)
    draw.text((10, size - 10), f"grid {spacing:g} m", font=_font(12), fill=_MUTED, anchor="ls")
    return image


def _sector(pose: np.ndarray, fov: float, reach: float) -> np.ndarray:
    """Corner points (n, 2) of a view sector in the ground plane, its apex first."""
    angles = pose[3] + np.radians(np.linspace(-fov / 2, fov / 2, 25))
    arc = pose[:2] + reach * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.concatenate([pose[None, :2], arc])


def _grid_spacing(radius: float) -> float:
    """1, 2 or 5 times a power of ten, in metres, so that about ten lines are seen."""
    power = 10.0 ** np.floor(np.log10(radius / 5))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power * 5 >= radius))


def _fit(frame: np.ndarray, width: int, height: int) -> Image.Image:
    """The frame scaled into a box, on the surface colour where its shape differs."""
    scale = min(width / frame.shape[1], height / frame.shape[0])
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    box = Image.new("RGB", (width, height), _SURFACE)
    picture = Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)
    box.paste(picture, ((width - size[0]) // 2, (height - size[1]) // 2))
    return box


def _text(draw: ImageDraw.ImageDraw, left: int, top: int, title: str, note: str, right: int) -> None:
    baseline = top + _LABEL - 7
    draw.text((left, baseline), title, font=_font(13), fill=_TEXT, anchor="ls")
    draw.text((right, baseline), note, font=_font(12), fill=_MUTED, anchor="rs")


def _font(size: int) -> ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _dot(draw: ImageDraw.ImageDraw, at: tuple[float, float], radius: float, colour: tuple) -> None:
    draw.ellipse((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), fill=colour)


def _blend(colour: tuple, under: tuple, share: float) -> tuple[int, ...]:
    return tuple(round(share * a + (1 - share) * b) for a, b in zip(colour, under, strict=True))


class Window:
    """A window that shows pictures; it opens with the first one. Needs pygame (pygame-ce)."""

    def __init__(self):
        self._screen = None
        self._clock = None

    def show(self, picture: np.ndarray, fps: float) -> None:
        """Shows uint8 (height, width, 3), and waits so that calls in a row come no faster than `fps`."""
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ImportError as error:
            raise DependencyNotInstalled("render_mode='human' needs pygame; run `pip install pygame-ce`.") from error
        size = picture.shape[1], picture.shape[0]
        if self._screen is None or self._screen.get_size() != size:
            pygame.display.init()
            pygame.display.set_caption("ctxmem_env")
            self._screen = pygame.display.set_mode(size)
            self._clock = pygame.time.Clock()
        self._screen.blit(pygame.image.frombuffer(np.ascontiguousarray(picture), size, "RGB"), (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(fps)

    def close(self) -> None:
        """Closes the window, if it is open."""
        if self._screen is not None:
            import pygame

            pygame.display.quit()
            self._screen = self._clock = None

    def __getstate__(self) -> dict:
        return {}

    def __setstate__(self, state: dict) -> None:
        self.__init__()


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float = 12) -> Path:
    """Writes pictures uint8 (height, width, 3) as .mp4 (H.264, yuv420p) or .gif, and returns the path.

    `frames` may be a generator: one picture at a time is held. Odd sizes get one more row or column. Missing
    folders are made. The file appears under its name when it is complete; a failure leaves what was there
    before.

    Raises:
        ValueError: another suffix, fps not above 0, no pictures, or a picture of another type or shape.
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
        for frame in chain([first], rest):
            writer.write_frame(frame)


def _write_gif(path: Path, first: np.ndarray, rest: Iterable[np.ndarray], fps: float) -> None:
    Image.fromarray(first).save(
        path,
        save_all=True,
        append_images=(Image.fromarray(frame) for frame in rest),
        duration=round(1000 / fps),
        loop=0,
    )
