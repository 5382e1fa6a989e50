"""Colours, fonts and shapes that the pictures share."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SCALE = 2  # lines and maps are drawn at twice their size and shrunk, which smooths them
MARGIN = 16  # pixels, as all below
GAP = 8
LABEL = 18  # height of a line of text

BACKGROUND = (22, 23, 26)
SURFACE = (32, 34, 38)
GRID = (46, 48, 54)
TEXT = (226, 228, 232)
MUTED = (140, 144, 152)
PATH = (118, 124, 134)
REMEMBERED = (84, 88, 97)
CAMERA = (255, 183, 77)
CONTEXT = (100, 181, 246)


class Picture(np.ndarray):
    """An array uint8 (height, width, 3) that a notebook shows as the picture that it is; otherwise any other array."""

    def _repr_png_(self) -> bytes | None:
        if self.dtype != np.uint8 or self.ndim != 3 or self.shape[-1] != 3 or 0 in self.shape:
            return None
        file = io.BytesIO()
        Image.fromarray(np.asarray(self)).save(file, "png")
        return file.getvalue()


def to_picture(image: Image.Image) -> Picture:
    return np.array(image).view(Picture)


def fit(frame: np.ndarray, width: int, height: int) -> Image.Image:
    """The frame scaled into a box, on the surface colour where its shape differs."""
    scale = min(width / frame.shape[1], height / frame.shape[0])
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    box = Image.new("RGB", (width, height), SURFACE)
    picture = Image.fromarray(np.asarray(frame)).resize(size, Image.Resampling.BICUBIC)
    box.paste(picture, ((width - size[0]) // 2, (height - size[1]) // 2))
    return box


def write_line(draw: ImageDraw.ImageDraw, left: int, top: int, title: str, note: str, right: int) -> None:
    """A title on the left of a line and a note on its right."""
    baseline = top + LABEL - 7
    draw.text((left, baseline), title, font=font(13), fill=TEXT, anchor="ls")
    draw.text((right, baseline), note, font=font(12), fill=MUTED, anchor="rs")


def font(size: int) -> ImageFont.ImageFont:
    return ImageFont.load_default(size)


def dot(draw: ImageDraw.ImageDraw, at: tuple[float, float], radius: float, colour: tuple) -> None:
    draw.ellipse((at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), fill=colour)


def blend(colour: tuple, under: tuple, share: float) -> tuple[int, ...]:
    return tuple(round(share * a + (1 - share) * b) for a, b in zip(colour, under, strict=True))
