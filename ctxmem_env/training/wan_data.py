"""Clips to train Wan on, with the context that `step` would select for them.

A clip is one step of an environment: F frames along its way. Clip `number` of a run is a function of (seed, number)
alone: frames uint8 (F, H, W, 3), poses (F, 6), context_frames uint8 (k, H, W, 3), context_poses (k, 6), mask bool (k,),
and a prompt.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ctxmem_env.camera import along, motion_between
from ctxmem_env.captures import Capture, find_captures, view_frames
from ctxmem_env.retrieval import select_context
from ctxmem_env.scenes import STYLES, build_scene, random_walk, render, split_seeds, stack_scenes, tour
from ctxmem_env.training.wan_config import WanTrainConfig

Clip = dict[str, Any]


class SceneClips(Dataset):
    """Steps of walks through rendered scenes; the prompt is the style of the scene."""

    def __init__(self, config: WanTrainConfig) -> None:
        self.config, self.seeds = config, split_seeds("train")

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, number: int) -> Clip:
        c, o = self.config, self.config.use
        rng = np.random.default_rng([c.seed, number])
        scene = build_scene(int(self.seeds[rng.integers(len(self.seeds))]))
        step, turn = c.step_length, math.radians(c.turn_angle)
        walk = random_walk(scene, c.walk_length + 1, rng, step_length=step, turn_angle=turn)
        ways = along(walk[:-1], motion_between(walk[:-1], walk[1:]), o.frames_per_step)
        first = int(rng.integers(c.walk_length))
        toured = tour(scene, int(rng.integers(1, c.tour + 1)), rng, walk[0])
        past = torch.cat([toured, ways[:first].flatten(0, 1)])
        chosen = choose(past, ways[first, -1], c, number)
        poses = torch.cat([past[chosen.clamp(min=0)], ways[first]])
        frames = render(stack_scenes([scene]), poses[None], c.fov, o.height, o.width)[0][0]
        return clip(frames, poses, chosen, list(STYLES)[int(scene.style)], c, rng)


class CaptureClips(Dataset):
    """Stretches of captures, picture by picture, without a prompt."""

    def __init__(self, config: WanTrainConfig) -> None:
        self.config, need = config, config.use.frames_per_step + 1
        found = [found for folder in config.captures for found in find_captures(folder)]
        self.captures = [capture for capture in (one.read() for one in found) if len(capture.shots) >= need]
        if not self.captures:
            raise ValueError(
                f"data: {', '.join(map(str, config.captures))}: none of {len(found)} captures has {need} pictures, one "
                f"to remember and frames_per_step={need - 1} to paint; lower frames_per_step, or give longer ones."
            )

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, number: int) -> Clip:
        c, o = self.config, self.config.use
        rng = np.random.default_rng([c.seed, number])
        capture: Capture = self.captures[rng.integers(len(self.captures))]
        poses = torch.from_numpy(capture.poses).float()
        first = int(rng.integers(1, len(poses) - o.frames_per_step + 1))
        ahead = np.arange(first, first + o.frames_per_step)
        chosen = choose(poses[:first], poses[ahead[-1]], c, number)
        indices = [*chosen.clamp(min=0).tolist(), *ahead]
        shots, fov = [capture.shots[i] for i in indices], capture.fov(o.width / o.height)
        frames = torch.from_numpy(view_frames(shots, o.height, o.width, fov))
        return clip(frames, poses[indices], chosen, "", c, rng)


def choose(past: Tensor, pose: Tensor, config: WanTrainConfig, number: int) -> Tensor:
    """Indices int64 (k,) of the remembered poses (n, 6) that `step` would select for a pose, -1 for an empty slot."""
    lengths, fov = torch.tensor([len(past)]), torch.tensor([config.fov])
    generators = [torch.Generator().manual_seed(config.seed * 2**32 + number)]
    return select_context("fov", past[None], lengths, pose[None], config.num_context, fov, generators).indices[0]


def clip(
    frames: Tensor, poses: Tensor, chosen: Tensor, prompt: str, config: WanTrainConfig, rng: np.random.Generator
) -> Clip:
    """A clip of frames and poses (k + F, ...), the context first, of which some clips lose all but the newest."""
    k, mask = config.num_context, chosen >= 0
    if rng.random() < config.newest_only:
        mask[1:] = False
    return {
        "frames": frames[k:],
        "poses": poses[k:],
        "context_frames": frames[:k],
        "context_poses": poses[:k],
        "mask": mask,
        "prompt": "" if rng.random() < config.no_prompt else prompt,
    }
