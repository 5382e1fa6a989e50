"""Occlusion, retrieval and sampling: strategies and painters differ as they must."""

import math

import pytest
import torch
from protocol_generators import SIZE, Noise, exact

from ctxmem_env.evaluation.baselines import WarpGenerator
from ctxmem_env.evaluation.occlusion import measure_occlusion, occlusion_cases
from ctxmem_env.evaluation.paths import around_a_wall
from ctxmem_env.evaluation.protocols import follow, true_walks
from ctxmem_env.evaluation.retrieval import measure_retrieval, retrieval_cases
from ctxmem_env.evaluation.sampling import measure_sampling, sampling_cases
from ctxmem_env.evaluation.visible import shown, shown_by_context
from ctxmem_env.generator import Context, Generator
from ctxmem_env.retrieval import RETRIEVAL
from ctxmem_env.scenes import build_scene
from ctxmem_env.scenes.navigation import Ground

ROOMS = [1_000_000, 1_000_001]
SQUARE = 1_000_004  # under the open sky


@pytest.fixture(scope="module")
def wall():
    return around_a_wall(ROOMS, tour_frames=4, other_frames=6, height=SIZE, width=SIZE)


# Visibility


def test_the_two_places_are_in_different_rooms_and_hidden_from_each_other(wall):
    for seed, poses, depth in zip(ROOMS, wall.walks.poses, wall.walks.depth, strict=True):
        ground = Ground(build_scene(seed))
        other, start = poses[4, :2], poses[10, :2]
        assert ground.room_of(*start.tolist()) != ground.room_of(*other.tolist())
        assert 1.4 < (start - other).norm() < 4.7
        facing = poses[10 + 12]  # half a turn after the first frame
        straight = torch.atan2(other[1] - facing[1], other[0] - facing[0])
        assert (facing[3] - straight + math.pi).remainder(2 * math.pi).sub(math.pi).abs() < math.radians(10)
        middle = depth[10 + 12, SIZE // 2 - 1 : SIZE // 2 + 1, SIZE // 2 - 1 : SIZE // 2 + 1]
        assert middle.max() < (start - other).norm()


def test_there_is_no_wall_under_the_open_sky():
    assert around_a_wall([SQUARE], 2, 2, SIZE, SIZE) is None
    found = measure_occlusion(Noise(), [SQUARE, ROOMS[0]], "recent", tour=0, other_frames=2)
    assert found["wall_db"][0] is None and found["wall_db"][1] is not None


def test_a_frame_shows_itself_and_no_frame_behind_a_wall_shows_the_wall(wall):
    walks = wall.walks
    view = walks.depth[0, 22:23], walks.poses[0, 22:23]
    frames = torch.tensor([22, 10, 4, 5, 6, 7, 8, 9])
    share = shown(*view, walks.depth[0, frames], walks.poses[0, frames])[0].float().mean((1, 2))
    assert share[0] > 0.99 and share[1] == 0  # itself, and the view away from the wall
    assert share[2:].max() < 0.5  # what they see through doors at most


def test_empty_slots_show_nothing(wall):
    walked = follow(Noise(), wall.walks, replay=True, num_context=4, retrieval="recent")
    walked.indices[0, :, 2:] = -1
    seen = shown_by_context(wall.walks, walked, 0)
    assert seen.shape == (24, 4, SIZE, SIZE)
    assert not seen[:, 2:].any() and seen[:, 0].float().mean() > 0.5


def test_what_the_context_shows_is_told_for_each_step(wall):
    walks = wall.walks
    walked = follow(Noise(), walks, replay=True, num_context=2, retrieval="recent")
    seen = shown_by_context(walks, walked, 1)
    for step in (0, 7):
        now, newest = slice(walks.seeded + step, walks.seeded + step + 1), walks.seeded + step - 1
        frames = torch.tensor([newest, newest - 1])
        view = walks.depth[1, now], walks.poses[1, now]
        assert torch.equal(seen[step], shown(*view, walks.depth[1, frames], walks.poses[1, frames])[0])


# Occlusion


def test_strategies_differ_in_what_they_choose_and_only_in_that():
    found = {
        name: measure_occlusion(exact(ROOMS), ROOMS, name, tour=7, num_context=4, other_frames=12)
        for name in ("fov", "fov_random", "random", "first", "none")
    }
    means = {name: torch.tensor(values["wrong_share"]).mean().item() for name, values in found.items()}
    assert means["fov"] < means["fov_random"] < means["random"] + 0.2 and means["first"] > 0.8
    assert math.isnan(means["none"])  # no frame was chosen, so none was wrong
    shares = {name: torch.tensor(values["shown_share"]).mean().item() for name, values in found.items()}
    assert shares["fov"] > shares["fov_random"] > shares["first"] and shares["none"] == 0
    # The exact renderer needs no memory: its frames are the same whatever was chosen.
    assert all(min(values["wall_db"] + values["open_db"]) > 60 for values in found.values())


def test_by_default_every_strategy_is_measured():
    assert {case["retrieval"] for case in occlusion_cases()} == set(RETRIEVAL)
    assert [case["retrieval"] for case in occlusion_cases(("fov", "recent"))] == ["fov", "recent"]


# Retrieval


def test_cases_are_strategies_context_sizes_and_painters():
    cases = retrieval_cases(("fov", "recent"), contexts=(1, 8, 20), num_context=8, tours=(12,))
    assert [(case["retrieval"], case["context"], case["painter"]) for case in cases] == [
        ("fov", 8, "generator"),
        ("recent", 8, "generator"),
        ("fov", 1, "generator"),
        ("fov", 20, "generator"),
        ("fov", 8, "copy_best"),
        ("fov", 8, "copy_newest"),
        ("fov", 8, "warp"),
        ("fov", 8, "splat"),
        ("recent", 13, "packed"),
    ]


def measured(retrieval="fov", context=8, painter="generator", tour=0, steps=12, generator=None):
    return measure_retrieval(generator or exact(ROOMS), ROOMS, retrieval, context, painter, tour, steps)


def test_a_perfect_generator_scores_as_high_as_there_is():
    found = measured("none", 1)
    assert min(found["replay_db"] + found["loop_db"] + found["true_db"]) > 60 and len(found["steps_per_second"]) == 1


def test_what_is_not_retrieved_is_not_remembered():
    """A generator that knows only its context comes back to where it was if the strategy finds the way."""
    found = {name: min(measured(name, 2, generator=Noise())["loop_db"]) for name in ("fov", "recent")}
    assert found["fov"] > 60 and found["recent"] < 30


def test_copying_is_consistent_in_a_loop_and_wrong_in_replay():
    copied = measured(painter="copy_best")
    assert min(copied["loop_db"]) > 60 and max(copied["replay_db"]) < 35
    with pytest.raises(ValueError, match=r"painter='copy' is unknown.*Known: 'copy_best', 'copy_newest', 'generator'"):
        measured(painter="copy")


def test_warping_fetches_what_is_seen_and_leaves_the_rest_grey():
    walks = true_walks(ROOMS[:1], steps=1, tour_frames=0, height=32, width=32)
    warp = WarpGenerator(exact(ROOMS[:1], 32))
    assert isinstance(warp, Generator)
    frames, depth, poses = walks.frames[:, :1], walks.depth[:, :1], walks.poses[:, :1].clone()
    fov, generators = torch.full((1,), 90.0), [torch.Generator()]
    behind = poses.clone()
    behind[..., 3] += math.pi  # a black frame that shows nothing of the view
    both = [torch.cat(pair, 1) for pair in ((0 * frames, frames), (depth, depth), (behind, poses))]
    context = Context(*both, torch.ones(1, 2, dtype=torch.bool))
    again = warp.generate(poses[:, 0], context, fov, 1, generators)
    assert (again.frames.int() - frames[:, 0].int()).abs().float().mean() < 1.5 and (again.own_weight == 0).all()
    away = poses[:, 0].clone()
    away[:, 3] += math.pi / 4  # the left half of the view is new
    turned = warp.generate(away, context, fov, 1, generators).frames[0]
    assert (turned[:, :12] == 128).all() and (turned[:, 20:] != 128).any(-1).float().mean() > 0.9


# Sampling


class Misjudging(Noise):
    """Noise whose depth, with one step, is 10 % wrong where the context shows the view; elsewhere always thrice."""

    def generate(self, poses, context, fov, num_steps, generators):
        view = super().generate(poses, context, fov, num_steps, generators)
        true = exact(ROOMS)
        slots = [true.generate(each, context, fov, 1, generators).depth for each in context.poses.unbind(1)]
        depth = true.generate(poses, context, fov, 1, generators).depth
        for world, mask in enumerate(context.mask):
            frames = torch.stack([slot[world] for slot in slots])[mask]
            seen = shown(depth[world][None], poses[world][None], frames, context.poses[world, mask])[0].any(0)
            view.depth[world] = depth[world] * torch.where(seen, 1.1 if num_steps == 1 else 1.0, 3.0)
        return view


def test_depth_is_compared_where_the_context_shows_the_view():
    one, two = (measure_sampling(Misjudging(), ROOMS, denoising, tour=2, steps=3) for denoising in (1, 2))
    assert one["depth_error"] == pytest.approx([0.1, 0.1], abs=1e-3)
    assert two["depth_error"] == pytest.approx([0, 0], abs=1e-3)
    assert max(one["replay_db"]) < 12  # of what it painted, not of what was remembered
    blind = measure_sampling(Misjudging(), ROOMS, 1, tour=0, steps=1, num_context=1)
    assert all(not math.isnan(value) for value in blind["depth_error"])


def test_each_number_of_denoising_steps_has_a_case():
    cases = sampling_cases((1, 4), (0,))
    assert cases == [{"denoising": 1, "tour": 0}, {"denoising": 4, "tour": 0}]
