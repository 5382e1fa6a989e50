"""Layouts of captures, their axes and lenses, and the frames that they give."""

import json
import math

import numpy as np
import pytest
import torch
from capture_folders import MODELS, colmap, edit, free, path, pictures, realestate, same_poses, views
from PIL import Image

from ctxmem_env.camera import camera_to_world, cropped_fov, to_unreal
from ctxmem_env.captures import Lens, open_capture, remember
from ctxmem_env.captures.write import write_nerfstudio


@pytest.fixture
def capture(tmp_path):
    """A capture of nerfstudio."""
    return write_nerfstudio(tmp_path / "capture", views(pictures()), path(), 80.0)


@pytest.mark.parametrize("suffix", [".bin", ".txt"])
def test_models_of_colmap_are_read_upright_and_at_a_walker_s_scale(tmp_path, suffix):
    poses = path()
    poses[:, 4:] = 0.0  # upright, so that the mean of the cameras' up directions is up
    poses[:, 3] *= 0.5
    found = open_capture(colmap(tmp_path, poses, MODELS, suffix))
    focals = [(shot.lens.fx, shot.lens.fy, *shot.lens.distortion) for shot in found.shots]
    assert focals == [
        (20, 20, 0, 0, 0, 0),
        (20, 21, 0, 0, 0, 0),
        (20, 20, 0.01, 0, 0, 0),
        (20, 20, 0.01, 0.02, 0, 0),
        (20, 21, 0.01, 0.02, 0.003, 0.004),
    ]
    np.testing.assert_allclose(found.poses[:, 4:], 0, atol=1e-9)
    np.testing.assert_allclose(found.poses[:, :3].mean(0), [0, 0, 1.5], atol=1e-9)
    radius = np.linalg.norm(found.poses[:, :3] - found.poses[:, :3].mean(0), axis=1)
    assert np.median(radius) == pytest.approx(1.5)
    # The shape of the path and how the cameras stand to it are those of the walk.
    own = poses[:, :3] - poses[:, :3].mean(0)
    own *= 1.5 / np.median(np.linalg.norm(own, axis=1))
    turn = found.poses[0, 3] - poses[0, 3]
    spin = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
    np.testing.assert_allclose(found.poses[:, :3], own @ spin.T + [0, 0, 1.5], atol=1e-9)
    np.testing.assert_allclose(np.cos(found.poses[:, 3] - poses[:, 3] - turn), 1, atol=1e-9)


