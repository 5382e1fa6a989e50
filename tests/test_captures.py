"""Captures: what is written is read back, and posed pictures open worlds."""

import json
import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from capture_folders import SIZE, edit, path, pictures, same_poses, views
from helpers import make
from PIL import Image

from ctxmem_env.camera import to_opengl
from ctxmem_env.captures import open_capture, remember
from ctxmem_env.captures.write import write_nerfstudio, write_published
from ctxmem_env.cli.drive import choose_drive
from ctxmem_env.cli.walks import Rollout
from ctxmem_env.testing import PoseGenerator


@pytest.fixture
def capture(tmp_path):
    """A capture of nerfstudio."""
    return write_nerfstudio(tmp_path / "capture", views(pictures()), path(), 80.0)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_written_is_read_back_by_pixel_and_pose(tmp_path, seed):
    frames, poses = pictures(seed=seed), path(seed=seed)
    nerfstudio = write_nerfstudio(tmp_path / "n", views(frames, 2.5), poses, 80.0)
    published = write_published(tmp_path / "p", "Scene_0", views(frames), poses)
    for folder, fov in ((nerfstudio, 80.0), (published, 52.67), (published / "jsons" / "Scene_0.json", 52.67)):
        found = open_capture(folder)
        same_poses(found.poses, poses)
        remembered = remember(found, None, None, None, SIZE, SIZE)
        np.testing.assert_array_equal(remembered.frames, frames)
        same_poses(remembered.poses, poses)
        assert remembered.fov == pytest.approx(fov)
    assert (remember(open_capture(nerfstudio), None, None, None, SIZE, SIZE).depth == 2.5).all()


@pytest.mark.parametrize(("layout", "size"), [("nerfstudio", (16, 16)), ("context-as-memory", (18, 32))])
def test_collect_writes_the_true_frames_of_a_walk(run, tmp_path, layout, size):
    from ctxmem_env.scenes import build_scene, random_walk, render, stack_scenes

    height, width = size
    out = tmp_path / "walk"
    options = ("--height", height, "--width", width, "--out", out)
    results, _ = run("collect", "--format", layout, "--scene", 5, "--seed", 1, "--steps", 3, *options)
    poses = random_walk(build_scene(5), 4, np.random.default_rng(1))
    frames, depth = render(stack_scenes([build_scene(5)]), poses[None], results["fov"], height, width)
    found = open_capture(out)
    same_poses(found.poses, poses)
    for shot, frame in zip(found.shots, frames[0].numpy(), strict=True):
        with Image.open(shot.picture) as picture:
            np.testing.assert_array_equal(np.array(picture)[..., :3], frame)
    read = remember(found, None, None, None, height, width)
    np.testing.assert_array_equal(read.frames, frames[0])
    if layout == "nerfstudio":
        np.testing.assert_allclose(read.depth, depth[0].clamp(max=65.535), atol=6e-4)


