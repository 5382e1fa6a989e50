"""PNGs decoded at a reduced size, strip by strip: Pillow decodes a PNG whole, 8 MiB at 1920 x 1080, or not at all.

A strip is a few of the file's filtered rows, which Pillow's own decoder undoes; the row above it goes first, without a
filter, for the others refer to it. Whatever is not plain here is left to Pillow, so that it alone refuses.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image

from ctxmem_env.picture import PICTURE_ERRORS, to_rgb

_MODES = ("L", "LA", "P", "RGB", "RGBA")
_STRIP = 1 << 16  # bytes of a decoded strip, about
_PIECE = 1 << 13  # bytes read from the file at once
# Chunks after the pixels that Pillow accepts whatever they hold, while texts are far from its limit on all of them.
_HARMLESS, _MOST_BESIDE = (b"tEXt", b"tIME"), 1 << 15


def decode_reduced(picture: Image.Image, factor: int) -> Image.Image | None:
    """What `to_rgb` and then `reduce(factor)` give of a picture that is not decoded yet, without decoding it whole.

    None unless it is a PNG larger than a strip, of 8 bits a channel, neither interlaced nor animated, without an error
    in its pixels or in any checksum from there on; the picture can then still be decoded.
    """
    if factor < 2 or not _is_plain(picture):
        return None
    place = picture.fp.tell()
    try:
        return _decode(picture, factor)
    except (*PICTURE_ERRORS, zlib.error):
        picture.fp.seek(place)
        return None


def _is_plain(picture: Image.Image) -> bool:
    width, height = picture.size
    if picture.format != "PNG" or picture.get_format_mimetype() != "image/png" or picture.mode not in _MODES:
        return False
    if 4 * width * height <= _STRIP or picture.info.get("interlace") or len(picture.tile) != 1:
        return False
    _, box, _, raw_mode = picture.tile[0]  # the raw mode is another one at other than 8 bits
    has_palette = picture.palette is not None
    return box == (0, 0, width, height) and raw_mode == picture.mode and has_palette == (picture.mode == "P")


def _decode(picture: Image.Image, factor: int) -> Image.Image:
    width, height = picture.size
    row = 1 + len(picture.getbands()) * width
    count = max(1, _STRIP // (4 * width * factor)) * factor
    small = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    pixels, above = _Pixels(picture.fp, picture.tile[0][2]), b""
    for top in range(0, height, count):
        before, here = len(above) // row, min(count, height - top)
        store = zlib.compressobj(0, wbits=9, memLevel=1)  # by default it takes 256 KiB
        packed = b"".join(map(store.compress, (above, *pixels.read(row * here)))) + store.flush()
        strip = Image.frombytes(picture.mode, (width, before + here), packed, "zip", picture.mode)
        above = b"\0" + strip.crop((0, before + here - 1, width, before + here)).tobytes()
        if picture.palette is not None:
            strip.putpalette(picture.palette)
        small.paste(to_rgb(strip).reduce(factor, (0, before, width, before + here)), (0, top // factor))
    pixels.check_end()
    return small


class _Pixels:
    """Unpacks the IDAT chunks of a file, of which the first one's content begins at `start`."""

    def __init__(self, file: BinaryIO, start: int):
        self._pieces, self._packed, self._unpack = _pieces(file, start), b"", zlib.decompressobj()

    def read(self, count: int) -> Iterator[bytes]:
        """The next `count` bytes, in parts; ValueError if there are fewer."""
        while count:
            # Without input, it still gives what was held back for want of room.
            self._packed = self._packed or next(self._pieces, b"")
            part = self._unpack.decompress(self._packed, min(count, _PIECE))
            if not part and (self._unpack.eof or not self._packed):
                raise ValueError("pixels are missing")
            self._packed = self._unpack.unconsumed_tail
            count -= len(part)
            yield part

    def check_end(self) -> None:
        """ValueError unless the pixels end here, and the file as it should."""
        for piece in (self._packed, *self._pieces):
            if self._unpack.decompress(piece, 1) or self._unpack.unused_data:
                raise ValueError("more than the picture has")
        if not self._unpack.eof:
            raise ValueError("pixels that do not end")


def _pieces(file: BinaryIO, start: int) -> Iterator[bytes]:
    """What IDAT chunks hold, piece by piece; ValueError or struct.error unless they and the file end as they should."""
    file.seek(start - 8)
    name, beside, pixels = b"IDAT", start, True
    while name != b"IEND":
        length, name = struct.unpack(">I4s", file.read(8))
        pixels = pixels and name == b"IDAT"
        beside += 0 if pixels else length
        if not (pixels or name == b"IEND" or (name in _HARMLESS and beside <= _MOST_BESIDE)):
            raise ValueError("a chunk that Pillow is to judge")
        check = zlib.crc32(name)
        while length:
            piece = file.read(min(length, _PIECE))
            if not piece:
                raise ValueError("a chunk that is cut off")
            check, length = zlib.crc32(piece, check), length - len(piece)
            if pixels:
                yield piece
        if struct.unpack(">I", file.read(4))[0] != check:
            raise ValueError("a chunk with another checksum")
