"""Files of captures that do not fit, and what is said about them."""

import math
import struct

import numpy as np
import pytest
from capture_folders import MODELS, colmap, edit, path, pictures, same_poses, views
from PIL import Image

from ctxmem_env.captures import open_capture, remember
from ctxmem_env.captures.write import write_nerfstudio, write_published


@pytest.fixture
def capture(tmp_path):
    """A capture of nerfstudio."""
    return write_nerfstudio(tmp_path / "capture", views(pictures()), path(), 80.0)


def frame_0(**values):
    return lambda content: content["frames"][0].update(values)


MATRIX = np.eye(4).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (frame_0(file_path="../outside.png"), r"frame 0: 'file_path' names '../outside.png', which leads"),
        (frame_0(file_path="/etc/passwd"), r"frame 0: 'file_path' names '/etc/passwd', which leads"),
        (frame_0(file_path="images/link.png"), "frame 0: 'file_path' names 'images/link.png', which leads"),
        (frame_0(depth_file_path="../outside.png"), "frame 0: 'depth_file_path' names .*which leads out"),
        (frame_0(file_path=3), "frame 0: 'file_path' names '3'; expected the path of a file"),
        (frame_0(file_path="a\0b"), "frame 0: 'file_path' names"),
        (frame_0(file_path="a" * 5000), "frame 0: 'file_path' names"),
        (
            frame_0(transform_matrix=[*MATRIX[:2], [0, 0, 1, math.nan], MATRIX[3]]),
            r"frame 0: 'transform_matrix'\[2\]\[3\] is nan; expected a finite number",
        ),
        (frame_0(transform_matrix=[[1, 2], [3, 4]]), "frame 0: 'transform_matrix' has 2 rows of 2 numbers; expected a"),
        (frame_0(transform_matrix=[*MATRIX[:3], [1]]), "frame 0: 'transform_matrix' has 4 rows of 1, 4 numbers"),
        (frame_0(transform_matrix=[*MATRIX[:3], 1]), "frame 0: 'transform_matrix' is .*; expected a finite camera"),
        (frame_0(transform_matrix=None), "frame 0: 'transform_matrix' is None; expected a finite camera"),
        (
            frame_0(transform_matrix=(2 * np.eye(4)).tolist()),
            "'transform_matrix' scales or shears; expected",
        ),
        (
            frame_0(transform_matrix=np.diag([1.0, 1, -1, 1]).tolist()),
            "'transform_matrix' mirrors, .*left-handed",
        ),
        (frame_0(file_path="images/9.png"), r"frame 0: 'file_path' names .*/images/9\.png, which is not there; put it"),
        (frame_0(transform_matrix=[[1, 0, 0, 1e9], *MATRIX[1:]]), "frame 0 lies 1,000,000,000 m out; expected at most"),
        (frame_0(k1=0.9), "frame 0 has distortion k1=0.9.*Undistort the pictures first"),
        (frame_0(k3=0.1), "frame 0 has distortion k3 or k4"),
        (frame_0(camera_model="OPENCV_FISHEYE"), "'camera_model' is 'OPENCV_FISHEYE'; expected one of OPENCV"),
        (frame_0(fl_x="wide"), "frame 0: 'fl_x' is wide; expected a finite number"),
        (frame_0(fl_x=-3), "frame 0 has a lens of 24.* with focal lengths -3"),
        (frame_0(fl_x=1e-300), "frame 0 has a lens of 24"),
        (frame_0(cx=99), r"frame 0 has a principal point at \(99, 12\), outside"),
        (lambda content: content.pop("fl_x"), "neither 'fl_x' nor 'camera_angle_x'"),
        (lambda content: content.update(frames=[]), "names no pictures"),
        (lambda content: content.pop("frames"), "has no 'frames'; expected a list"),
        (lambda content: content.update(frames=[3]), "frame 0 is a int; expected an object"),
    ],
)
def test_transforms_that_do_not_fit_are_refused(capture, change, message):
    outside = capture.parent / "outside.png"
    Image.fromarray(pictures(1)[0]).save(outside)
    (capture / "images/link.png").symlink_to(outside)
    edit(capture, change)
    with pytest.raises(ValueError, match=message):
        open_capture(capture)


