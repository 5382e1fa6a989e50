"""One picture of what an agent saw, and of what that was made from."""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from ctxmem_env.recording.drawing import (
    BACKGROUND,
    CONTEXT,
    GAP,
    LABEL,
    MARGIN,
    MUTED,
    SURFACE,
    TEXT,
    Picture,
    fit,
    font,
    to_picture,
    write_line,
)
from ctxmem_env.recording.map import draw_map
from ctxmem_env.recording.strip import KEYS_WIDTH, STRIP_HEIGHT, draw_keys, draw_rewards

_FRAME = 384
_TILES = 8  # in a row of retrieved frames


def _none() -> np.ndarray:
    return np.zeros((0, 6))


@dataclass(frozen=True)
class View:
    """What a panel shows of one step.

    frame uint8 (H, W, 3); poses (T, 6) of the path so far, the present one last; fov in degrees; num_context
    slots, and of the n <= num_context frames in them context_frames uint8 (n, H, W, 3), context_poses (n, 6),
    overlap (n,) in [0, 1] and numbers (n,), as `info["retrieved"]` has them.

    Not every picture has what follows: remembered (m, 6), poses of all frames in memory; rewards, those of the steps so
    far, None for no curve; motion, of the last action, (4,), ahead, left, left turn, up, of which the signs are shown;
    true_frame, as `frame`, and its PSNR in dB.
    """

    frame: np.ndarray
    poses: np.ndarray
    fov: float
    num_context: int
    context_frames: np.ndarray
    context_poses: np.ndarray
    overlap: np.ndarray
    numbers: np.ndarray | None = None
    remembered: np.ndarray = field(default_factory=_none)
    rewards: list[float] | None = None
    motion: np.ndarray | None = None
    true_frame: np.ndarray | None = None
    psnr: float | None = None


def draw_panel(view: View) -> Picture:
    """A `View` as one picture, uint8 (height, width, 3), sizes even for video codecs.

    The size is the same for every step of a world: it depends on the number of context slots, and on whether there are
    a true frame and rewards.
    """
    columns = 2 if view.true_frame is None else 3
    width = columns * (_FRAME + MARGIN) + MARGIN
    tile = (width - 2 * MARGIN - (_TILES - 1) * GAP) // _TILES
    rows = -(-view.num_context // _TILES)
    strip_top = MARGIN + LABEL + _FRAME + MARGIN
    last_top = strip_top + LABEL + rows * (tile + LABEL) + GAP
    height = last_top + (0 if view.rewards is None else LABEL + STRIP_HEIGHT + MARGIN)
    panel = Image.new("RGB", (width, height + height % 2), BACKGROUND)
    draw = ImageDraw.Draw(panel)
    _draw_top(panel, draw, view)
    note = "number of the frame, and share of the new view that it covers"
    write_line(draw, MARGIN, strip_top, "retrieved frames", note, width - MARGIN)
    for slot in range(view.num_context):
        left = MARGIN + (slot % _TILES) * (tile + GAP)
        above = strip_top + LABEL + (slot // _TILES) * (tile + LABEL)
        _draw_tile(panel, draw, view, slot, left, above, tile)
    if view.rewards is not None:
        write_line(draw, MARGIN, last_top, "action", "", MARGIN + KEYS_WIDTH)
        panel.paste(draw_keys(view.motion), (MARGIN, last_top + LABEL))
        left, right = 2 * MARGIN + KEYS_WIDTH, width - MARGIN
        last = f"last {view.rewards[-1]:+.2f}   " if view.rewards else ""
        write_line(draw, left, last_top, "sum of rewards", f"{last}sum {sum(view.rewards):+.2f}", right)
        panel.paste(draw_rewards(view.rewards, right - left), (left, last_top + LABEL))
    return to_picture(panel)


def _draw_top(panel: Image.Image, draw: ImageDraw.ImageDraw, view: View) -> None:
    """The frame, the true one where there is one, and the map."""
    top, left = MARGIN + LABEL, MARGIN
    x, y, _, yaw, pitch, _ = view.poses[-1]
    write_line(draw, left, MARGIN, "view", f"step {len(view.poses) - 1}", left + _FRAME)
    panel.paste(fit(view.frame, _FRAME, _FRAME), (left, top))
    left += _FRAME + MARGIN
    if view.true_frame is not None:
        likeness = "" if view.psnr is None else f"PSNR of the view {view.psnr:.1f} dB"
        write_line(draw, left, MARGIN, "true scene", likeness, left + _FRAME)
        panel.paste(fit(view.true_frame, _FRAME, _FRAME), (left, top))
        left += _FRAME + MARGIN
    where = f"x {x:+.1f} m   y {y:+.1f} m   yaw {np.degrees(yaw):+.0f}°   pitch {np.degrees(pitch):+.0f}°"
    write_line(draw, left, MARGIN, "map", where, left + _FRAME)
    panel.paste(draw_map(view.poses, view.fov, view.context_poses, view.remembered, _FRAME), (left, top))


def _draw_tile(
    panel: Image.Image, draw: ImageDraw.ImageDraw, view: View, slot: int, left: int, top: int, tile: int
) -> None:
    if slot >= len(view.context_frames):
        draw.rectangle((left, top, left + tile - 1, top + tile - 1), fill=SURFACE)
        return
    panel.paste(fit(view.context_frames[slot], tile, tile), (left, top))
    share, middle = float(view.overlap[slot]), top + tile + LABEL / 2 + 1
    draw.rectangle((left, top + tile, left + round(share * (tile - 1)), top + tile + 1), fill=CONTEXT)
    draw.text((left + tile, middle), f"{100 * share:.0f} %", font=font(12), fill=TEXT, anchor="rm")
    if view.numbers is not None:
        draw.text((left, middle), f"#{view.numbers[slot]}", font=font(12), fill=MUTED, anchor="lm")
