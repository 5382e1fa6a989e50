"""Depth of single frames from outside, and the disguised frames that teach it."""

import hashlib
import json

import numpy as np
import pytest
import torch

from ctxmem_env.camera import DEFAULT_FOV, pixel_rays
from ctxmem_env.generator.frame_depth import WEIGHTS, FrameDepth, agree_on_turns, depth_of_frames, load_frame_depth
from ctxmem_env.scenes import HELD_OUT_STYLES, build_scene, is_free, render, spawn, stack_scenes, tour
from ctxmem_env.training import frame_depth
from ctxmem_env.training.frame_depth import DisguisedFrames, depth_loss, disguise, train_frame_depth


def turn(seed, views=8, size=64, style=None):
    """Frames, true depth and poses of a turn on the spot in a validation scene."""
    scene = build_scene(seed, style)
    rng = np.random.default_rng(seed)
    poses = tour(scene, views, rng, spawn(scene, rng)).float()
    frames, depth = render(stack_scenes([scene]), poses[None], DEFAULT_FOV, size, size)
    return frames[0], depth[0].clamp(max=60), poses


def median_error(found, true):
    return (found / true).log().abs().median().item()


@pytest.fixture(scope="module")
def network():
    return load_frame_depth()


@pytest.mark.parametrize("size", [64, 96])
def test_frames_of_validation_scenes_have_about_their_true_depth(network, size):
    errors = []
    for seed in range(1_000_100, 1_000_108):
        frames, depth, poses = turn(seed, size=size)
        found, doubt = depth_of_frames(network, frames, poses, torch.full((8,), DEFAULT_FOV))
        assert doubt.shape == depth.shape
        assert found.shape == depth.shape and bool((found > 0).all())
        errors.append(median_error(found, depth))
    assert np.median(errors) < 0.15


def test_a_narrower_lens_makes_the_same_picture_further_away(network):
    frames, _, poses = turn(1_000_110)
    wide, narrow = (depth_of_frames(network, frames, poses, torch.full((8,), fov))[0].median() for fov in (90.0, 60.0))
    assert narrow > 1.15 * wide


def test_frames_that_are_not_square_keep_their_shape(network):
    frames, _, poses = turn(1_000_111)
    assert depth_of_frames(network, frames[:, 8:-8], poses, torch.full((8,), DEFAULT_FOV))[0].shape == (8, 48, 64)


def test_frames_of_one_place_help_each_other_and_those_of_other_places_do_not(network):
    apart, together = [], []
    for seed in range(1_000_120, 1_000_128):
        frames, depth, poses = turn(seed)
        fov, elsewhere = torch.full((8,), DEFAULT_FOV), poses.clone()
        elsewhere[:, 0] += 5.0 * torch.arange(8)
        single = torch.cat(
            [depth_of_frames(network, *(part[i : i + 1] for part in (frames, poses, fov)))[0] for i in range(8)]
        )
        torch.testing.assert_close(depth_of_frames(network, frames, elsewhere, fov)[0], single, rtol=1e-3, atol=1e-3)
        apart.append(median_error(single, depth))
        together.append(median_error(depth_of_frames(network, frames, poses, fov)[0], depth))
    assert np.mean(together) < 0.9 * np.mean(apart)


def test_only_how_a_frame_is_turned_towards_the_others_matters(network):
    """A turn of the whole world about the vertical, and the place of it, change little."""
    frames, depth, poses = turn(1_000_130)
    moved = poses + torch.tensor([30.0, -20.0, 0.0, 2.0, 0.0, 0.0])
    found, other = (depth_of_frames(network, frames, p, torch.full((8,), DEFAULT_FOV))[0] for p in (poses, moved))
    assert median_error(found, other) < 0.3 * median_error(found, depth)


def test_frames_from_one_place_agree_on_what_they_see_of_the_same():
    poses = torch.zeros(8, 6)
    poses[:, 3] = torch.arange(8) * (2 * np.pi / 8)
    fov = torch.full((8,), DEFAULT_FOV)
    sphere = 2 / pixel_rays(32, 32, DEFAULT_FOV).norm(dim=-1)  # of two metres around the place
    wrong = torch.tensor([0.8, 1.25] * 4)[:, None, None] * sphere
    found = agree_on_turns(wrong, torch.zeros_like(wrong), poses, fov)
    assert (found / sphere).log().abs().mean() < 0.6 * (wrong / sphere).log().abs().mean()


def test_a_frame_that_doubts_gives_way_to_those_beside_it():
    poses = torch.zeros(8, 6)
    poses[:, 3] = torch.arange(8) * (2 * np.pi / 8)
    sphere = 2 / pixel_rays(32, 32, DEFAULT_FOV).norm(dim=-1)
    wrong, doubt = sphere.repeat(8, 1, 1), torch.full((8, 32, 32), -2.5)
    wrong[3] *= 0.3
    doubt[3] = 0.0
    found = agree_on_turns(wrong, doubt, poses, torch.full((8,), DEFAULT_FOV))
    assert median_error(found[3], sphere) < 0.1 and median_error(found, sphere.expand(8, -1, -1)) < 0.05


