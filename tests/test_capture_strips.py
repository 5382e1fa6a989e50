"""PNGs that are decoded in strips: what Pillow gives of them whole, and nothing that it refuses."""

import struct
import tracemalloc
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ctxmem_env.captures.strips import decode_reduced
from ctxmem_env.picture import PICTURE_ERRORS, to_rgb

HEIGHT, WIDTH = 203, 301
COLOURS = {"L": 0, "LA": 4, "P": 3, "RGB": 2, "RGBA": 6}


def chunk(name, data=b""):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def filtered(pixels, shift):
    """Scanlines of pixels uint8 (H, W, C), by turns with each of the five filters."""
    lines, padded = [], np.pad(pixels.astype(int), ((1, 0), (1, 0), (0, 0)))
    for y in range(len(pixels)):
        up, corner, left = padded[y, 1:], padded[y, :-1], padded[y + 1, :-1]
        near = np.abs(np.stack([up - corner, left - corner, left + up - 2 * corner])).argmin(0)
        kind = (y + shift) % 5
        guess = (0 * up, left, up, (left + up) // 2, np.choose(near, [left, up, corner]))[kind]
        lines.append(bytes([kind]) + ((padded[y + 1, 1:] - guess) % 256).astype(np.uint8).tobytes())
    return b"".join(lines)


def parts(mode="RGB", shift=0, depth=8, interlace=0, palette=256, lines=None):
    """The chunks of a PNG of WIDTH x HEIGHT pixels of noise, by name in their order; the pixels in two of them."""
    pixels = np.random.default_rng(0).integers(256, size=(HEIGHT, WIDTH, len(mode.strip("P")) or 1), dtype=np.uint8)
    packed = zlib.compress(filtered(pixels, shift) if lines is None else lines)
    found = [(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, COLOURS[mode], 0, 0, interlace))]
    if mode == "P" and palette:
        found.append((b"PLTE", np.random.default_rng(1).bytes(3 * palette)))
    return [*found, (b"IDAT", packed[:5000]), (b"IDAT", packed[5000:]), (b"IEND", b"")]


def png(chunks):
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def whole(data, factor):
    with Image.open(BytesIO(data)) as picture:
        return to_rgb(picture).reduce(factor)


def in_strips(data, factor):
    with Image.open(BytesIO(data)) as picture:
        return decode_reduced(picture, factor)


@pytest.mark.parametrize("mode", COLOURS)
@pytest.mark.parametrize("shift", range(5))
def test_strips_give_the_pixels_of_the_whole_picture_whatever_the_filters(mode, shift):
    data = png(parts(mode, shift))
    for factor in (2, 3, 7, 8):
        assert in_strips(data, factor) == whole(data, factor)


