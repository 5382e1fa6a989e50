"""Finding a view again: what a later frame still shows where it was."""

import math

import numpy as np
import pytest
import torch

from ctxmem_env.camera import DEFAULT_FOV, move
from ctxmem_env.scenes import build_scene, render, spawn, stack_scenes
from ctxmem_env.tasks.landmarks import NUMBER, found_again, mark

SCENES = (3, 4, 5, 6)
FOV = torch.full((len(SCENES),), DEFAULT_FOV)


@pytest.fixture(scope="module")
def places():
    """Scenes, a free pose in each, and what is seen from there."""
    scenes = [build_scene(seed) for seed in SCENES]
    poses = torch.stack([spawn(scene, np.random.default_rng(seed)) for seed, scene in zip(SCENES, scenes, strict=True)])
    return stack_scenes(scenes), poses, see(stack_scenes(scenes), poses)


def see(scenes, poses):
    frames, depth = render(scenes, poses[:, None], DEFAULT_FOV, 64, 64)
    return frames[:, 0], depth[:, 0]


def moved(poses, *motion):
    return move(poses, torch.tensor([motion], dtype=torch.float32))


def test_a_view_is_found_again_from_where_it_was_seen_and_from_near_by(places):
    scenes, poses, (frames, depth) = places
    marks = mark(frames, depth, poses, FOV)
    assert marks.points.shape == (len(SCENES), NUMBER**2, 3)
    assert (found_again(marks, frames, depth, poses) == 1).all()
    for motion in ((-0.3, 0.2, 0, 0), (0, 0, math.radians(25), 0), (-0.2, 0, 0, math.radians(-20))):
        near = moved(poses, *motion)
        assert (found_again(marks, *see(scenes, near), near) > 0.7).all()


def test_another_place_is_not_taken_for_it_wherever_it_stands(places):
    _, poses, (frames, depth) = places
    marks = mark(frames, depth, poses, FOV)
    assert (found_again(marks, frames.roll(1, 0), depth.roll(1, 0), poses) < 0.5).all()


@pytest.mark.parametrize("part", ["colour", "distance"])
def test_colour_and_distance_both_count(places, part):
    _, poses, (frames, depth) = places
    marks = mark(frames, depth, poses, FOV)
    frames, depth = (frames + 128, depth) if part == "colour" else (frames, depth * 1.3)
    assert (found_again(marks, frames, depth, poses) < 0.2).all()


def test_who_looks_the_other_way_finds_nothing(places):
    scenes, poses, (frames, depth) = places
    marks = mark(frames, depth, poses, FOV)
    away = moved(poses, 0, 0, math.pi, 0)
    assert (found_again(marks, *see(scenes, away), away) == 0).all()


def test_each_view_has_a_field_of_view_of_its_own(places):
    _, poses, (frames, depth) = places
    together = mark(frames, depth, poses, torch.tensor([60.0, 75.0, 90.0, 100.0]))
    alone = mark(frames[1:2], depth[1:2], poses[1:2], torch.tensor([75.0]))
    torch.testing.assert_close(together.points[1:2], alone.points)
    assert (found_again(together, frames, depth, poses) == 1).all()
