"""The last line of a panel: the keys of an action and the curve of rewards."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ctxmem_env.recording.drawing import BACKGROUND, CAMERA, GRID, MUTED, SCALE, SURFACE, TEXT, font

_CAP, _SPACE, _BETWEEN = 36, 6, 22  # pixels: a key, the space between two, and between the blocks
_NUMBERS = 44  # pixels that the ends of the scale take
STRIP_HEIGHT = 2 * _CAP + _SPACE
KEYS_WIDTH = 6 * _CAP + 4 * _SPACE + _BETWEEN
# Each key: column and row, its name, and the component and sign of the motion that it stands for.
_KEYS = (
    (1, 0, "W", 0, 1),
    (0, 1, "A", 1, 1),
    (1, 1, "S", 0, -1),
    (2, 1, "D", 1, -1),
    (4, 0, "up", 3, 1),
    (3, 1, "left", 2, 1),
    (4, 1, "down", 3, -1),
    (5, 1, "right", 2, -1),
)
_ARROWS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}


def draw_keys(motion: np.ndarray | None) -> Image.Image:
    """Keys that stand for the last action: WASD move, the arrows turn and look; those that are held are bright."""
    image = Image.new("RGB", (KEYS_WIDTH * SCALE, STRIP_HEIGHT * SCALE), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for column, row, name, component, sign in _KEYS:
        left = (column * (_CAP + _SPACE) + (_BETWEEN - _SPACE if column > 2 else 0)) * SCALE
        top = row * (_CAP + _SPACE) * SCALE
        held = motion is not None and motion[component] * sign > 1e-6
        box = (left, top, left + _CAP * SCALE - 1, top + _CAP * SCALE - 1)
        draw.rounded_rectangle(box, 6 * SCALE, fill=CAMERA if held else SURFACE)
        middle = left + _CAP * SCALE / 2, top + _CAP * SCALE / 2
        colour = BACKGROUND if held else MUTED
        if name in _ARROWS:
            draw.polygon(_arrow(middle, *_ARROWS[name]), fill=colour)
        else:
            draw.text(middle, name, font=font(14 * SCALE), fill=colour, anchor="mm")
    return image.reduce(SCALE)


def _arrow(middle: tuple[float, float], right: int, down: int) -> list[tuple[float, float]]:
    size = 6 * SCALE
    tip = middle[0] + right * size, middle[1] + down * size
    back = middle[0] - right * 0.7 * size, middle[1] - down * 0.7 * size
    return [tip, (back[0] + down * size, back[1] + right * size), (back[0] - down * size, back[1] - right * size)]


def draw_rewards(rewards: Sequence[float], width: int) -> Image.Image:
    """The sum of rewards against the steps, from 0."""
    size = width * SCALE, STRIP_HEIGHT * SCALE
    image = Image.new("RGB", size, SURFACE)
    draw = ImageDraw.Draw(image)
    sums = np.concatenate([[0.0], np.cumsum(rewards)])
    low, high = min(sums.min(), 0.0), max(sums.max(), 0.0)
    pad = 10 * SCALE
    room = size[1] - 2 * pad
    reach = max(high - low, 1e-9)
    zero = size[1] - pad - room * ((0 - low) / reach if high > low else 0)
    draw.line((0, zero, size[0], zero), fill=GRID, width=SCALE)
    if len(sums) > 1 and high > low:
        x = np.linspace(_NUMBERS * SCALE, size[0] - pad, len(sums))
        y = size[1] - pad - room * (sums - low) / reach
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=CAMERA, width=2 * SCALE, joint="curve")
    image = image.reduce(SCALE)
    if high > low:
        draw = ImageDraw.Draw(image)
        for value, anchor, at in ((high, "lt", 4), (low, "ls", STRIP_HEIGHT - 4)):
            draw.text((6, at), f"{value:g}" if value == 0 else f"{value:.2f}", font=font(10), fill=TEXT, anchor=anchor)
    return image