def test_collect_refuses_a_full_folder_and_a_fov_that_the_layout_does_not_have(fail, tmp_path):
    (tmp_path / "there.txt").write_text("kept")
    assert "not an empty folder" in fail("collect", "--scene", 5, "--steps", 1, "--out", tmp_path)
    assert (tmp_path / "there.txt").read_text() == "kept"
    options = ("--format", "context-as-memory", "--fov", 90, "--out", tmp_path / "new")
    assert "have 52.67; leave it out" in fail("collect", "--scene", 5, *options)
    assert "in no split" in fail("collect", "--scene", 1_500_000, "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_published_layout_has_unreal_axes_and_numbers_that_are_not_padded(tmp_path):
    folder = write_published(tmp_path / "p", "Scene_0", views(pictures(12)), path(12))
    content = json.loads((folder / "jsons/Scene_0.json").read_text())["CineCameraActor"]
    assert list(content) == [str(i) for i in range(12)]
    x, y, z, yaw, pitch, roll = path(12)[11]
    assert content["11"]["position"] == pytest.approx([100 * x, -100 * y, 100 * z])
    assert content["11"]["rotation"] == pytest.approx(np.degrees([roll, pitch, -yaw]))
    with Image.open(folder / "frames/Scene_0/0011.png") as picture:
        assert picture.mode == "RGBA"


def test_matrices_of_opengl_are_those_of_the_poses(capture):
    content = json.loads((capture / "transforms.json").read_text())
    matrices = [frame["transform_matrix"] for frame in content["frames"]]
    np.testing.assert_allclose(matrices, to_opengl(torch.as_tensor(path())), atol=1e-12)


def test_the_tour_is_spread_over_the_capture_and_the_start_comes_last(capture):
    found = open_capture(capture)
    for tour, expected in ((0, [4]), (1, [0, 4]), (2, [0, 3, 4]), (4, [0, 1, 2, 3, 4]), (None, [0, 1, 2, 3, 4])):
        same_poses(remember(found, tour, None, None, 8, 8).poses, path()[expected])
    pose = path()[2] + [0.1, -0.1, 0, 0.1, 0, 0]
    same_poses(remember(found, None, tuple(pose), None, 8, 8).poses, path()[[0, 1, 3, 4, 2]])


def test_of_frames_at_one_place_the_start_looks_the_same_way(tmp_path):
    poses = np.zeros((4, 6))
    poses[:, 3] = [0.0, 1.0, 2.0, 3.0]
    found = open_capture(write_nerfstudio(tmp_path / "c", views(pictures(4)), poses, 80.0))
    same_poses(remember(found, 1, (0, 0, 0, 1.1, 0, 0), None, 8, 8).poses, poses[[0, 1]])


def test_a_path_in_a_capture_begins_at_the_frame_that_is_nearest_to_its_own(capture, tmp_path):
    file = tmp_path / "path.json"
    file.write_text(json.dumps({"fov": 170, "poses": path()[[1, 2]].tolist()}))
    command = Rollout(capture=capture, trajectory=file)
    options = choose_drive(command).start(command, 1.0)
    _, info = make().reset(options={"capture": capture, **options})
    same_poses([info["pose"]], path()[[1]])


def test_a_camera_starts_where_it_can_stand(tmp_path):
    poses = path(3)
    poses[2, 4] = math.radians(-75)
    found = open_capture(write_nerfstudio(tmp_path / "c", views(pictures(3)), poses, 80.0))
    same_poses(remember(found, None, None, None, 8, 8).poses, poses[[0, 2, 1]])
    poses[:, 4] = math.radians(75)
    found = open_capture(write_nerfstudio(tmp_path / "d", views(pictures(3)), poses, 80.0))
    with pytest.raises(ValueError, match="all frames of the capture look more than 60 degrees up or down"):
        remember(found, None, None, None, 8, 8)


def test_a_capture_opens_a_world(capture):
    env = make(observation="dict", num_context=5)
    observation, info = env.reset(seed=0, options={"capture": str(capture)})
    same_poses([info["pose"]], path()[-1:])
    world = env.unwrapped.world
    assert world.memory.lengths.tolist() == [5]
    assert world.fov.tolist() == pytest.approx([80.0])
    np.testing.assert_allclose(observation["depth"], 3.0, atol=1e-3)  # that of the capture
    seen = [remember(open_capture(capture), None, None, None, 48, 48).frames[-1]]
    np.testing.assert_array_equal(observation["rgb"], seen[0])
    _, _, _, _, info = env.step(5)
    painted = PoseGenerator.read(env.unwrapped._sight.frames[0].numpy())
    same_poses(painted.context_poses, path()[info["retrieved"][info["retrieved"] >= 0]])


def test_depth_that_a_capture_leaves_out_is_estimated_in_its_scale(tmp_path):
    known = np.full((SIZE, SIZE), 6.0, np.float32)
    known[:, : SIZE // 2] = 0.0
    frames = [(frame, known) for frame in pictures(3)]
    folder = write_nerfstudio(tmp_path / "c", frames, path(3), 80.0)
    env = make(observation="rgbd")
    depth = env.reset(seed=0, options={"capture": folder})[0]["depth"]
    np.testing.assert_allclose(depth, 6.0)  # the generator's guess is 3 everywhere
    np.testing.assert_allclose(
        make(observation="rgbd", seed_depth="estimated").reset(options={"capture": folder})[0]["depth"], 3.0
    )
    edit(
        folder, lambda content: content["frames"][1].pop("depth_file_path") and content.pop("auto_scale_poses_override")
    )
    observation, info = env.reset(seed=0, options={"capture": folder})
    np.testing.assert_allclose(observation["depth"], 3.0)
    same_poses([info["pose"]], path(3)[-1:])  # the depth files of the others still tell the scale


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scene": 3}, "'capture' and 'scene' were both given"),
        ({"image": np.zeros((8, 8, 3), np.uint8)}, "'capture' and 'image' were both given"),
        ({"distance": 3.0}, "'capture' and 'distance' were both given"),
        ({"tour": 5}, r"options\['tour'\]=5, but beside the first frame the capture holds 4 frames"),
        ({"fov": 85}, r"options\['fov'\]=85, but the pictures of the capture fill 80\.00 degrees"),
        ({"capture": 3}, "capture is a int; expected the path of a folder"),
        ({"capture": "/no/such/place"}, "capture='/no/such/place' does not exist"),
    ],
)
def test_options_that_do_not_go_with_a_capture_are_refused_and_nothing_is_lost(capture, options, message):
    env = make()
    env.reset(seed=0, options={"capture": capture})
    moment = env.unwrapped.world.poses.clone()
    with pytest.raises(ValueError, match=message):
        env.reset(seed=3, options={"capture": capture, **options})
    assert torch.equal(env.unwrapped.world.poses, moment)
    env.step(1)


def test_a_memory_that_is_too_small_is_told_and_true_scenes_have_no_captures(capture):
    with pytest.raises(ValueError, match=r"tour=4 frames and the first frame do not fit.*at most 3"):
        make(memory_capacity=4, num_context=2).reset(options={"capture": capture})
    env = make(memory_capacity=4, num_context=2)
    env.reset(options={"capture": capture, "tour": 3})
    for true, options in (
        (make("CtxMemTrueScene-v0"), {"capture": capture}),
        (gym.make_vec("CtxMemTrueScene-v0", 2, tour=0), {"worlds": [None, {"capture": capture}]}),
    ):
        with pytest.raises(ValueError, match=r"options\['capture'\] was given, but a capture has no true scene"):
            true.reset(options=options)


def test_rollout_takes_a_capture(run, fail, capture, untrained_model, tmp_path):
    options = ("--capture", capture, "--model", untrained_model, "--steps", 2, "--out", tmp_path / "c.gif")
    results, _ = run("rollout", *options, "--tour", 1)
    assert results["frames"] == 3 and results["capture"] == str(capture)
    assert "'capture' and 'scene' were both given" in fail("rollout", *options, "--scene", 3)
    assert "has no true scene" in fail("rollout", "--env", "true", "--capture", capture)