def relative(poses):
    """What no scale, turn or shift of the world changes: of each pair of cameras the second one, seen by the first."""
    matrices = camera_to_world(torch.as_tensor(poses)).numpy()
    turns, places = matrices[:, :3, :3], matrices[:, :3, 3]
    between = np.einsum("iba,jbc->ijac", turns, turns)
    ways = np.einsum("iba,ijb->ija", turns, places[None] - places[:, None])
    return between, ways / np.linalg.norm(ways[0, 1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("layout", [".bin", ".txt", "realestate", "nerfstudio"])
def test_where_a_layout_has_no_scale_and_no_up_cameras_stand_to_each_other_as_they_did(tmp_path, layout, seed):
    poses = path(9, seed)
    if layout == "realestate":
        for time in realestate(tmp_path / "a.txt", poses):
            (tmp_path / "a").mkdir(exist_ok=True)
            Image.fromarray(pictures(1)[0]).save(tmp_path / "a" / f"{time}.png")
    elif layout == "nerfstudio":
        edit(write_nerfstudio(tmp_path, views(pictures(9)), poses, 80.0), free)
    else:
        colmap(tmp_path, poses, MODELS, layout)
    found = open_capture(tmp_path).poses
    for part, expected in zip(relative(found), relative(poses), strict=True):
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-5)
    # What was free is settled as `upright` says.
    up = -camera_to_world(torch.as_tensor(found))[:, :3, 1].mean(0)
    np.testing.assert_allclose(up[:2], 0, atol=1e-9)
    away = found[:, :3] - [0, 0, 1.5]
    np.testing.assert_allclose(away.mean(0), 0, atol=1e-9)
    assert np.median(np.linalg.norm(away, axis=1)) == pytest.approx(1.5)


def test_up_is_where_the_cameras_heads_are(tmp_path):
    poses = path(6)
    poses[:, 4:] = 0.0
    folder = write_nerfstudio(tmp_path / "c", views(pictures(6)), poses, 80.0)
    tilt = np.eye(4)
    tilt[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]

    def turned(content):
        free(content)
        for frame in content["frames"]:
            frame["transform_matrix"] = (tilt @ np.array(frame["transform_matrix"])).tolist()

    edit(folder, turned)
    found = open_capture(folder)
    np.testing.assert_allclose(found.poses[:, 4:], 0, atol=1e-9)
    np.testing.assert_allclose(np.median(np.linalg.norm(found.poses[:, :3] - [0, 0, 1.5], axis=1)), 1.5)


def test_a_file_may_say_that_its_axes_and_scale_are_to_stay(capture):
    def told(content):
        free(content)
        content |= {"orientation_override": "none", "auto_scale_poses_override": False}

    edit(capture, told)
    same_poses(open_capture(capture).poses, path())


@pytest.mark.parametrize("frames", [[0], [3], [0, 1, 2, 4]])
def test_positions_beside_depth_files_are_metres_even_where_some_pictures_have_none(capture, frames):
    def thinned(content):
        del content["auto_scale_poses_override"]
        for i, frame in enumerate(content["frames"]):
            if i not in frames:
                del frame["depth_file_path"]

    edit(capture, thinned)
    found = open_capture(capture)
    assert [i for i, shot in enumerate(found.shots) if shot.depth is not None] == frames
    same_poses(found.poses, path())


def test_cameras_at_one_place_keep_it_and_cameras_upside_down_are_righted(tmp_path):
    poses = np.zeros((4, 6))
    poses[:, 3], poses[:, 5] = [0, 1, 2, 3], math.pi
    folder = write_nerfstudio(tmp_path / "c", views(pictures(4)), poses, 80.0)
    edit(folder, free)
    found = open_capture(folder).poses
    np.testing.assert_allclose(found[:, :3], [[0, 0, 1.5]] * 4, atol=1e-9)
    np.testing.assert_allclose(np.cos(found[:, 4:]), 1, atol=1e-9)


def test_a_camera_that_looks_straight_down_keeps_its_heading(tmp_path):
    poses = np.array([[0, 0, 1.5, 0.7, -math.pi / 2, 0], [0, 0, 1.5, -0.4, 0, 0]])
    folder = write_nerfstudio(tmp_path / "c", views(pictures(2)), poses, 80.0)

    def rounded(content):  # so that no rounding error tells the heading
        for frame in content["frames"]:
            frame["transform_matrix"] = (np.array(frame["transform_matrix"]).round(12) + 0.0).tolist()

    edit(folder, rounded)
    same_poses(open_capture(folder).poses, poses, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(24, 42), (42, 24)])
def test_pictures_are_cropped_around_the_principal_point_and_never_stretched(tmp_path, height, width):
    """A picture whose colours are the rays of its pixels shows in a frame the rays of the frame's pixels."""
    lens = Lens(width, height, fx=30.0, fy=20.0, cx=width / 2 + 2, cy=height / 2 - 1)
    x = (np.arange(width) + 0.5 - lens.cx) / lens.fx
    y = (np.arange(height) + 0.5 - lens.cy) / lens.fy
    rays = np.stack([*np.meshgrid(x, y), np.zeros((height, width))], axis=-1)
    picture = Image.fromarray((128 + 100 * rays).round().astype(np.uint8))
    fov = lens.widest(1.0)
    left, top, right, bottom = lens.box(8, 8, fov)
    assert left >= 0 and top >= 0 and right <= width and bottom <= height
    assert min(left, top, width - right, height - bottom) < 1e-5
    frame = lens.view(picture, 8, 8, fov).astype(float)
    expected = (np.arange(8) - 3.5) / 4 * math.tan(math.radians(fov) / 2)
    inner = slice(1, 7)  # at the border the kernel has one side alone
    np.testing.assert_allclose((frame[..., 0] - 128)[inner, inner] / 100, expected[None, inner].repeat(6, 0), atol=0.03)
    np.testing.assert_allclose((frame[..., 1] - 128)[inner, inner] / 100, expected[inner, None].repeat(6, 1), atol=0.03)


def test_distortion_is_that_of_opencv():
    lens = Lens(100, 100, 50.0, 50.0, 50.0, 50.0, k1=0.02, k2=0.01, p1=0.005, p2=0.01)
    # By hand, r^2 being 0.2: 0.4 * 1.0044 + 2 p1 0.08 + p2 (0.2 + 0.32); 0.2 * 1.0044 + p1 (0.2 + 0.08) + 2 p2 0.08.
    assert lens.project(np.array(0.4), np.array(0.2)) == pytest.approx((50 + 50 * 0.40776, 50 + 50 * 0.20388))