@pytest.mark.parametrize("mode", COLOURS)
@pytest.mark.parametrize("options", [{"compress_level": 0}, {"compress_level": 9}, {"optimize": True}], ids=str)
def test_strips_give_the_pixels_of_the_whole_picture_that_pillow_wrote(mode, options):
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = np.stack([rows * 255 // HEIGHT, columns * 255 // WIDTH, (rows + columns) % 256, rows % 256], axis=-1)
    file = BytesIO()
    Image.fromarray(waves.astype(np.uint8)).convert("RGB" if mode == "P" else mode).convert(mode).save(
        file, "png", **options
    )
    for factor in (2, 5):
        assert in_strips(file.getvalue(), factor) == whole(file.getvalue(), factor)


@pytest.mark.parametrize(("mode", "alpha"), [("L", b"\0\5"), ("RGB", b"\0\1\0\2\0\3"), ("P", b"\xff\0")])
def test_what_is_said_beside_the_pixels_stays_beside(mode, alpha):
    """Transparent colours, a text of that name, and what ImageMagick writes behind the pixels."""
    head, *middle, end = parts(mode)
    at = 1 if mode == "P" else 0
    behind = [(b"tEXt", b"transparency\0today"), (b"tIME", b"\7\xea\1\1\0\0\0"), end]
    data = png([head, *middle[:at], (b"tRNS", alpha), *middle[at:], *behind])
    with Image.open(BytesIO(data)) as picture:
        pixels = Image.frombytes(mode, picture.size, b"".join(b for n, b in middle if n == b"IDAT"), "zip", mode)
        if mode == "P":
            pixels.putpalette(dict(middle)[b"PLTE"])
    assert in_strips(data, 4).tobytes() == whole(data, 4).tobytes() == pixels.convert("RGB").reduce(4).tobytes()


def cut(data, share):
    return data[: int(len(data) * share)]


def test_what_is_not_plain_is_left_to_pillow():
    """Not decoded in strips; and what Pillow then says of it is what it says of a picture that nobody touched."""
    good, lines = parts(), filtered(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 0)
    head, first, second, end = good
    data = png(good)
    packed = zlib.compress(lines)
    animated = BytesIO()
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "green")]
    frames[0].save(animated, "png", save_all=True, append_images=frames[1:])
    texts = PngImagePlugin.PngInfo()
    texts.add_text("interlace", "1")
    odd = {
        "interlaced": png(parts(interlace=1)),
        "16 bits": png(parts(depth=16, lines=b"\0" * HEIGHT * (1 + 6 * WIDTH))),
        "8 bits where 16 were told": png(parts(depth=16)),
        "4 bits": png(parts("L", depth=4, lines=b"\0" * HEIGHT * (1 + (WIDTH + 1) // 2))),
        "no palette": png(parts("P", palette=0)),
        "animated": animated.getvalue(),
        "animated, of one picture": png([head, (b"acTL", struct.pack(">II", 1, 0)), first, second, end]),
        "small": png(
            [(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(252))), end]
        ),
        "cut in the pixels": cut(data, 0.5),
        "cut in the last pixels": data[:-30],
        "no end": data[:-12],
        "half an end": data[:-6],
        "no checksum of the end": data[:-4],
        "another checksum of pixels": data.replace(first[1] + chunk(*first)[-4:], first[1] + b"abcd"),
        "damaged pixels": png([head, first, (b"IDAT", second[1][:999] + b"abcd" + second[1][1003:]), end]),
        "another sum of all pixels": png([head, (b"IDAT", packed[:-4] + b"abcd"), end]),
        "no sum of all pixels": png([head, (b"IDAT", packed[:-4]), end]),
        "a row too few": png(parts(lines=lines[: -1 - 3 * WIDTH])),
        "a row too many": png(parts(lines=lines + lines[: 1 + 3 * WIDTH])),
        "something behind the pixels": png([head, (b"IDAT", packed + b"abcd"), end]),
        "a filter that there is not": png(parts(lines=b"\7" + lines[1:])),
        "a late filter that there is not": png(parts(lines=lines[: -1 - 3 * WIDTH] + b"\7" + bytes(3 * WIDTH))),
        "no pixels": png([head, (b"IDAT", b""), end]),
        "text amid the pixels": png([head, first, (b"tEXt", b"a\0b"), second, end]),
        "much text": png([*good[:-1], (b"tEXt", b"a\0" + bytes(40_000)), end]),
        "text that Pillow refuses": png([*good[:-1], (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 21))), end]),
        "a palette that comes late": png([*good[:-1], (b"PLTE", bytes(9)), end]),
    }
    said = {}
    for name, content in odd.items():
        untouched, told = [], []
        for outcome, tried in ((untouched, False), (told, True)):
            try:
                with Image.open(BytesIO(content)) as picture:
                    place = picture.fp.tell()
                    assert not tried or decode_reduced(picture, 4) is None, name
                    assert picture.fp.tell() == place, name
                    outcome.append(to_rgb(picture).tobytes())
            except PICTURE_ERRORS as error:
                outcome.append(repr(error))
        assert told == untouched, name
        said[name] = untouched[0]
    refused = {name for name, outcome in said.items() if isinstance(outcome, str)}
    assert {"cut in the pixels", "damaged pixels", "no pixels", "text that Pillow refuses"} < refused, refused
    with Image.open(BytesIO(data)) as picture:
        assert decode_reduced(picture, 1) is None


def test_neither_a_length_nor_what_is_packed_says_how_much_memory_is_taken():
    head, first, second, end = parts()
    long = png([head]) + struct.pack(">I", 2**31 - 1) + b"IDAT" + first[1] + second[1]
    bomb = png([head, (b"IDAT", zlib.compress(bytes(100_000_000))), end])
    behind = png([head, (b"IDAT", zlib.compress(b"few") + bytes(2_000_000)), end])
    for data in (long, bomb, behind):
        with Image.open(BytesIO(data)) as picture:
            tracemalloc.start()
            try:
                assert decode_reduced(picture, 4) is None
                assert tracemalloc.get_traced_memory()[1] < 500_000
            finally:
                tracemalloc.stop()
