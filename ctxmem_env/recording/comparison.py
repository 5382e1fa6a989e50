"""Several worlds on one path, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ctxmem_env.recording.drawing import (
    BACKGROUND,
    GAP,
    GRID,
    LABEL,
    MARGIN,
    MUTED,
    SCALE,
    SURFACE,
    Picture,
    fit,
    font,
    to_picture,
    write_line,
)
from ctxmem_env.recording.map import draw_map
from ctxmem_env.recording.panel import View

_FRAME = 256
_TILES = 4  # in a row of retrieved frames
_FOOT = 180  # height of the map and the chart
_DECIBELS = (10, 50)  # that the chart spans
_COLOURS = ((255, 183, 77), (100, 181, 246), (129, 199, 132), (240, 98, 146), (186, 104, 200), (220, 231, 117))


@dataclass(frozen=True)
class Compared:
    """What one of the worlds shows: its name, its present view, and the PSNR in dB of its frames so far."""

    name: str
    view: View
    likeness: Sequence[float]


def draw_comparison(worlds: Sequence[Compared], true_frame: np.ndarray | None, steps: int) -> Picture:
    """The worlds, each above its retrieved frames, the true scene first where there is one; below, map and PSNR.

    Args:
        worlds: their cameras stand at the same pose, and have the same number of context slots.
        true_frame: uint8 (H, W, 3), or None.
        steps: of the whole walk, the width of the chart.
    """
    tile = (_FRAME - (_TILES - 1) * GAP) // _TILES
    rows = -(-worlds[0].view.num_context // _TILES)
    columns = len(worlds) + (true_frame is not None)
    width = max(columns, 2) * (_FRAME + MARGIN) + MARGIN
    below = MARGIN + LABEL + _FRAME + GAP
    foot = below + rows * (tile + GAP) + GAP
    height = foot + LABEL + _FOOT + MARGIN
    panel = Image.new("RGB", (width + width % 2, height + height % 2), BACKGROUND)
    draw = ImageDraw.Draw(panel)
    left = MARGIN
    if true_frame is not None:
        write_line(draw, left, MARGIN, "true scene", f"step {len(worlds[0].view.poses) - 1}", left + _FRAME)
        panel.paste(fit(true_frame, _FRAME, _FRAME), (left, MARGIN + LABEL))
        draw.text((left + _FRAME, below), "retrieved frames", font=font(12), fill=MUTED, anchor="rt")
        left += _FRAME + MARGIN
    for world, colour in zip(worlds, _colours(len(worlds)), strict=True):
        note = f"{world.likeness[-1]:.1f} dB" if world.likeness else ""
        write_line(draw, left, MARGIN, world.name, note, left + _FRAME)
        panel.paste(fit(world.view.frame, _FRAME, _FRAME), (left, MARGIN + LABEL))
        draw.rectangle((left, MARGIN + LABEL - 3, left + _FRAME - 1, MARGIN + LABEL - 2), fill=colour)
        for slot in range(world.view.num_context):
            at = left + (slot % _TILES) * (tile + GAP), below + (slot // _TILES) * (tile + GAP)
            if slot < len(world.view.context_frames):
                panel.paste(fit(world.view.context_frames[slot], tile, tile), at)
            else:
                draw.rectangle((*at, at[0] + tile - 1, at[1] + tile - 1), fill=SURFACE)
        left += _FRAME + MARGIN
    view = worlds[0].view
    write_line(draw, MARGIN, foot, "map", "", MARGIN + _FOOT)
    path = draw_map(view.poses, view.fov, np.zeros((0, 6)), np.zeros((0, 6)), _FOOT, legend=False)
    panel.paste(path, (MARGIN, foot + LABEL))
    start, end = 2 * MARGIN + _FOOT, width - MARGIN
    if true_frame is not None:
        write_line(draw, start, foot, "PSNR against the true scene", "dB, by step", end)
        panel.paste(_draw_likeness(worlds, steps, end - start), (start, foot + LABEL))
    return to_picture(panel)


def _colours(count: int) -> list[tuple[int, int, int]]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]


def _draw_likeness(worlds: Sequence[Compared], steps: int, width: int) -> Image.Image:
    size, (low, high) = (width * SCALE, _FOOT * SCALE), _DECIBELS
    image = Image.new("RGB", size, SURFACE)
    draw = ImageDraw.Draw(image)

    def height(decibels: float) -> float:
        return size[1] * (1 - (min(max(decibels, low), high) - low) / (high - low))

    for line in range(low + 10, high, 10):
        draw.line((0, height(line), size[0], height(line)), fill=GRID, width=SCALE)
    for world, colour in zip(worlds, _colours(len(worlds)), strict=True):
        # The frame that opened the world was painted by nobody.
        points = [(size[0] * step / max(steps, 1), height(value)) for step, value in enumerate(world.likeness)][1:]
        if len(points) > 1:
            draw.line(points, fill=colour, width=2 * SCALE, joint="curve")
    image = image.reduce(SCALE)
    draw = ImageDraw.Draw(image)
    for line in range(low + 10, high, 10):
        draw.text((6, height(line) / SCALE - 2), f"{line}", font=font(10), fill=MUTED, anchor="ls")
    return image