def test_distortion_is_undone(tmp_path):
    bent = Lens(80, 60, 50.0, 50.0, 40.0, 30.0, k1=-0.1, k2=0.05, p1=0.005, p2=-0.005)
    # For each pixel of the bent picture the ray that ends there, by iteration.
    u, v = np.meshgrid((np.arange(80) + 0.5 - 40) / 50, (np.arange(60) + 0.5 - 30) / 50)
    x, y = u.copy(), v.copy()
    for _ in range(50):
        px, py = bent.project(x, y)
        x, y = x + u - (px - 40) / 50, y + v - (py - 30) / 50
    picture = Image.fromarray((128 + 100 * np.stack([x, y, 0 * x], axis=-1)).round().astype(np.uint8))
    fov = bent.widest(1.0)
    frame = bent.view(picture, 24, 24, fov).astype(float)
    expected = (np.arange(24) - 11.5) / 12 * math.tan(math.radians(fov) / 2)
    inner = slice(2, 22)
    error = np.abs((frame[..., 0] - 128)[inner, inner] / 100 - expected[None, inner])
    assert error.max() < 0.02
    straight = Lens(80, 60, 50.0, 50.0, 40.0, 30.0).view(picture, 24, 24, fov).astype(float)
    assert np.abs((straight[..., 0] - 128)[inner, inner] / 100 - expected[None, inner]).max() > 0.02


def test_lenses_of_single_frames_angles_and_smaller_pictures(tmp_path):
    frames = pictures(3, 24, 36)
    folder = write_nerfstudio(tmp_path / "c", views(frames), path(3), 80.0)

    def change(content):
        for name in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
            del content[name]
        content["camera_angle_x"] = math.radians(70)
        # Sizes of a picture of which a third is on the disk.
        content["frames"][1] |= {"fl_x": 108.0, "w": 108, "h": 72}

    edit(folder, change)
    lenses = [shot.lens for shot in open_capture(folder).shots]
    assert lenses[0].widest(1.5) == pytest.approx(70)
    assert lenses[0].widest(1.0) == pytest.approx(cropped_fov(70, 36, 24))
    assert lenses[1].resized(36, 24).fx == pytest.approx(36)
    fov = min(lens.widest(1.0) for lens in lenses)
    assert remember(open_capture(folder), None, None, None, 8, 8).fov == pytest.approx(fov)


def test_pictures_beside_a_camera_path_are_matched_by_number(tmp_path):
    poses = path(4)
    (tmp_path / "poses.json").write_text(json.dumps({"fov": 70, "poses": poses.tolist()}))
    for i in (0, 1, 2, 3):
        Image.fromarray(pictures(4)[i]).save(tmp_path / f"view_{i:03d}.png")
    (tmp_path / "notes_7.txt").write_text("not a picture")
    found = open_capture(tmp_path)
    same_poses(found.poses, poses)
    assert [shot.picture.name for shot in found.shots] == [f"view_00{i}.png" for i in range(4)]
    assert found.fov(1.0) == pytest.approx(70)
    Image.fromarray(pictures(1)[0]).save(tmp_path / "again_3.png")
    with pytest.raises(ValueError, match=r"again_3\.png and view_003\.png are both picture 3"):
        open_capture(tmp_path)
    (tmp_path / "again_3.png").unlink()
    (tmp_path / "poses.json").write_text(json.dumps({"poses": poses.tolist()}))
    with pytest.raises(ValueError, match="has no 'fov'; add the horizontal field of view"):
        open_capture(tmp_path)
    (tmp_path / "more.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds 2 captures, such as more\.json, poses\.json; give the path of one"):
        open_capture(tmp_path)


def test_a_published_camera_file_beside_one_picture(tmp_path):
    """As a sample of the dataset: 640 x 360 pixels with transparency, of which a square is seen."""
    position, rotation = to_unreal(torch.as_tensor(path(3)))
    frames = {str(i): {"position": position[i].tolist(), "rotation": rotation[i].tolist()} for i in range(3)}
    (tmp_path / "camera.json").write_text(json.dumps({"CineCameraActor": frames}))
    picture = np.random.default_rng(0).integers(256, size=(36, 64, 4), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "frame_0000.png")
    with pytest.warns(UserWarning, match="2 of 3 pictures are not there"):
        found = open_capture(tmp_path)
    same_poses(found.poses, path(3)[:1])
    remembered = remember(found, None, None, None, 36, 36)
    np.testing.assert_array_equal(remembered.frames[0], picture[:, 14:50, :3])
    assert remembered.fov == pytest.approx(cropped_fov(52.67, 64, 36))
