"""What reading a capture takes: pictures of many pixels are not all in memory, and seldom whole."""

import json
import subprocess
import sys

import numpy as np
import pytest
from capture_folders import path, views
from PIL import Image

from ctxmem_env.captures import Lens
from ctxmem_env.captures.capture import Shot, open_picture
from ctxmem_env.captures.frames import view_frames
from ctxmem_env.captures.write import write_nerfstudio

COUNT = 50
HEIGHT, WIDTH = 1080, 1920
WHOLE = 4 * HEIGHT * WIDTH  # bytes of one decoded picture

# Reading in a process of its own, whose peak begins anew (Linux) after a smaller capture has brought in the code.
_READ = """
import sys
from ctxmem_env.captures import open_capture, remember

def kibibytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

few, many, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
remember(open_capture(few), None, None, None, 8, 8)
open("/proc/self/clear_refs", "w").write("5")
before = kibibytes("VmRSS")
read = remember(open_capture(many), None, None, None, size, size)
print(1024 * (kibibytes("VmHWM") - before), read.frames.nbytes, len(read.frames))
"""


def waves(height, width, period=97.0):
    """A picture that tells, to a fraction of a pixel, where in it one is."""
    rows, columns = np.mgrid[0:height, 0:width] * 2 * np.pi / period
    return np.stack([np.sin(columns), np.sin(rows), np.sin(rows + columns)], axis=-1)


def capture(folder, picture, count, file):
    """A capture all of whose frames are one picture."""
    write_nerfstudio(folder, views([picture]), path(1), 70.0)
    Image.fromarray(picture).save(folder / "images" / file, quality=90)
    content = json.loads((folder / "transforms.json").read_text())
    del content["frames"][0]["depth_file_path"]
    content["frames"] = count * [content["frames"][0] | {"file_path": f"images/{file}"}]
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "size", "beside"),
    [(f"a.{suffix}", size, 0) for suffix in ("jpg", "png") for size in (64, 128, 512)] + [("a.bmp", 64, WHOLE)],
)
def test_reading_takes_twice_the_frames_and_of_what_is_decoded_whole_one_picture_beside(tmp_path, file, size, beside):
    picture = (128 + 100 * waves(HEIGHT, WIDTH)).astype(np.uint8)
    few = capture(tmp_path / "few", picture[:128, :160], 2, file)
    many = capture(tmp_path / "many", picture, COUNT, file)
    done = subprocess.run(
        [sys.executable, "-c", _READ, few, many, str(size)], capture_output=True, text=True, check=True
    )
    peak, frames, count = map(int, done.stdout.split())
    assert count == COUNT and frames == 3 * COUNT * size**2
    assert peak <= 2 * frames + beside


@pytest.mark.parametrize("file", ["a.jpg", "a.png"])
@pytest.mark.parametrize("size", [(1001, 1507), (803, 605)])
@pytest.mark.parametrize("k1", [0.0, -0.1])
def test_a_file_that_is_decoded_smaller_gives_the_frame_of_the_whole_one(tmp_path, size, k1, file):
    height, width = size
    Image.fromarray((128 + 100 * waves(height, width)).round().astype(np.uint8)).save(tmp_path / file, quality=95)
    with Image.open(tmp_path / file) as picture:
        picture.save(tmp_path / "whole.bmp")
    lens = Lens(width, height, width * 0.9, width * 0.9, width / 2 + 5.3, height / 2 - 7.1, k1)
    fov = lens.widest(1.0)
    small, whole = (
        view_frames([Shot(tmp_path / name, lens, "here")], 56, 56, fov).astype(int) for name in (file, "whole.bmp")
    )
    error = np.abs(small - whole)
    # Half a pixel aside in the picture would be 3 levels off where the waves are steep. At the border the kernel meets
    # the last block of pixels, which is padded.
    assert error[:, 4:-4, 4:-4].max() <= 3 and error.mean() < 1 and error.max() <= 10


@pytest.mark.parametrize(
    ("file", "expected"),
    [("a.jpg", [400, 400, 400, 400, 200, 200, 100, 50, 50]), ("a.png", [400, 400, 400, 400, 200, 134, 100, 50, 50])],
)
def test_a_file_is_decoded_no_smaller_than_twice_what_a_frame_needs(tmp_path, monkeypatch, file, expected):
    Image.fromarray(np.zeros((400, 400, 3), np.uint8)).save(tmp_path / file)
    lens, sizes = Lens.of_fov(400, 400, 90.0), []
    plain = Lens.view
    monkeypatch.setattr(
        Lens, "view", lambda self, picture, *rest: sizes.append(picture.size) or plain(self, picture, *rest)
    )
    for size in (400, 201, 200, 101, 100, 51, 50, 25, 8):
        view_frames([Shot(tmp_path / file, lens, "here")], size, size, 90.0)
    assert [width for width, _ in sizes] == expected
    with open_picture(tmp_path / file, "here") as picture:
        assert picture.size == (400, 400)
