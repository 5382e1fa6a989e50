"""Depth of frames from outside, by the parallax between their cameras."""

import numpy as np
import pytest
import torch

from ctxmem_env.camera import DEFAULT_FOV, pixel_rays
from ctxmem_env.generator import load_generator, pipeline
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.stereo import FURTHEST, refine_depth
from ctxmem_env.scenes import build_scene, render, spawn, stack_scenes

SIZE, FOV = 32, torch.full((5,), DEFAULT_FOV)


def wall(distance, plain=False, step=0.3, size=SIZE):
    """Frames of a wall that is painted with soft spots, seen from five places side by side, and their poses."""
    poses = torch.zeros(5, 6)
    poses[:, 1] = step * torch.arange(5)
    rays = pixel_rays(size, size, DEFAULT_FOV)
    side, up = poses[:, 1, None, None] - distance * rays[..., 0], -distance * rays[..., 1].expand(5, -1, -1)
    waves = [(side * a + up * b).sin() for a, b in ((3.1, 1.3), (-1.7, 4.3), (5.3, -2.9))]
    frames = (torch.stack(waves, dim=-1) * 60 + 128).to(torch.uint8)
    return (torch.full_like(frames, 90) if plain else frames), poses


@pytest.mark.parametrize("distance", [1.5, 4.0])
@pytest.mark.parametrize("wrong", [0.6, 1.0, 1.6])
def test_a_wall_lies_where_its_parallax_says_whatever_was_estimated(distance, wrong):
    frames, poses = wall(distance)
    found = refine_depth(frames, torch.full((5, SIZE, SIZE), wrong * distance), poses, FOV)
    error = (found / distance).log().abs()
    assert error.median() < 0.03 and (error < 0.1).float().mean() > 0.9


def test_the_more_frames_show_a_pale_wall_the_less_the_estimate_counts():
    frames, poses = wall(2.0)
    pale = ((frames.float() - 128) * 0.1 + 128).to(torch.uint8)

    def error(rows):
        found = refine_depth(pale[rows], torch.full((len(rows), SIZE, SIZE), 3.2), poses[rows], FOV[rows])
        return (found[rows.index(2)] / 2).log().abs().median()

    assert error([1, 2]) > 0.4 and error([0, 1, 2, 3, 4]) < 0.1


@pytest.mark.parametrize("estimate", [1.0, 3.0])
def test_where_nothing_can_be_told_apart_the_estimate_stays(estimate):
    frames, poses = wall(2.0, plain=True)
    found = refine_depth(frames, torch.full((5, SIZE, SIZE), estimate), poses, FOV)
    assert (found / estimate).log().abs().max() < 0.05


def test_frames_from_one_place_keep_their_estimate_to_the_bit():
    frames, poses = wall(2.0, step=0.0)
    poses[:, 3] = 0.3 * torch.arange(5)
    estimate = torch.rand(5, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) + 1
    assert torch.equal(refine_depth(frames, estimate, poses, FOV), estimate)


def test_many_frames_from_one_place_far_from_the_origin_keep_their_estimate_to_the_bit():
    frames, poses = (part.repeat(6, *[1] * (part.dim() - 1)) for part in wall(2.0, step=0.0))
    rng = torch.Generator().manual_seed(0)
    poses[:, :3] = torch.tensor([5000.3, 7000.7, 1.5]) + 0.003 * torch.randn(30, 3, generator=rng)
    poses[:, 3] = 0.1 * torch.arange(30)
    estimate = torch.rand(30, SIZE, SIZE, generator=rng) + 1
    assert torch.equal(refine_depth(frames, estimate, poses, FOV[:1].expand(30)), estimate)


def test_what_is_further_than_all_depths_that_are_tried_keeps_its_estimate():
    far = 3 * FURTHEST
    frames, poses = wall(far, plain=True)
    found = refine_depth(frames, torch.full((5, SIZE, SIZE), far), poses, FOV)
    torch.testing.assert_close(found, torch.full_like(found, far))


def test_more_frames_than_are_smoothed_at_once_are_as_good():
    frames, poses = wall(2.0)
    estimate, fov = torch.full((20, SIZE, SIZE), 2.6), torch.full((20,), DEFAULT_FOV)
    found = refine_depth(frames.repeat(4, 1, 1, 1), estimate, poses.repeat(4, 1), fov)
    assert (found / 2.0).log().abs().median() < 0.05


def test_rooms_are_nearer_to_the_truth_than_the_network_alone_has_them(monkeypatch):
    """Eight views of rooms of the validation split each, from places a quarter of a metre apart and more."""
    generator, fov = SceneGenerator(load_generator("nano").transformer), torch.full((8,), DEFAULT_FOV)
    rooms = []
    for seed in range(1_000_003, 1_000_007):
        scene = build_scene(seed)
        start = spawn(scene, np.random.default_rng(0))
        poses = start.repeat(8, 1)
        poses[:, 3] = start[3] + 0.2 * torch.arange(8)
        poses[:, :2] = start[:2] + 0.25 * torch.tensor([[i % 3, i // 3] for i in range(8)])
        frames, depth = render(stack_scenes([scene]), poses[None], DEFAULT_FOV, 64, 64)
        rooms.append((frames[0], poses, depth[0]))

    def error():
        found = [generator.estimate_depth(frames, poses, fov) for frames, poses, _ in rooms]
        errors = [(one / depth).log().abs().median() for one, (_, _, depth) in zip(found, rooms, strict=True)]
        return float(torch.stack(errors).mean())

    together = error()
    monkeypatch.setattr(pipeline, "refine_depth", lambda frames, depth, poses, fov: depth)
    assert together < 0.07 and 1.25 * together < error()


def test_the_same_frames_are_compared_once(monkeypatch):
    calls = []
    monkeypatch.setattr(pipeline, "refine_depth", lambda *seen: calls.append(1) or refine_depth(*seen))
    generator = SceneGenerator(load_generator("nano").transformer)
    frames, poses = wall(2.0, size=64)
    first = generator.estimate_depth(frames, poses, FOV)
    again = generator.estimate_depth(frames.clone(), poses.clone(), FOV)
    assert torch.equal(first, again) and len(calls) == 1
    again.zero_()
    assert torch.equal(generator.estimate_depth(frames, poses, FOV), first)
    assert not torch.equal(generator.estimate_depth(255 - frames, poses, FOV), first) and len(calls) == 2