def test_true_depth_is_agreed_upon_already():
    scene = build_scene(1_000_113)
    rng = np.random.default_rng(0)
    poses = spawn(scene, rng).repeat(8, 1).float()
    poses[:, 3] += torch.arange(8) * (2 * np.pi / 8)
    depth = render(stack_scenes([scene]), poses[None], DEFAULT_FOV, 64, 64)[1][0]
    found = agree_on_turns(depth, torch.zeros_like(depth), poses, torch.full((8,), DEFAULT_FOV))
    assert median_error(found, depth) < 0.01


def test_frames_from_places_apart_keep_their_estimates():
    poses = torch.zeros(3, 6)
    poses[:, 0] = torch.arange(3)
    depth = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) + 1
    torch.testing.assert_close(agree_on_turns(depth, torch.zeros_like(depth), poses, torch.full((3,), 80.0)), depth)


def test_a_file_that_holds_other_weights_is_named(tmp_path):
    path = tmp_path / "depth.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"holds no weights of FrameDepth .*training\.frame_depth"):
        load_frame_depth(path)


def test_the_packaged_weights_are_small_and_those_of_their_card():
    assert WEIGHTS.stat().st_size < 8_000_000
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() in (WEIGHTS.parent / "README.md").read_text()


def test_what_was_mirrored_is_still_a_turn_on_the_spot():
    """Frames of a place see the same where they overlap, so their depth agrees already."""
    turns = 0
    for number in range(2):
        batch = DisguisedFrames(1)[number]
        for log_depth, poses, spread in zip(batch["log_depth"], batch["poses"], batch["spread"], strict=True):
            if not (poses[:, :3] == poses[0, :3]).all():
                continue
            turns += 1
            depth, fov = log_depth.exp(), torch.rad2deg(2 * spread[:, 0].atan())
            assert median_error(agree_on_turns(depth, torch.zeros_like(depth), poses, fov), depth) < 0.03
    assert turns >= 4


@pytest.mark.parametrize("disguised", [False, True])
def test_a_batch_is_a_function_of_its_number(disguised):
    one, other = DisguisedFrames(0, disguised=disguised)[3], DisguisedFrames(0, disguised=disguised)[3]
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["pictures"], DisguisedFrames(0, disguised=disguised)[4]["pictures"])
    assert one["pictures"].shape == (8, 8, 3, 64, 64) and one["log_depth"].shape == (8, 8, 64, 64)
    assert one["pictures"].abs().max() <= 1 and one["log_depth"].isfinite().all()


def test_a_disguise_leaves_cameras_in_free_places_and_no_texture_of_a_style_that_is_held_out():
    held_out = {int(index) for style in HELD_OUT_STYLES for index in build_scene(7, style).material_texture}
    trained = {int(index) for seed in range(60) for index in build_scene(seed).material_texture}
    for seed in range(20):
        scene, rng = build_scene(seed), np.random.default_rng(seed)
        poses = spawn(scene, rng).repeat(3, 1).float()
        other, moved = disguise(scene, poses, rng)
        assert is_free(other, moved[:, :2], radius=0.1).all()
        assert not {int(index) for index in other.material_texture} & (held_out - trained)


def test_the_loss_is_least_for_the_true_depth_and_sees_edges():
    true = torch.zeros(2, 64, 64)
    edge = true.clone()
    edge[:, :, 32:] = 0.1
    sure = torch.zeros_like(true)
    assert depth_loss(true, sure, true) == 0 < depth_loss(true + 0.05, sure, true) < depth_loss(edge, sure, true)


def test_doubt_pays_where_errors_are_large_and_costs_where_they_are_small():
    true = torch.zeros(2, 64, 64)
    little, much = torch.full_like(true, -2.0), torch.full_like(true, 0.0)
    assert depth_loss(true + 1, much, true) < depth_loss(true + 1, little, true)
    assert depth_loss(true + 0.05, little, true) < depth_loss(true + 0.05, much, true)


@pytest.mark.slow
def test_training_writes_weights_that_load(tmp_path, monkeypatch):
    monkeypatch.setattr(frame_depth, "_SCENES", 2)
    told = train_frame_depth(
        tmp_path / "new" / "depth.safetensors", steps=3, workers=0, validation_batches=1, quiet=True
    )
    assert json.loads(json.dumps(told)).keys() == {"out", "steps", "plain_error", "disguised_error"}
    weights = load_frame_depth(told["out"]).state_dict()
    first = FrameDepth().state_dict()
    assert weights.keys() == first.keys() and not torch.equal(weights["stem.weight"], first["stem.weight"])
    # And goes on from them.
    options = {"steps": 1, "workers": 0, "learning_rate": 0.0, "validation_batches": 1, "quiet": True}
    again = train_frame_depth(tmp_path / "again.safetensors", init=told["out"], **options)
    for name, value in load_frame_depth(again["out"]).state_dict().items():
        torch.testing.assert_close(value, weights[name], atol=1e-3, rtol=1e-3)
