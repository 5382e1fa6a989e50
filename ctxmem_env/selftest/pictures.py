"""Pictures for the fuzzer: photographs, and what decodes the PNGs of captures in strips."""

import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from ctxmem_env.selftest.mutate import SEPARATOR
from ctxmem_env.selftest.target import Target

_PNG = b"\x89PNG\r\n\x1a\n"


def picture(folder: Path) -> Target:
    """Photographs, and pictures of captures: as bytes, and PNGs in parts, whose checksums are made right."""
    from ctxmem_env.captures.strips import decode_reduced
    from ctxmem_env.photograph import open_image, views
    from ctxmem_env.picture import PICTURE_ERRORS, open_bounded, to_rgb

    rng = np.random.default_rng(0)
    shapes = (np.uint8, (20, 30, 3)), (np.uint8, (8, 8, 4)), (np.uint8, (8, 8)), (np.uint16, (8, 8))
    pictures = [Image.fromarray(rng.integers(0, 255, shape).astype(dtype)) for dtype, shape in shapes]
    seeds = []
    for kind, suffix in (
        (0, "png"),
        (0, "jpg"),
        (0, "webp"),
        (0, "bmp"),
        (1, "png"),
        (2, "jpg"),
        (3, "png"),
        (0, "gif"),
    ):
        pictures[kind].save(folder / f"seed.{suffix}")
        seeds.append((folder / f"seed.{suffix}").read_bytes())
    # Large enough to be decoded in strips.
    rows = np.arange(140, dtype=np.uint8)[:, None, None]
    Image.fromarray(np.broadcast_to(rows, (140, 150, 3)).copy()).save(folder / "large.png")
    seeds.append(SEPARATOR.join(split_png((folder / "large.png").read_bytes())))
    turned = pictures[0].getexif()
    turned[0x0112] = 6
    pictures[0].save(folder / "seed.jpg", exif=turned)
    path = folder / "picture"

    def decode_in_strips() -> None:
        try:
            with open_bounded(path) as picture:
                small = decode_reduced(picture, 4)
        except PICTURE_ERRORS:
            return
        if small is not None:
            try:
                with open_bounded(path) as picture:
                    whole = to_rgb(picture).reduce(4)
            except PICTURE_ERRORS as error:
                raise AssertionError("decoded in strips, and refused") from error
            assert small.tobytes() == whole.tobytes(), "strips unlike the picture"

    def run(data: bytes) -> None:
        path.write_bytes(join_png(data.split(SEPARATOR)))
        decode_in_strips()
        views(open_image(path), 16, 16, 90.0)

    return Target([*seeds, (folder / "seed.jpg").read_bytes()], run)


def split_png(png: bytes) -> tuple[bytes, bytes, bytes]:
    """What comes before the pixels of a PNG, which are one chunk, the unpacked pixels, and what comes after them."""
    at = png.index(b"IDAT") - 4
    end = at + 12 + int.from_bytes(png[at : at + 4], "big")
    return png[:at], zlib.decompress(png[at + 8 : end - 4]), png[end:]


def join_png(parts: list[bytes]) -> bytes:
    """The PNG of three parts, each of its chunks with the checksum of what it holds; of one part, that part."""
    if len(parts) < 2:
        return parts[0]
    packed = zlib.compress(parts[1], 1)
    png = b"".join([parts[0], len(packed).to_bytes(4, "big"), b"IDAT", packed, bytes(4), *parts[2:]])
    made, at = [png[: len(_PNG)]], len(_PNG)
    while len(png) - at >= 12 and (length := int.from_bytes(png[at : at + 4], "big")) <= len(png) - at - 12:
        chunk = png[at + 4 : at + 8 + length]
        made += [png[at : at + 4], chunk, zlib.crc32(chunk).to_bytes(4, "big")]
        at += 12 + length
    return b"".join([*made, png[at:]])
