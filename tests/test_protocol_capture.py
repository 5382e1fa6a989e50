"""Captures as a protocol: pictures that are left out and painted; and photographs on a wall, whose poses are exact."""

import json
import math

import numpy as np
import pytest
import torch
from capture_folders import edit, path, pictures, same_poses, views
from PIL import Image

from ctxmem_env.camera import camera_to_world, pixel_rays
from ctxmem_env.captures import find_captures, open_capture, remember
from ctxmem_env.captures.wall import DISTANCE, wall_path, wall_views
from ctxmem_env.captures.write import write_nerfstudio
from ctxmem_env.evaluation.captures import capture_walks, evaluate_captures, measure_capture
from ctxmem_env.evaluation.protocols import follow
from ctxmem_env.photograph import open_image
from ctxmem_env.testing import PoseGenerator

SIZE = 48


def ramp(height=90, width=120):
    """A picture whose red tells the column and whose green tells the row."""
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([columns * 2, rows * 2, 0 * rows], axis=-1).astype(np.uint8))


def test_a_picture_on_a_wall_is_where_its_camera_sees_it():
    picture = ramp()
    poses, own = wall_path(picture, 100.0, 20, 1.0)
    across = math.tan(math.radians(50))
    for pose, (frame, depth) in zip(poses, wall_views(picture, 100.0, poses, own, 16, 16), strict=True):
        assert depth is None
        # Where the ray of each pixel meets the plane x = DISTANCE, by hand.
        turn = camera_to_world(torch.from_numpy(pose))[:3, :3].numpy()
        rays = pixel_rays(16, 16, own).double().numpy() @ turn.T
        points = pose[:3] + rays * ((DISTANCE - pose[0]) / rays[..., 0])[..., None]
        column = (1 - points[..., 1] / (across * DISTANCE)) * 60 - 0.5
        row = 45 - (points[..., 2] - 1.5) / (across * DISTANCE) * 60 - 0.5
        np.testing.assert_allclose(frame[..., 0] / 2, column, atol=0.8)
        np.testing.assert_allclose(frame[..., 1] / 2, row, atol=0.8)
        assert column.min() > -1 and column.max() < 120 and row.min() > -1 and row.max() < 90
    assert np.ptp(poses[:, 1]) > 0.5 and np.ptp(poses[:, 3]) > 0.2


@pytest.fixture
def capture(tmp_path):
    poses = path(12)
    return write_nerfstudio(tmp_path / "c", views(pictures(12, SIZE, SIZE), 3.0), poses, 80.0)


def test_every_other_picture_is_left_out_and_asked_for_at_its_own_pose(capture):
    generator = PoseGenerator(SIZE, SIZE)
    walks = capture_walks(find_captures(capture)[0], 4, generator)
    poses = open_capture(capture).poses
    same_poses(walks.poses[0], poses[[0, 3, 4, 5, 7, 8, 9, 11, 1, 2, 6, 10]])
    assert walks.seeded == 9 and walks.fov == pytest.approx(80)
    frames = remember(open_capture(capture), None, None, None, SIZE, SIZE).frames
    np.testing.assert_array_equal(walks.frames[0, 9:], frames[[2, 6, 10]])
    walked = follow(generator, walks, replay=True, num_context=4)
    for frame, pose in zip(walked.frames[0].numpy(), poses[[2, 6, 10]], strict=True):
        same_poses([PoseGenerator.read(frame).pose], [pose])  # height, pitch and roll, too
    assert (walked.indices[0, 1:, 0] == torch.tensor([9, 10])).all()  # what was left out before is remembered


def test_depth_is_estimated_where_a_capture_does_not_bring_all_of_it(capture):
    generator = PoseGenerator(SIZE, SIZE)
    generator.estimate_depth = lambda frames, poses, fov: torch.full(frames.shape[:3], 7.0)
    found = find_captures(capture)[0]
    assert (capture_walks(found, 4, generator).depth == 3.0).all()
    edit(capture, lambda content: content["frames"][0].pop("depth_file_path"))
    assert (capture_walks(found, 4, generator).depth[0, :9] == 7.0).all()


