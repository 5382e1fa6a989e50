"""Walks out and back, and long ones: what perfect memory, noise and forgetting score."""

import math

import numpy as np
import pytest
import torch
from protocol_generators import SIZE, Noise, exact

from ctxmem_env.camera import wrap_angle
from ctxmem_env.evaluation.baselines import CopyGenerator
from ctxmem_env.evaluation.horizon import horizon_cases, measure_horizon
from ctxmem_env.evaluation.loop import loop_cases, measure_loop
from ctxmem_env.evaluation.metrics import appearance, depth_error, ssim
from ctxmem_env.evaluation.paths import out_and_back, turned, unseen_walk
from ctxmem_env.evaluation.visible import seeded_share
from ctxmem_env.scenes import build_scene, door_walk, is_free, spawn
from ctxmem_env.scenes.navigation import Ground

ROOMS = [1_000_000, 1_000_001]  # scenes of several rooms
SQUARE = 1_000_004  # a scene under the open sky


def door(scene, rng):
    return door_walk(scene, rng, most=14)


# Ways


def test_there_is_a_scene_of_each_kind():
    assert all(Ground(build_scene(seed)).doors for seed in ROOMS)
    assert not Ground(build_scene(SQUARE)).doors


@pytest.mark.parametrize("seed", ROOMS)
def test_a_way_through_a_door_is_free_and_ends_in_another_room(seed):
    scene = build_scene(seed)
    way = door_walk(scene, np.random.default_rng(seed))
    ground = Ground(scene)
    assert ground.room_of(*way[0, :2].tolist()) != ground.room_of(*way[-1, :2].tolist())
    assert is_free(scene, way[:, :2]).all() and len(way) <= 40
    assert way[:, :2].diff(dim=0).norm(dim=1).max() < 0.251
    assert wrap_angle(way[:, 3].diff()).abs().max() < math.radians(15.01)
    torch.testing.assert_close(door_walk(scene, np.random.default_rng(seed)), way)


@pytest.mark.parametrize("most", [16, 40])
def test_a_way_leaves_its_room_once_and_for_all(most):
    lengths = []
    for seed in ROOMS:
        scene = build_scene(seed)
        ground = Ground(scene)
        for number in range(4):
            way = door_walk(scene, np.random.default_rng(number), most)
            if way is not None:
                rooms = [ground.room_of(*place) for place in way[:, :2].tolist()]
                assert rooms[0] != rooms[-1] and rooms == sorted(rooms, key=lambda room: room != rooms[0])
                lengths.append(len(way))
    assert 0 < max(lengths) <= most


def test_under_the_open_sky_there_is_no_door():
    assert door_walk(build_scene(SQUARE), np.random.default_rng(0)) is None
    assert out_and_back([SQUARE], door_walk, 0, SIZE, SIZE) is None


def test_the_way_back_stands_where_the_way_out_did():
    loops = out_and_back([ROOMS[0], SQUARE, ROOMS[1]], door, 2, SIZE, SIZE)
    assert loops.rows == [0, 2] and loops.walks.seeds == ROOMS
    walk = loops.walks.poses[:, 2:]  # from the first frame on
    frames = loops.walks.frames[:, 2:]
    for world, n in enumerate(loops.lengths):
        for t in range(n, 2 * n + 1):
            assert torch.equal(walk[world, t], walk[world, 2 * n - t])
            assert torch.equal(frames[world, t], frames[world, 2 * n - t])
        assert (walk[world, 2 * n :] == walk[world, 0]).all()
    assert loops.walks.seeded == 3 and walk.shape[1] == 2 * max(loops.lengths) + 1


def test_a_walk_on_to_the_unseen_turns_round_and_goes_where_it_is_free():
    scene = build_scene(ROOMS[0])
    walk = unseen_walk(scene, np.random.default_rng(3), 12)
    assert walk.shape == (25, 6)
    assert (walk[:13, :2] == walk[0, :2]).all() and (walk[12:, 3] == walk[12, 3]).all()
    assert wrap_angle(walk[12, 3] - walk[0, 3]).abs() == pytest.approx(math.pi, abs=1e-4)
    assert is_free(scene, walk[:, :2]).all()
    steps = walk[12:, :2].diff(dim=0)
    torch.testing.assert_close(steps, steps[0] * torch.ones(12, 1), atol=1e-5, rtol=0)
    assert steps[0] @ torch.stack([walk[12, 3].cos(), walk[12, 3].sin()]) == pytest.approx(0.25, abs=1e-4)


