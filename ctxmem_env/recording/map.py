"""A walk from above."""

import numpy as np
from PIL import Image, ImageDraw

from ctxmem_env.recording.drawing import (
    CAMERA,
    CONTEXT,
    GRID,
    MUTED,
    PATH,
    REMEMBERED,
    SCALE,
    SURFACE,
    blend,
    dot,
    font,
)

_SECTOR = 2.5  # metres to which the view sector is drawn
_MOST = 512  # remembered cameras that are drawn


def draw_map(
    poses: np.ndarray, fov: float, context: np.ndarray, remembered: np.ndarray, size: int, legend: bool = True
) -> Image.Image:
    """The path, north up, the view sector at its end, the cameras of the context and all that are remembered.

    Args:
        poses: (T, 6) of the path, the present one last.
        fov: degrees.
        context: (n, 6), poses of the retrieved frames.
        remembered: (m, 6), poses of all frames in memory.
        size: of a side, in pixels.
        legend: whether colours are explained.
    """
    side = size * SCALE
    image = Image.new("RGB", (side, side), SURFACE)
    draw = ImageDraw.Draw(image)
    # The path alone sets the section, so that the map does not jump when the camera turns.
    low, high = poses[:, :2].min(axis=0), poses[:, :2].max(axis=0)
    radius = 0.5 * float((high - low).max()) + _SECTOR + 0.5
    scale, centre = side / (2 * radius), (low + high) / 2

    def place(points: np.ndarray) -> list[tuple[float, float]]:
        offset = (np.asarray(points, dtype=float) - centre) * scale
        return [(side / 2 + dx, side / 2 - dy) for dx, dy in offset.reshape(-1, 2)]

    spacing = _draw_grid(draw, centre, radius, side)
    for pose in remembered[np.linspace(0, len(remembered) - 1, min(len(remembered), _MOST)).astype(int)]:
        _draw_camera(draw, place, pose, min(fov, 50.0), 0.07 * radius, REMEMBERED)
    here = poses[-1]
    draw.polygon(place(_sector(here, fov, _SECTOR)), fill=blend(CAMERA, SURFACE, 0.3), outline=CAMERA)
    if len(poses) > 1:
        draw.line(place(poses[:, :2]), fill=PATH, width=2 * SCALE, joint="curve")
    for pose in context:
        _draw_camera(draw, place, pose, min(fov, 60.0), 0.12 * radius, CONTEXT)
        dot(draw, place(pose[:2])[0], 3 * SCALE, CONTEXT)
    dot(draw, place(here[:2])[0], 5 * SCALE, CAMERA)
    image = image.reduce(SCALE)
    draw = ImageDraw.Draw(image)
    draw.text((10, size - 10), f"grid {spacing:g} m", font=font(12), fill=MUTED, anchor="ls")
    if legend:
        _draw_legend(draw, size, bool(len(remembered)))
    return image


def _draw_grid(draw: ImageDraw.ImageDraw, centre: np.ndarray, radius: float, side: int) -> float:
    """Lines, and the metres between them."""
    spacing, scale = _grid_spacing(radius), side / (2 * radius)
    for axis in range(2):
        first = np.ceil((centre[axis] - radius) / spacing) * spacing
        for value in np.arange(first, centre[axis] + radius, spacing):
            at = (value - centre[axis]) * scale
            across = (side / 2 + at, 0, side / 2 + at, side)
            along = (0, side / 2 - at, side, side / 2 - at)
            draw.line(along if axis else across, fill=GRID, width=SCALE)
    return spacing


def _draw_legend(draw: ImageDraw.ImageDraw, size: int, with_remembered: bool) -> None:
    names = [("retrieved", CONTEXT)] + ([("remembered", REMEMBERED)] if with_remembered else [])
    right = size - 10
    for name, colour in names:
        draw.text((right, size - 10), name, font=font(12), fill=MUTED, anchor="rs")
        right -= draw.textlength(name, font=font(12)) + 8
        dot(draw, (right, size - 14), 3, colour)
        right -= 14


def _draw_camera(draw: ImageDraw.ImageDraw, place, pose: np.ndarray, angle: float, reach: float, colour: tuple) -> None:
    tip = place(_sector(pose, angle, reach))
    draw.line([tip[-1], tip[0], tip[1]], fill=colour, width=SCALE)


def _sector(pose: np.ndarray, fov: float, reach: float) -> np.ndarray:
    """Corner points (n, 2) of a view sector in the ground plane, its apex first."""
    angles = pose[3] + np.radians(np.linspace(-fov / 2, fov / 2, 25))
    arc = pose[:2] + reach * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.concatenate([pose[None, :2], arc])


def _grid_spacing(radius: float) -> float:
    """1, 2 or 5 times a power of ten, in metres, so that about ten lines are seen."""
    power = 10.0 ** np.floor(np.log10(radius / 5))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power * 5 >= radius))
