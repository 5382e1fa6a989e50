"""Panels and videos."""

import io
import re
import subprocess
import sys
import weakref

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from ctxmem_env.recording import LiveVideo, View, draw_panel, write_video
from ctxmem_env.recording.drawing import CAMERA


def view(context=3, num_context=8, steps=20, shape=(32, 32), **changes):
    poses = np.zeros((steps, 6))
    poses[:, 0] = 0.25 * np.arange(steps)
    fields = {
        "frame": np.full((*shape, 3), 200, np.uint8),
        "poses": poses,
        "fov": 90.0,
        "num_context": num_context,
        "context_frames": np.full((context, *shape, 3), 100, np.uint8),
        "context_poses": poses[:context],
        "overlap": np.linspace(0.9, 0.1, context),
    }
    return View(**{**fields, **changes})


def has_colour(panel, colour):
    return (panel == np.array(colour, np.uint8)).all(-1).sum()


def test_a_panel_shows_the_frame_and_each_context_frame():
    frame, context = (201, 17, 35), (13, 150, 220)
    shows = []
    for count in (0, 1, 4):
        panel = draw_panel(
            view(
                context=count,
                frame=np.broadcast_to(np.uint8(frame), (32, 32, 3)),
                context_frames=np.broadcast_to(np.uint8(context), (count, 32, 32, 3)),
            )
        )
        assert has_colour(panel, frame) == 384 * 384
        shows.append(has_colour(panel, context))
    assert shows[0] == 0 and shows[1] > 80 * 80 and shows[2] == 4 * shows[1]


@pytest.mark.parametrize("num_context", [1, 4, 8, 20])
@pytest.mark.parametrize("shape", [(32, 32), (36, 64), (33, 17)])
def test_the_size_of_a_panel_is_even_and_does_not_depend_on_the_step(num_context, shape):
    first = draw_panel(view(context=0, num_context=num_context, steps=1, shape=shape))
    later = draw_panel(view(context=num_context, num_context=num_context, steps=300, shape=shape))
    assert first.shape == later.shape and first.dtype == np.uint8
    assert first.shape[0] % 2 == 0 and first.shape[1] % 2 == 0


def test_the_map_turns_with_the_camera():
    left, right = view(), view()
    left.poses[-1, 3], right.poses[-1, 3] = 1.0, -1.0
    assert not np.array_equal(draw_panel(left), draw_panel(right))


def test_a_true_frame_stands_beside_the_view_and_changes_nothing_else_of_its_column():
    true = (17, 201, 88)
    alone = draw_panel(view())
    both = draw_panel(view(true_frame=np.broadcast_to(np.uint8(true), (32, 32, 3)), psnr=20.0))
    assert has_colour(both, true) == 384 * 384
    assert both.shape[1] == alone.shape[1] + 400
    np.testing.assert_array_equal(both[34:418, :400], alone[34:418, :400])


@pytest.mark.parametrize("axis", range(4))
def test_keys_tell_the_directions_of_the_last_action(axis):
    motion = np.zeros(4)
    shown = []
    for sign in (-1, 0, 1):
        motion[axis] = 0.25 * sign
        keys = np.asarray(draw_panel(view(rewards=[0.0], motion=motion.copy())))[-110:, :290]
        shown.append(keys)
        # One key of 36 x 36 pixels, less its round corners and its name.
        assert (sign == 0) == (has_colour(keys, CAMERA) == 0) and has_colour(keys, CAMERA) < 36 * 36
    assert not np.array_equal(shown[0], shown[2])


def test_the_curve_of_rewards_ends_where_their_sum_is():
    rise, fall = (np.asarray(draw_panel(view(rewards=rewards)))[-110:, 300:] for rewards in ([1, 1], [1, -3]))
    last = [np.nonzero(np.abs(curve.astype(int) - CAMERA).sum(-1) < 40)[0][-1] for curve in (rise, fall)]
    columns = [np.nonzero((np.abs(curve.astype(int) - CAMERA).sum(-1) < 40).any(0))[0].max() for curve in (rise, fall)]
    ends = [
        np.nonzero(np.abs(curve[:, column].astype(int) - CAMERA).sum(-1) < 40)[0].mean()
        for curve, column in zip((rise, fall), columns, strict=True)
    ]
    assert ends[0] < ends[1] <= max(last)  # high where it rose, low where it fell