def test_frames_show_their_own_view_and_nothing_of_what_is_behind_them():
    def turn(scene, rng):
        return turned(spawn(scene, rng), 12)

    loops = out_and_back(ROOMS[:1], turn, 0, 32, 32)
    shares = seeded_share(loops.walks, 0)
    assert shares[-1] > 0.99 and shares[11] == 0  # back at the first frame, and turned away from it
    assert (shares[:6].diff() < 0).all() and (shares[6:17] < 0.05).all()


# Loop


def test_a_perfect_generator_scores_as_high_as_there_is():
    for path in ("turn 60", "room"):
        found = measure_loop(exact(ROOMS), ROOMS, path, tour=3)
        assert min(found["own_db"]) > 60 and min(found["true_db"]) > 60
        assert min(found["own_ssim"]) > 0.999 and min(found["true_ssim"]) > 0.999
        assert max(found["depth_error"]) < 1e-3


def test_remembered_noise_is_consistent_and_forgotten_noise_is_not():
    remembered = measure_loop(Noise(), ROOMS, "turn 180", tour=0)
    forgotten = measure_loop(Noise(remembers=False), ROOMS, "turn 180", tour=0)
    assert min(remembered["own_db"]) > 60 and min(remembered["own_ssim"]) > 0.99
    assert max(forgotten["own_db"]) < 12 and max(forgotten["own_ssim"]) < 0.2


def test_only_views_that_true_frames_showed_are_compared_with_the_truth():
    noise = measure_loop(Noise(), ROOMS, "turn 90", tour=0)
    assert min(noise["true_db"]) > 60  # the first frame alone, which is remembered
    toured = measure_loop(Noise(), ROOMS, "turn 90", tour=7)
    assert max(toured["true_db"]) < 40 and min(toured["depth_error"]) > 0.02


def test_a_scene_without_a_door_has_no_figures_of_that_way():
    found = measure_loop(Noise(), [SQUARE, ROOMS[0]], "room", tour=0)
    assert all(values[0] is None and values[1] is not None for name, values in found.items() if name != "_sheet")
    assert len(found["_sheet"]) == 2


def test_cases_are_all_ways_after_all_tours():
    cases = loop_cases(turns=(90,), tours=(12, 0))
    assert [(case["path"], case["tour"]) for case in cases] == [
        ("turn 90", 12),
        ("turn 90", 0),
        ("room", 12),
        ("room", 0),
    ]


def test_another_way_is_refused():
    for path in ("turn", "turn left", "walk 3"):
        with pytest.raises(ValueError, match=f"path='{path}'; expected 'room', or 'turn' and degrees"):
            measure_loop(Noise(), ROOMS, path, tour=0)


# Horizon


def test_a_perfect_generator_is_as_good_at_every_age():
    found = measure_horizon(exact(ROOMS), ROOMS, steps=60, tour=2, revisits=8)
    for name in ("own_db", "own_db_age_10", "own_db_age_30", "true_db", "first_db"):
        assert min(found[name]) > 60, name
    assert "own_db_age_100" not in found
    for age in (10, 30):
        assert found[f"gradient_age_{age}"] == pytest.approx(found[f"gradient_true_age_{age}"], rel=0.02)
        assert found[f"gradient_ratio_age_{age}"] == pytest.approx([1, 1], abs=0.02)
    assert found["gradient_ratio"] == pytest.approx([1, 1], abs=0.01) and max(found["colour_distance"]) < 0.01


def test_how_far_true_frames_are_from_one_another_does_not_depend_on_who_paints():
    perfect, noise = (measure_horizon(who, ROOMS, steps=60, tour=0, revisits=4) for who in (exact(ROOMS), Noise()))
    for name in ("spread_gradient_ratio", "spread_contrast_ratio", "spread_colour_distance"):
        assert perfect[name] == noise[name] and not np.allclose(perfect[name], perfect[name.removeprefix("spread_")])
    assert all(0 < distance < 1 for distance in perfect["spread_colour_distance"])


