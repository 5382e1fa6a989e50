"""Videos with poses: GF-Minecraft, RealEstate10K, and camera paths; their frames, one by one."""

import importlib.util
import json
import math
import weakref

import numpy as np
import pytest
from capture_folders import (
    SIZE,
    edit,
    level_path,
    minecraft,
    path,
    pictures,
    realestate,
    same_poses,
    write_film,
)
from helpers import make
from PIL import Image

from ctxmem_env.captures import find_captures, open_capture, remember
from ctxmem_env.captures.video import look_at, read_frames

NAME = "metadata/seed_1_part_1.json"


def smooth(n, height=SIZE, width=SIZE):
    """Frames without a cut, so that an encoder predicts each from its neighbours."""
    ramp = np.add.outer(np.arange(height), np.arange(width))
    return np.stack([np.repeat((ramp + 5 * i)[..., None] % 256, 3, axis=-1) for i in range(n)]).astype(np.uint8)


@pytest.mark.parametrize("codec", ["ffv1", "libx264rgb"])
def test_any_frames_of_a_video_are_read_in_order_and_one_at_a_time(tmp_path, codec):
    frames = smooth(40)
    file = write_film(tmp_path / f"a.{'mkv' if codec == 'ffv1' else 'mp4'}", frames, codec=codec)
    film = look_at(file, "here")
    assert len(film.times) == 40 and len(film.keys) == 4 and (film.width, film.height) == (SIZE, SIZE)
    np.testing.assert_allclose(film.seconds, np.arange(40) / 10)
    read, whole = [], []
    for number, picture in read_frames(file, [39, 3, 17, 3, 18, 0], "here"):
        np.testing.assert_array_equal(np.array(picture), frames[number])
        read.append(number)
        whole.append(weakref.ref(picture))
        assert sum(ref() is not None for ref in whole) == 1
    assert read == [0, 3, 17, 18, 39]
    with pytest.raises(ValueError, match=r"here: .* has 40 frames; expected frame 40 among them"):
        read_frames(file, [40], "here")


