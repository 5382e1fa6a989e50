"""Picture files, of formats that Pillow reads without another program, and of bounded size."""

import struct
import warnings
from pathlib import Path

from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MAX_PIXELS = 64_000_000
# What Pillow raises for files that are damaged, on opening or on decoding; MemoryError for parts of a length that is
# more than there is memory, IndexError and struct.error for a PNG's chunks behind its pixels that are too short.
PICTURE_ERRORS = (
    OSError, SyntaxError, ValueError, MemoryError, IndexError, struct.error, Image.DecompressionBombError,
    Image.DecompressionBombWarning
)  # fmt: skip


def open_bounded(path: str | Path) -> Image.Image:
    """A picture, not decoded yet; one of `PICTURE_ERRORS` for what is none, or has more than MAX_PIXELS."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        picture = Image.open(path, formats=FORMATS)
    if picture.width * picture.height > MAX_PIXELS:
        picture.close()
        raise ValueError(f"{picture.width} x {picture.height} pixels; expected at most {MAX_PIXELS:,} in all")
    return picture


def to_rgb(picture: Image.Image) -> Image.Image:
    """The same picture, or of another mode a copy, without transparency; one of `PICTURE_ERRORS` if it is damaged."""
    picture.load()
    # Any text of a PNG may have this name, which `convert` then takes for a colour.
    picture.info.pop("transparency", None)
    return picture if picture.mode == "RGB" else picture.convert("RGB")