def test_a_generator_that_stands_still_is_consistent_and_wrong():
    found = measure_horizon(CopyGenerator("newest", SIZE, SIZE), ROOMS, steps=40, tour=0, revisits=6)
    assert min(found["own_db"]) > 70 and max(found["first_db"]) < 25 and max(found["true_db"]) < 25


class Drifting(Noise):
    """Paints one colour, a little brighter every time."""

    calls = 0

    def generate(self, poses, context, fov, num_steps, generators):
        view = super().generate(poses, context, fov, num_steps, generators)
        self.calls += 1
        view.frames.fill_(self.calls)
        return view


def test_revisits_are_grouped_by_their_age():
    found = measure_horizon(Drifting(), ROOMS, steps=60, tour=0, revisits=8)
    assert min(found["own_db_age_10"]) > max(found["own_db_age_30"]) + 3


def test_the_age_of_a_look_counts_the_looks_before_it():
    # What is painted grows by one a call, so the difference of two looks is their age.
    found = measure_horizon(Drifting(), ROOMS, steps=60, tour=0, revisits=8)
    for age in (10, 30):
        (mean, _), (db, _) = found[f"age_age_{age}"], found[f"own_db_age_{age}"]
        assert 255 / 10 ** (db / 20) == pytest.approx(mean, rel=0.06)


def test_what_is_forgotten_is_another_at_the_second_look():
    found = measure_horizon(Noise(remembers=False), ROOMS, steps=20, tour=0, revisits=4)
    assert max(found["own_db"]) < 12


def test_noise_that_is_remembered_looks_like_noise():
    found = measure_horizon(Noise(), ROOMS, steps=40, tour=0, revisits=6)
    assert min(found["own_db"]) > 60 and max(found["true_db"]) < 12
    assert min(found["gradient_ratio"]) > 3 and min(found["colour_distance"]) > 0.5


def test_a_walk_too_short_to_come_back_is_refused():
    with pytest.raises(ValueError, match=r"steps=19 is out of range; expected an integer in \[20, 10000\]"):
        measure_horizon(Noise(), ROOMS, steps=19, tour=0)


def test_each_horizon_has_a_case():
    assert [case["steps"] for case in horizon_cases(horizons=(20, 50), tours=(0,))] == [20, 50]


# Metrics


def test_ssim_is_one_for_equal_frames_and_falls_with_noise():
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(60, 190, (2, 16, 16, 3), generator=generator, dtype=torch.uint8)
    noisy = frames + torch.randint(0, 60, frames.shape, generator=generator, dtype=torch.uint8)
    assert ssim(frames, frames).tolist() == pytest.approx([1, 1], abs=1e-4)
    assert ssim(noisy, frames).shape == (2,) and ssim(noisy, frames).max() < 0.95


def test_depth_error_is_the_median_of_relative_errors():
    truth = torch.tensor([1.0, 2.0, 4.0, 10.0, 10.0])
    assert depth_error(truth * torch.tensor([1.0, 1.1, 0.8, 1.2, 5.0]), truth) == pytest.approx(0.2, abs=1e-4)
    assert math.isnan(depth_error(truth[:0], truth[:0]))


def test_appearance_tells_fog_from_noise():
    true = torch.arange(16, dtype=torch.uint8).view(1, 1, 16, 1).expand(2, 16, 16, 3) * 8
    assert appearance(true, true) == {"gradient_ratio": 1, "contrast_ratio": 1, "colour_distance": 0}
    fog = appearance(true // 2, true)
    assert fog["gradient_ratio"] == pytest.approx(0.5) and fog["contrast_ratio"] == pytest.approx(0.5, abs=0.01)
    mixed = appearance(true[:, :, torch.arange(16).view(2, 8).T.flatten()], true)
    assert mixed["gradient_ratio"] > 2 and mixed["contrast_ratio"] == pytest.approx(1)
    other = appearance(255 - true, true)
    assert other["gradient_ratio"] == pytest.approx(1) and other["colour_distance"] == 1