def test_remembered_cameras_are_on_the_map():
    none, many = draw_panel(view()), draw_panel(view(remembered=np.tile([1.0, 1.5, 1.5, 0, 0, 0], (3, 1))))
    assert not np.array_equal(none[:, 400:], many[:, 400:])
    np.testing.assert_array_equal(none[:, :400], many[:, :400])


def test_a_notebook_shows_pictures_and_no_other_arrays():
    panel = draw_panel(view())
    with Image.open(io.BytesIO(panel._repr_png_())) as shown:
        np.testing.assert_array_equal(np.asarray(shown), panel)
    assert panel[..., 0]._repr_png_() is None and (panel / 2)._repr_png_() is None


def pictures(n, height=40, width=60):
    for i in range(n):
        yield np.full((height, width, 3), 20 * i, np.uint8)


def read_mp4(path):
    """Frames uint8 (T, H, W, 3) and what ffmpeg says of the video stream."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    result = subprocess.run(command, capture_output=True, check=True)
    (stream,) = re.findall(r"Stream .* Video: h264 .*", result.stderr.decode())
    width, height = map(int, re.search(r" (\d+)x(\d+)[, ]", stream).groups())
    return np.frombuffer(result.stdout, np.uint8).reshape(-1, height, width, 3), stream


def test_an_mp4_holds_the_pictures_in_order_as_h264_in_yuv420p(tmp_path, capfd):
    path = write_video(tmp_path / "new folder" / "walk.mp4", pictures(10), fps=5)
    frames, stream = read_mp4(path)
    assert frames.shape == (10, 40, 60, 3)
    assert " 5 fps" in stream and " yuv420p(" in stream
    np.testing.assert_allclose(frames.mean((1, 2, 3)), 20 * np.arange(10), atol=6)
    assert capfd.readouterr() == ("", "")


def test_odd_sizes_are_padded(tmp_path):
    frames, _ = read_mp4(write_video(tmp_path / "odd.mp4", pictures(3, 41, 59)))
    assert frames.shape == (3, 42, 60, 3)


def test_a_gif_holds_the_pictures_in_order(tmp_path):
    path = write_video(tmp_path / "walk.gif", pictures(4), fps=5)
    with Image.open(path) as gif:
        assert gif.n_frames == 4 and gif.info["duration"] == 200 and gif.info["loop"] == 0  # for ever
        gif.seek(3)
        assert np.array(gif.convert("RGB"))[0, 0, 0] == 60


def test_bad_videos_are_refused_and_leave_the_old_file(tmp_path):
    path = tmp_path / "walk.mp4"
    path.write_bytes(b"old")

    def broken():
        yield from pictures(3)
        yield np.zeros((40, 60, 3), np.float32)

    with pytest.raises(ValueError, match=r"frames\[3\] is float32 of shape \(40, 60, 3\); expected uint8"):
        write_video(path, broken())
    with pytest.raises(ValueError, match=r"frames\[1\] is uint8 of shape \(41, 60, 3\)"):
        write_video(path, [*pictures(1), *pictures(1, 41)])
    with pytest.raises(ValueError, match="frames is empty"):
        write_video(path, [])
    with pytest.raises(ValueError, match="fps=0; expected pictures a second"):
        write_video(path, pictures(2), fps=0)
    with pytest.raises(ValueError, match=r"ends in '.avi'; expected .mp4 or .gif"):
        write_video(tmp_path / "walk.avi", pictures(2))
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["walk.mp4"]


def test_whatever_ends_a_live_video_early_is_raised_and_nothing_is_kept_for_it_any_more(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "moviepy.video.io.ffmpeg_writer", None)  # as where moviepy is broken
    video = LiveVideo(tmp_path / "walk.mp4", fps=5)
    for picture in pictures(10):
        video.add(picture)
    video._thread.join(60)
    later = [weakref.ref(picture) for picture in pictures(10) if video.add(picture) is None]
    del picture
    assert not any(reference() is not None for reference in later)
    assert video._queue.qsize() <= 1  # a picture that came while it failed
    with pytest.raises(ImportError, match="moviepy"):
        video.finish()
    assert not any(tmp_path.iterdir())