def test_pictures_that_do_not_fit_are_refused(capture):
    def refused(message):
        with pytest.raises(ValueError, match=message):
            remember(open_capture(capture), None, None, None, 8, 8)

    picture, depth = capture / "images/0002.png", capture / "depths/0002.png"
    Image.fromarray(pictures(1, 24, 30)[0]).save(picture)
    refused("frame 2: .*0002.png: the picture has 30 x 24 pixels, and its lens is that of 24 x 24")
    for size in ((8100, 8100), (10_000, 10_000)):  # Pillow itself warns of the second
        Image.new("1", size).save(picture)
        refused("frame 2: .*0002.png")
    picture.write_bytes(b"\x89PNG no picture")
    refused("frame 2: .*0002.png is no picture that can be read")
    whole = capture / "images/0001.png"
    picture.write_bytes(whole.read_bytes()[:-400])
    refused(r"frame 2: .*0002.png cannot be decoded \(image file is truncated.*\); fetch it again")
    picture.write_bytes(b"")
    refused(r"frame 2: .*0002.png is no picture that can be read \(it has 0 bytes\)")
    Image.fromarray(pictures(1)[0]).save(picture)
    Image.fromarray(pictures(1)[0]).save(depth)
    refused("frame 2: depth: .*0002.png is of mode RGB; expected grey of 16 bits")
    depth.unlink()
    refused("frame 2: depth: .*0002.png is no picture")


def test_missing_pictures_of_a_camera_path_are_counted_and_none_at_all_is_an_error(tmp_path):
    capture = write_published(tmp_path / "p", "Scene_0", views(pictures()), path())
    folder = capture / "frames" / "Scene_0"
    for name in ("0000", "0003"):
        (folder / f"{name}.png").unlink()
    with pytest.warns(UserWarning, match=r"2 of 5 pictures are not there, such as .*0000\.png; left out"):
        same_poses(open_capture(capture).poses, path()[[1, 2, 4]])
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"none of the 5 pictures is there, such as .*0000\.png"):
        open_capture(capture)


def test_matrices_in_the_axes_of_opencv_are_told_where_up_is_known(capture):
    def change(content):
        for frame in content["frames"]:
            frame["transform_matrix"] = (np.array(frame["transform_matrix"]) @ np.diag([1, -1, -1, 1])).tolist()

    edit(capture, change)
    with pytest.raises(
        ValueError, match=r"cameras stand on their heads; expected .*OpenGL.*change the sign of columns"
    ):
        open_capture(capture)


