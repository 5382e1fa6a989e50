"""Painters without a network or without its painting: what they fetch, what they fill, what they leave out."""

import dataclasses
import math
from pathlib import Path

import torch
from protocol_generators import exact

from ctxmem_env.config import TrainConfig, load_config
from ctxmem_env.evaluation.baselines import PackedHistoryGenerator, SplatGenerator, fill_from_nearest
from ctxmem_env.evaluation.protocols import true_walks
from ctxmem_env.evaluation.retrieval import PAINTERS, measure_retrieval, retrieval_cases
from ctxmem_env.generator import Context, Generated, Generator
from ctxmem_env.training.train import train

ROOMS = [1_000_000, 1_000_001]
CONFIGS = Path(__file__).parent.parent / "configs"
FOV, RANDOM = torch.full((1,), 90.0), [torch.Generator()]


def remembered(size=32):
    """A true frame of a room, as the only one that is remembered."""
    walks = true_walks(ROOMS[:1], steps=1, tour_frames=0, height=size, width=size)
    return Context(walks.frames[:, :1], walks.depth[:, :1], walks.poses[:, :1], torch.ones(1, 1, dtype=torch.bool))


def test_without_a_network_a_view_is_thrown_and_its_holes_are_filled():
    splat, context = SplatGenerator(32, 32), remembered()
    assert isinstance(splat, Generator)
    again = splat.generate(context.poses[:, 0], context, FOV, 1, RANDOM)
    assert (again.frames == context.frames[:, 0]).float().mean() > 0.97  # cracks are closed at edges
    assert (again.depth / context.depth[:, 0] - 1).abs().lt(0.01).float().mean() > 0.97
    away = context.poses[:, 0].clone()
    away[:, 3] += math.pi / 4  # the left half of the view is new
    turned = splat.generate(away, context, FOV, 1, RANDOM)
    assert (turned.frames[0, :, :12] != 128).any() and (turned.depth > 0.3).all()
    assert (turned.frames[0, 8:24, 0].int() - turned.frames[0, 8:24, 8].int()).abs().max() < 60  # as its border goes on


def test_without_memory_a_thrown_view_is_grey():
    context = remembered()
    context.mask[:] = False
    view = SplatGenerator(32, 32).generate(context.poses[:, 0], context, FOV, 1, RANDOM)
    assert (view.frames == 128).all() and (view.depth == 1).all()


def test_holes_take_the_nearest_known_pixel():
    generator = torch.Generator().manual_seed(0)
    known = torch.rand(3, 20, 27, generator=generator) < 0.03
    images = torch.arange(20 * 27.0).view(1, 1, 20, 27).expand(3, 1, -1, -1)  # a pixel's value is its place
    filled = fill_from_nearest(images, known)[:, 0]
    assert torch.equal(filled[known], images[:, 0][known])
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(27.0), indexing="ij")
    for world in range(3):
        places = torch.stack([y, x], -1)
        shortest = torch.cdist(places.view(-1, 2), places[known[world]]).amin(1).view(20, 27)
        taken = torch.hypot(y - filled[world].div(27, rounding_mode="floor"), x - filled[world] % 27)
        assert (taken - shortest).max() < 1.5 and (taken == shortest).float().mean() > 0.97


class Shown:
    """Keeps the context that it is given."""

    height = width = 64
    default_num_steps = 1

    def encode(self, frames, depth, poses, fov):
        return {"brightness": frames.float().mean((1, 2, 3))}

    def generate(self, poses, context, fov, num_steps, generators):
        self.context = context
        return Generated(context.frames[:, 0], context.depth[:, 0], torch.ones_like(context.depth[:, 0]))

    def estimate_depth(self, frames, poses, fov):
        return torch.ones(frames.shape[:3])


def test_a_compressed_history_has_two_frames_worth_of_pixels():
    slots, inner = 13, Shown()
    draws = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (1, slots, 64, 64, 3), generator=draws, dtype=torch.uint8)
    depth = 1 + torch.rand(1, slots, 64, 64, generator=draws)
    context = Context(frames, depth, torch.zeros(1, slots, 6), torch.ones(1, slots, dtype=torch.bool))
    PackedHistoryGenerator(inner).generate(torch.zeros(1, 6), context, FOV, 1, RANDOM)
    packed = inner.context
    assert torch.equal(packed.frames[:, 0], frames[:, 0]) and torch.equal(packed.depth[:, 0], depth[:, 0])
    # Means over blocks are kept, and within a block of the last one nothing is left to tell.
    means = [part.float().mean((2, 3)) for part in (packed.frames, frames)]
    assert torch.allclose(*means, atol=2)
    assert packed.frames[0, 12].float().std((0, 1)).max() == 0 and packed.depth[0, 12].std() < 1e-6
    spread = packed.frames[0].float().std((1, 2)).mean(-1)
    assert (spread.diff() < 0).all()
    assert sum(0.5**age for age in range(slots)) * 64 * 64 < 2 * 64 * 64
    # Features are those of the reduced frames.
    assert torch.allclose(packed.features["brightness"], packed.frames.float().mean((2, 3, 4)))


def test_every_painter_has_a_case_and_is_measured():
    cases = [case for case in retrieval_cases(("fov",), contexts=(), tours=(0,)) if case["painter"] != "generator"]
    assert {case["painter"] for case in cases} == set(PAINTERS) - {"generator"}
    for case in cases:
        found = measure_retrieval(exact(ROOMS), ROOMS, **case, steps=4)
        assert len(found["replay_db"]) == 2, case
    assert cases[-1] == {"retrieval": "recent", "context": 13, "painter": "packed", "tour": 0}


def test_throwing_beats_copying():
    copied, thrown = (
        measure_retrieval(exact(ROOMS), ROOMS, "fov", 4, painter, tour=6, steps=8)["replay_db"]
        for painter in ("copy_best", "splat")
    )
    assert all(b > a for a, b in zip(copied, thrown, strict=True))


def test_pure_attention_is_nano_without_the_look_up():
    nano, attention = (load_config(TrainConfig, CONFIGS / f"{name}.yaml") for name in ("nano", "attention"))
    assert attention.model == {**nano.model, "lookup": False}
    assert dataclasses.replace(attention, name=nano.name, model=nano.model) == nano


def test_pure_attention_trains(tmp_path):
    tiny = load_config(TrainConfig, CONFIGS / "tiny.yaml")
    config = dataclasses.replace(tiny, num_steps=8, model={**tiny.model, "lookup": False}, validation_scenes=2)
    results = train(config, tmp_path / "run", quiet=True)
    assert results["steps"] == 8 and all(math.isfinite(value) for value in results.values())
