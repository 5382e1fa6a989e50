"""The protocol of close-ups: walks that end before a surface, and pixels by how much nearer they have come."""

import math

import numpy as np
import pytest
import torch
from protocol_generators import SIZE, Noise, exact

from ctxmem_env.actions import STEP_LENGTH
from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.evaluation.close_ups import NEARER, _times_nearer, _walks, close_ups_cases, measure_close_ups
from ctxmem_env.evaluation.paths import up_to_a_surface
from ctxmem_env.scenes import build_scene, render, split_seeds, stack_scenes

SEEDS = split_seeds("test", 4)


def shares(found):
    return torch.tensor(found["pixel_share"])


def test_a_walk_goes_straight_ahead_and_ends_right_before_what_stands_there():
    for seed in SEEDS:
        scene = build_scene(seed)
        poses = up_to_a_surface(scene, np.random.default_rng(seed), 16)
        steps = poses.diff(dim=0)
        ahead = torch.stack([poses[0, 3].cos(), poses[0, 3].sin()])
        torch.testing.assert_close(steps[:, :2], steps[:1, :2].expand(16, 2), atol=1e-4, rtol=0)
        assert (steps[:, 2:] == 0).all() and steps[0, :2] @ ahead > 0.99 * steps[0, :2].norm()
        assert 1.5 < steps[:, :2].norm(dim=1).sum() <= 16 * STEP_LENGTH + 1e-4
        _, depth = render(stack_scenes([scene]), poses[None, -1:].float(), DEFAULT_FOV, 32, 32)
        # What stopped the body touches it anywhere from its feet to its head, 0.2 m before the camera.
        assert depth.min() < 0.8


def test_groups_are_of_the_same_pixels_for_every_generator_and_fill_what_the_opening_saw():
    noise = {name: measure_close_ups(Noise(), SEEDS[:2], 3, name) for name in NEARER}
    true = {name: measure_close_ups(exact(SEEDS[:2]), SEEDS[:2], 3, name) for name in NEARER}
    for name in NEARER:
        assert torch.equal(shares(noise[name]), shares(true[name]))
        assert all(value > 70 for value in true[name]["true_db"] if value is not None)
        assert all(value < 12 for value in noise[name]["true_db"] if value is not None)
    total = sum(shares(found) for found in noise.values())
    assert (total <= 1).all() and (total > 0.4).all()
    assert all(share > 0 for share in noise["more than 2.5"]["pixel_share"])


def test_pixels_come_as_much_nearer_as_the_camera_has_walked():
    walks = _walks(SEEDS[:1], 0, Noise())
    times = _times_nearer(walks)[0]
    middle = slice(SIZE // 2 - 1, SIZE // 2 + 1)
    before, after = walks.depth[0, 0, middle, middle].mean(), walks.depth[0, 4, middle, middle].mean()
    assert times[3, middle, middle].mean() == pytest.approx((before / after).item(), rel=0.05)
    assert times[0].nanmedian() < times[4].nanmedian() < times[8].nanmedian()
    assert times[~times.isnan()].max() <= math.e + 1e-4


def test_a_group_without_pixels_has_no_figure(monkeypatch):
    monkeypatch.setitem(NEARER, "none", (100.0, 101.0))
    found = measure_close_ups(Noise(), SEEDS[:2], 0, "none")
    assert found["true_db"] == [None, None] and found["pixel_share"] == [0.0, 0.0]


def test_cases_are_all_groups_for_each_tour_and_an_unknown_one_is_refused():
    assert [(case["tour"], case["nearer"]) for case in close_ups_cases((3,))] == [(3, name) for name in NEARER]
    with pytest.raises(ValueError, match=r"nearer='up to 1' is unknown"):
        measure_close_ups(Noise(), SEEDS[:2], 0, "up to 1")