def test_names_of_pictures_may_lack_their_ending(capture):
    edit(capture, lambda content: content["frames"][0].update(file_path="./images/0000"))
    assert open_capture(capture).shots[0].picture.name == "0000.png"


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("cameras.bin", lambda data: data[:-4], r"cameras\.bin: ends too early"),
        ("images.bin", lambda data: data[:40], r"images\.bin: ends too early"),
        ("cameras.bin", lambda data: b"\xff" * 8 + data[8:], r"cameras\.bin: announces .* cameras; expected at most"),
        ("images.bin", lambda data: b"\xff" * 8 + data[8:], r"images\.bin: announces .* images; expected at most"),
        (
            "cameras.bin",
            lambda data: data[:12] + b"\5" + data[13:],
            r"camera 7 has the model 5; expected one of SIMPLE",
        ),
        ("cameras.bin", lambda data: data[:8] + b"\1" + data[9:], r"has camera 7, which cameras\.bin does not list"),
        (
            "cameras.bin",
            lambda data: data[:32] + struct.pack("<d", math.nan) + data[40:],
            "camera 7 has a lens with NaN",
        ),
        (
            "images.bin",
            lambda data: data[:12] + struct.pack("<d", math.nan) + data[20:],
            r"image '0\.png' has the rotat",
        ),
        ("images.bin", lambda data: data[:12] + bytes(32) + data[44:], r"image '0\.png' has the rotation"),
        (
            "images.bin",
            lambda data: data.replace(b"0.png", b"../../0.png"),
            r"names '\.\./\.\./0\.png', which leads out",
        ),
        ("images.bin", lambda data: data.replace(b"0.png", b"\xff.png"), r"images\.bin: .*codec can't decode"),
    ],
)
def test_binary_models_that_do_not_fit_are_refused(tmp_path, file, change, message):
    colmap(tmp_path, path(2), MODELS[:1], ".bin")
    target = tmp_path / "sparse/0" / file
    target.write_bytes(change(target.read_bytes()))
    with pytest.raises(ValueError, match=message):
        open_capture(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("cameras.txt", "7 PINHOLE 24", "the line '7 PINHOLE 24'; expected number, model"),
        ("cameras.txt", "7 PINHOLE 24 24 20 12 12", "camera 7 has 3 parameters; PINHOLE has 4: fx, fy, cx, cy"),
        ("cameras.txt", "7 FISHEYE 24 24 20 12 12", "camera 7 has the model 'FISHEYE'; expected one of SIMPLE_PINHOLE"),
        (
            "cameras.txt",
            "seven PINHOLE 24 24 20 20 12 12",
            "the line 'seven PINHOLE .* has 'seven 24 24'; expected whole",
        ),
        ("cameras.txt", "7 PINHOLE 24 24 20 20 12 wide", "camera 7 has '20 20 12 wide'; expected numbers"),
        ("images.txt", "1 1 0 0 0 0 up 0 7 0.png", "image '0.png' has '1 0 0 0 0 up 0'; expected numbers"),
        ("images.txt", "1 1 0 0 0 0 0", "the line '1 1 0 0 0 0 0'; expected number, rotation"),
        ("images.txt", "", "names no pictures"),
    ],
)
def test_text_models_that_do_not_fit_are_refused(tmp_path, file, text, message):
    colmap(tmp_path, path(2), MODELS[:1], ".txt")
    (tmp_path / "sparse/0" / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        open_capture(tmp_path)


def test_folders_without_a_capture_are_told_what_is_expected(tmp_path):
    with pytest.raises(ValueError, match=r"holds no posed pictures; expected transforms\.json, a sparse"):
        open_capture(tmp_path)
    (tmp_path / "transforms.json").write_text("{")
    with pytest.raises(ValueError, match=r"transforms\.json is not JSON"):
        open_capture(tmp_path)
    (tmp_path / "transforms.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"transforms\.json is not JSON"):
        open_capture(tmp_path)


def test_a_camera_file_that_is_a_link_to_elsewhere_is_refused(capture):
    (capture / "transforms.json").rename(capture.parent / "transforms.json")
    (capture / "transforms.json").symlink_to(capture.parent / "transforms.json")
    with pytest.raises(ValueError, match=r"names 'transforms\.json', which leads out of the capture's folder"):
        open_capture(capture)


def test_a_picture_that_colmap_names_and_that_is_not_there_is_told(tmp_path):
    colmap(tmp_path, path(2), MODELS[:1], ".bin")
    (tmp_path / "images/1.png").unlink()
    with pytest.raises(ValueError, match=r"image '1\.png' names .*/images/1\.png, which is not there; put it there"):
        open_capture(tmp_path)


def test_files_and_captures_of_any_size_are_not_read(capture, monkeypatch):
    monkeypatch.setattr("ctxmem_env.captures.capture.MAX_PICTURES", 4)
    with pytest.raises(ValueError, match="names 5 pictures; expected at most 4"):
        open_capture(capture)
    monkeypatch.setattr("ctxmem_env.captures.capture.MAX_FILE", 100)
    with pytest.raises(ValueError, match=r"transforms\.json has .* bytes; expected at most 100"):
        open_capture(capture)
