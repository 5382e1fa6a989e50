"""Pictures that come from visitors, and those that go to them."""

import io
import struct

import numpy as np
from PIL import Image, UnidentifiedImageError

from ctxmem_env.viewer.limits import PICTURE_PIXELS

FORMATS = ("PNG", "JPEG", "WEBP")
_LARGEST = 1024  # pixels of the longer side; frames are far smaller
_TOO_LARGE = f"the picture has more than {PICTURE_PIXELS // 1_000_000} million pixels; make it smaller."
_FADE = 4.0  # metres over which the picture of depth falls to 1 / e


def read_photograph(data: bytes) -> Image.Image:
    """An uploaded picture, made smaller if it is large; ValueError for what is none, or too large to be unpacked."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if picture.width * picture.height > PICTURE_PIXELS:
                raise ValueError(_TOO_LARGE)
            picture.draft("RGB", (_LARGEST, _LARGEST))  # a JPEG is unpacked at an eighth of its size, if that is enough
            picture.load()
            picture.thumbnail((_LARGEST, _LARGEST))
            return picture.copy()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(_TOO_LARGE) from error
    except (UnidentifiedImageError, OSError, SyntaxError, MemoryError, EOFError, IndexError, struct.error) as error:
        kinds = ", ".join(FORMATS)
        raise ValueError(f"the file is not a picture that can be read; expected one of {kinds}.") from error


def png(frame: np.ndarray) -> bytes:
    """uint8 (H, W, 3) or (H, W), lossless."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def from_png(data: bytes) -> np.ndarray:
    """What `png` was given."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.array(picture)


def jpeg(frame: np.ndarray) -> bytes:
    """uint8 (H, W, 3), nearly as it is."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def depth_png(depth: np.ndarray) -> bytes:
    """Depth (H, W) in metres as grey exp(-depth / 4 m), near bright."""
    return png((255 * np.exp(-depth / _FADE)).round().astype(np.uint8))


def enlarge(frame: np.ndarray, side: int) -> np.ndarray:
    """The frame several times as large, its longer side at most `side` pixels, with smooth edges."""
    scale = max(1, side // max(frame.shape[:2]))
    size = frame.shape[1] * scale, frame.shape[0] * scale
    return np.array(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))