def test_what_lies_between_two_frames_is_not_decoded(tmp_path, monkeypatch):
    import av

    file, seeks = write_film(tmp_path / "a.mkv", smooth(40)), []
    look_at(file, "here")

    class Counted:
        def __init__(self, inner):
            self.inner, self.streams = inner, inner.streams

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.inner.close()

        def seek(self, *place, **options):
            seeks.append(place[0])
            self.inner.seek(*place, **options)

        def decode(self, stream):
            return self.inner.decode(stream)

    opening = av.open
    monkeypatch.setattr(av, "open", lambda name: Counted(opening(name)))
    assert [number for number, _ in read_frames(file, [1, 2, 38], "here")] == [1, 2, 38]
    assert seeks == [0, int(look_at(file, "here").keys[3])]


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_video_that_was_filmed_upright_is_shown_upright(tmp_path, turn):
    """A phone stores pictures as its sensor has them, and says in the file how to turn them."""
    frames = pictures(3, SIZE, 40)
    file = write_film(tmp_path / "a.mp4", frames, codec="libx264rgb")
    data, one = file.read_bytes(), 0x10000
    a, b = round(math.cos(math.radians(turn))), round(math.sin(math.radians(turn)))

    def matrix(a, b):
        rows = (a * one, b * one, 0, -b * one, a * one, 0, 0, 0, 0x40000000)
        return b"".join(value.to_bytes(4, "big", signed=True) for value in rows)

    at = data.index(matrix(1, 0), data.index(b"tkhd"))
    file.write_bytes(data[:at] + matrix(a, b) + data[at + 36 :])
    film = look_at(file, "here")
    assert (film.width, film.height) == ((40, SIZE) if turn == 180 else (SIZE, 40))
    for number, picture in read_frames(file, range(3), "here"):
        np.testing.assert_array_equal(np.array(picture), np.rot90(frames[number], -turn // 90))


def test_minecraft_is_read_by_entry_with_eyes_above_its_feet(tmp_path):
    poses = path(6)
    poses[:, 5] = 0.0
    frames = pictures(6, 18, 32)
    found = open_capture(minecraft(tmp_path, frames, poses))
    same_poses(found.poses, poses[1:])
    read = remember(found, None, None, None, 18, 32)
    np.testing.assert_array_equal(read.frames, frames[1:])
    # 70 degrees from top to bottom, so much wider from left to right.
    assert read.fov == pytest.approx(math.degrees(2 * math.atan(math.tan(math.radians(35)) * 32 / 18)))
    same_poses(open_capture(tmp_path / NAME).poses, poses[1:])


def test_minecraft_looks_south_at_0_and_turns_right(tmp_path):
    minecraft(tmp_path, pictures(4), path(4))

    def change(content):
        for i, (yaw, pitch) in enumerate([(0, 0), (90, 30), (-90, 0)], 1):
            content["actions"][str(i)] |= {"pos": [1.0, 64.0, 2.0], "yaw": yaw, "pitch": pitch}

    edit(tmp_path, change, NAME)
    south, west, east = open_capture(tmp_path).poses
    assert south.tolist() == pytest.approx([1, -2, 65.62, -math.pi / 2, 0, 0])
    assert abs(west[3]) == pytest.approx(math.pi) and west[4] == pytest.approx(-math.pi / 6)
    assert east[3] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", ["video", "pictures"])
def test_realestate_is_read_by_time(tmp_path, kind):
    poses, frames = level_path(), pictures(9, SIZE, 36)
    times = realestate(tmp_path / "a1b2.txt", poses)
    if kind == "video":
        write_film(tmp_path / "a1b2.mp4", frames, codec="libx264rgb")
    else:
        (tmp_path / "a1b2").mkdir()
        for time, frame in zip(times, frames[::2], strict=True):
            Image.fromarray(frame).save(tmp_path / "a1b2" / f"{time}.png")
    found = open_capture(tmp_path)
    same_poses(found.poses, poses)
    lens = found.shots[0].lens
    assert (lens.fx, lens.fy, lens.cx, lens.cy) == (18, 18, 18, 12)
    np.testing.assert_array_equal(remember(found, None, None, None, SIZE, 36).frames, frames[::2])
    if kind == "pictures":
        (tmp_path / "a1b2" / f"{times[1]}.png").unlink()
        with pytest.warns(UserWarning, match=rf"1 of 5 pictures are not there, such as .*/{times[1]}\.png"):
            assert len(open_capture(tmp_path / "a1b2.txt").shots) == 4


def test_a_camera_path_may_have_a_video_in_place_of_pictures(tmp_path):
    poses, frames = path(4), pictures(4)
    (tmp_path / "walk.json").write_text(json.dumps({"fov": 70, "poses": poses.tolist()}))
    write_film(tmp_path / "phone.mkv", frames)
    found = open_capture(tmp_path)
    same_poses(found.poses, poses)
    read = remember(found, None, None, None, SIZE, SIZE)
    np.testing.assert_array_equal(read.frames, frames)
    assert read.fov == pytest.approx(70)
    write_film(tmp_path / "other.mkv", frames[::-1])
    with pytest.raises(ValueError, match=r"other\.mkv and phone\.mkv lie beside it; name its video walk\.mp4"):
        open_capture(tmp_path)
    (tmp_path / "phone.mkv").rename(tmp_path / "walk.mkv")
    np.testing.assert_array_equal(remember(open_capture(tmp_path), None, None, None, SIZE, SIZE).frames, frames)


def test_a_video_opens_a_world(tmp_path):
    minecraft(tmp_path, pictures(6), path(6) * [1, 1, 1, 1, 1, 0])
    env = make(observation="dict", num_context=4)
    _, info = env.reset(seed=0, options={"capture": str(tmp_path)})
    same_poses([info["pose"]], path(6)[-1:] * [1, 1, 1, 1, 1, 0])
    env.step(1)


def test_a_folder_of_captures_is_found_one_by_one_and_asked_for_one(tmp_path):
    minecraft(tmp_path / "m", pictures(3), path(3))
    minecraft(tmp_path / "m", pictures(3), path(3), "seed_2_part_1")
    for name in ("a", "b"):
        realestate(tmp_path / f"{name}.txt", level_path(2))
        write_film(tmp_path / f"{name}.mp4", pictures(4), codec="libx264rgb")
    (tmp_path / "notes.txt").write_text("hello\nworld\n")
    assert [found.cameras.name for found in find_captures(tmp_path)] == ["a.txt", "b.txt"]
    inside = find_captures(tmp_path / "m")
    assert [found.cameras.name for found in inside] == ["seed_1_part_1.json", "seed_2_part_1.json"]
    same_poses(inside[1].read().poses, path(3)[1:] * [1, 1, 1, 1, 1, 0])
    (tmp_path / "a.txt").unlink()
    (tmp_path / "b.txt").unlink()
    assert len(find_captures(tmp_path)) == 2
    with pytest.raises(ValueError, match=r"holds 2 captures, such as m/metadata/seed_1_part_1\.json, m/.*of one"):
        open_capture(tmp_path)


def entry_1(**values):
    return lambda content: content["actions"]["1"].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (entry_1(pos=[math.nan, 0, 0]), r"seed_1_part_1\.json: entry 1: 'pos' is nan; expected a finite number"),
        (entry_1(pos=[0, 0]), r"entry 1: 'pos' is \[0, 0\]; expected \[x, y, z\] in metres"),
        (entry_1(yaw="left"), r"entry 1: 'yaw' is left; expected a finite number"),
        (lambda content: content.pop("actions"), "has no 'actions'; expected an object with the keys"),
        (lambda content: content["actions"].update({"7": {}}), "has 4 entries after the first, and .* has 4 frames"),
    ],
)
def test_metadata_of_minecraft_that_do_not_fit_are_refused(tmp_path, change, message):
    edit(minecraft(tmp_path, pictures(4), path(4)), change, NAME)
    with pytest.raises(ValueError, match=message):
        open_capture(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda words: words[:-1], r"a\.txt: line 3 has 18 numbers; expected 19: time, lens, world-to-camera"),
        (lambda words: [*words[:-1], "nan"], "line 3 is '200000 .*; expected 19 finite numbers"),
        (lambda words: ["9000000", *words[1:]], r"time 9000000 is 9\.00 s, but the frames of .* between 0 and 0\.30 s"),
        (lambda words: [words[0], "0", *words[2:]], "time 200000 has a lens of 24 x 24 pixels with focal lengths 0"),
        (
            lambda words: [*words[:7], *(str(-float(word)) for word in words[7:11]), *words[11:]],
            "time 200000: matrix mirrors, so that it turns right-handed axes into left-handed ones",
        ),
    ],
)
def test_cameras_of_realestate_that_do_not_fit_are_refused(tmp_path, change, message):
    realestate(tmp_path / "a.txt", level_path(2))
    write_film(tmp_path / "a.mp4", pictures(4), codec="libx264rgb")
    lines = (tmp_path / "a.txt").read_text().splitlines()
    lines[2] = " ".join(change(lines[2].split()))
    (tmp_path / "a.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=message):
        open_capture(tmp_path)


def test_videos_that_do_not_fit_are_refused(tmp_path, monkeypatch):
    poses = {"fov": 70, "poses": path(4).tolist()}
    (tmp_path / "walk.json").write_text(json.dumps(poses))
    film = tmp_path / "walk.mp4"

    def refused(message):
        with pytest.raises(ValueError, match=message):
            remember(open_capture(tmp_path), None, None, None, 8, 8)

    refused(r"none of the 4 pictures is there, such as .*0000\.png")
    write_film(film, pictures(3), codec="libx264rgb")
    refused(r"walk\.json has 4 poses, and .*walk\.mp4 has 3 frames; expected one for each")
    write_film(film, pictures(4), codec="libx264rgb")
    monkeypatch.setattr("ctxmem_env.captures.video.MAX_PIXELS", 100)
    look_at.__globals__["_look_at"].cache_clear()
    refused(r"walk\.mp4 has frames of 24 x 24 pixels; expected fewer")
    monkeypatch.undo()
    whole = film.read_bytes()
    film.write_bytes(whole[: len(whole) // 2])
    refused(r"walk\.mp4 is no video that can be read|walk\.mp4 has \d frames")
    film.write_bytes(b"no video")
    refused(r"walk\.json: .*walk\.mp4 is no video that can be read")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refused(r"walk\.mp4 is a video, which needs PyAV; pip install 'ctxmem-env\[video\]'")
    (tmp_path / "m/metadata").mkdir(parents=True)
    (tmp_path / "m/video").mkdir()
    (tmp_path / "m" / NAME).write_text('{"actions": {"0": {}, "1": {}}}')
    with pytest.raises(ValueError, match=r"names .*/video/seed_1_part_1\.mp4, which is not there"):
        open_capture(tmp_path / "m")
