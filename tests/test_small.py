"""The packaged model for frames of 128 x 128 pixels."""

import dataclasses
import json

import gymnasium as gym
import pytest
import torch
import torch.nn.functional as F

import ctxmem_env  # noqa: F401  registers the ids
from ctxmem_env.evaluation.protocols import follow, true_walks
from ctxmem_env.generator import Generated, load_generator
from ctxmem_env.generator.locate import PACKAGED
from ctxmem_env.scenes import split_of, split_seeds

SMALL = PACKAGED / "small"


class Enlarged:
    """A generator of frames half as large, whose frames are enlarged by bicubic interpolation."""

    def __init__(self, generator):
        self.generator, self.default_num_steps = generator, generator.default_num_steps
        self.height, self.width = 2 * generator.height, 2 * generator.width

    def encode(self, frames, depth, poses, fov):
        return self.generator.encode(reduce(frames), depth[:, ::2, ::2], poses, fov)

    def generate(self, poses, context, fov, num_steps, generators):
        def smaller(part):
            frames = reduce(part.frames.flatten(0, 1)).unflatten(0, part.mask.shape)
            return dataclasses.replace(part, frames=frames, depth=part.depth[..., ::2, ::2])

        reduced = dataclasses.replace(smaller(context), examples=smaller(context.examples))
        view = self.generator.generate(poses, reduced, fov, num_steps, generators)
        large = F.interpolate(view.frames.movedim(-1, 1).float(), scale_factor=2, mode="bicubic")
        frames = large.round().clamp(0, 255).to(torch.uint8).movedim(1, -1)
        depth, own = (part.repeat_interleave(2, 1).repeat_interleave(2, 2) for part in (view.depth, view.own_weight))
        return Generated(frames, depth, own)

    def estimate_depth(self, frames, poses, fov):
        raise NotImplementedError


def reduce(frames):
    """uint8 (N, H, W, 3) at half the size."""
    return F.avg_pool2d(frames.movedim(-1, 1).float(), 2).round().to(torch.uint8).movedim(1, -1)


def test_the_folder_is_under_40_megabytes_and_has_card_checksums_and_results():
    assert sum(path.stat().st_size for path in SMALL.rglob("*") if path.is_file()) < 40e6
    assert {"README.md", "checksums.json", "results.json"} <= {path.name for path in SMALL.iterdir()}
    results = json.loads((SMALL / "results.json").read_text())
    assert results["model"] == "small" and {split_of(seed) for seed in results["scenes"]["seeds"]} == {"test"}


def test_its_frames_are_four_times_as_large_and_a_place_is_still_there_after_looking_away():
    env = gym.make("CtxMemScene-v0", model="small")
    assert env.observation_space.shape == (128, 128, 3)
    before = env.reset(seed=1, options={"scene": 2_000_005})[0].astype(float)
    for action in [5] * 6 + [6] * 6:
        after = env.step(action)[0]
    assert ((before - after) ** 2).mean() < 255**2 / 10**2.5


@pytest.mark.slow
@pytest.mark.parametrize("replay", [True, False])
def test_it_beats_nano_enlarged_on_scenes_of_the_validation_split(replay):
    walks = true_walks(split_seeds("validation", 4), 12, 6, 128, 128)
    painters = load_generator("small", "cpu"), Enlarged(load_generator("nano", "cpu"))
    own, enlarged = (follow(painter, walks, replay).psnr.mean() for painter in painters)
    assert own > enlarged + 0.5