def test_depth_of_a_picture_that_is_left_out_changes_nothing(capture):
    generator, found = PoseGenerator(SIZE, SIZE), find_captures(capture)[0]
    edit(capture, lambda content: content.pop("auto_scale_poses_override"))
    whole = capture_walks(found, 4, generator)
    edit(capture, lambda content: content["frames"][2].pop("depth_file_path"))
    part = capture_walks(found, 4, generator)
    assert torch.equal(part.poses, whole.poses) and torch.equal(part.depth[:, :9], whole.depth[:, :9])


def test_a_painter_that_knows_the_truth_is_told_from_a_copy(capture):
    generator = PoseGenerator(SIZE, SIZE)
    walks = capture_walks(find_captures(capture)[0], 4, generator)
    now = iter([9, 10, 11, 9, 10, 11])
    plain = generator.generate

    def know(*arguments):
        view = plain(*arguments)
        view.frames = walks.frames[:, next(now)]
        return view

    generator.generate = know
    figures = measure_capture(generator, walks, 4)
    assert figures["replay_db"][0] > 70 and figures["rollout_db"][0] > 70 and figures["replay_ssim"][0] > 0.99


def test_from_the_command_line_and_gone_on_with(run, fail, tmp_path, untrained_model):
    picture = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(256, size=(90, 120, 3), dtype=np.uint8)).save(picture)
    for name in ("a", "b"):
        options = (
            "--image",
            picture,
            "--steps",
            7,
            "--height",
            SIZE,
            "--width",
            SIZE,
            "--out",
            tmp_path / "walls" / name,
        )
        results, _ = run("collect", *options)
        assert results["frames"] == 8 and results["image"] == str(picture)
    walls = tmp_path / "walls"
    assert not (walls / "a" / "depths").exists()
    found = open_capture(walls / "a")
    same_poses(found.poses, wall_path(open_image(picture), 100.0, 8, 1.0)[0])
    out = tmp_path / "results.json"
    command = ("evaluate", "--protocol", "capture", "--model", untrained_model, "--out", out)
    results, err = run(*command, "--captures", walls, "--sheet", tmp_path / "s.png")
    painters = [row["painter"] for row in results["figures"]]
    assert painters[:2] == ["generator", "copy_best"] and "| painter | replay, dB |" in err
    assert "2 captures, mean and 95 % interval over captures" in err
    assert (tmp_path / "s_painter_generator.png").is_file()
    whole = json.loads(out.read_text())
    assert whole["figures"][0]["values"]["replay_db"]["n"] == 2
    assert whole["scenes"]["captures"] == ["walls/a/transforms.json", "walls/b/transforms.json"]
    assert evaluate_captures([walls], str(untrained_model), out=out, quiet=True) == whole
    assert "holds results with scenes=" in fail(*command, "--captures", walls / "a")
    assert "captures is missing; protocol='capture' needs folders" in fail(*command)
    assert "turns=(90,) has no meaning for protocol='capture'" in fail(*command, "--captures", "a", "--turns", 90)
    assert "every=3 has no meaning for protocol='views'" in fail("evaluate", "--every", 3)
    (tmp_path / "empty").mkdir()
    assert "hold no captures; give folders" in fail(*command, "--captures", tmp_path / "empty")
    short = write_nerfstudio(tmp_path / "short", views(pictures(3)), path(3), 80.0)
    assert "has 3 pictures, 1 of which can be left out; expected at least 6" in fail(*command, "--captures", short)
    assert "scene=3 has no meaning with image" in fail("collect", "--image", picture, "--scene", 3, "--out", out)
    assert "scene is missing; give the seed of a scene" in fail("collect", "--out", tmp_path / "none")
