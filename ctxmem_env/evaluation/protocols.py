"""Protocols: walks through test scenes, painted by a generator and compared with the exact renderer.

replay   the context is made of true frames; every prediction is compared with the true frame.
rollout  the generator lives on its own frames after a tour of true ones; every frame is compared with the true one.

The seed, which is the tour and the first frame, comes with exact depth, as from an RGB-D camera, or without, so that
the generator has to estimate it. True frames that enter memory later have the depth that the generator predicted.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.camera import DEFAULT_FOV, motion_between
from ctxmem_env.evaluation.metrics import psnr
from ctxmem_env.generator import Context, Generated, Generator, traits_of
from ctxmem_env.scenes import build_scene, random_walk, render, shift, stack_scenes, tour
from ctxmem_env.world import SceneWorld


@dataclass
class Walks:
    """True walks through n scenes: frames (n, T, H, W, 3) uint8, depth (n, T, H, W), poses (n, T, 6).

    The first `seeded` of the T frames are the tour and the first frame; the others are the walk. `fov` in degrees.
    """

    frames: Tensor
    depth: Tensor
    poses: Tensor
    seeded: int
    seeds: list[int]
    fov: float = DEFAULT_FOV


def true_walks(
    seeds: list[int], steps: int, tour_frames: int, height: int, width: int, style: str | None = None
) -> Walks:
    """Walks of `steps` steps, each a function of its scene's seed, after a tour of `tour_frames` frames.

    Poses are shifted, so that no view is repeated to the pixel; a few copies of those would outweigh all other frames.
    With a `style` the scenes are of that one.
    """
    scenes, poses = [], []
    for seed in seeds:
        scene, rng = build_scene(seed, style), np.random.default_rng(seed)
        walk = shift(random_walk(scene, steps + 1, rng), rng)
        scenes.append(scene)
        poses.append(torch.cat([tour(scene, tour_frames + 1, rng, walk[0]), walk[1:]]))
    poses = torch.stack(poses).float()
    frames, depth = render(stack_scenes(scenes), poses, DEFAULT_FOV, height, width)
    return Walks(frames, depth, poses, tour_frames + 1, list(seeds))


class ReplayGenerator:
    """A generator whose frames are replaced by true ones as they enter memory; `predictions` keeps its own.

    The depth that is remembered stays the generator's.
    """

    def __init__(self, generator: Generator, walks: Walks) -> None:
        self.inner, self.walks = generator, walks
        self.height, self.width = generator.height, generator.width
        self.default_num_steps = generator.default_num_steps
        self.encode, self.estimate_depth = generator.encode, generator.estimate_depth
        self.num_attended = traits_of(generator).num_attended
        self.predictions: list[Tensor] = []

    def generate(
        self, poses: Tensor, context: Context, fov: Tensor, num_steps: int, generators: list[torch.Generator]
    ) -> Generated:
        view = self.inner.generate(poses, context, fov, num_steps, generators)
        now = self.walks.seeded + len(self.predictions)
        self.predictions.append(view.frames)
        return Generated(self.walks.frames[:, now].to(view.frames.device), view.depth, view.own_weight)


@dataclass
class Walked:
    """What a generator made of walks: frames (n, steps, H, W, 3), depth and own_weight (n, steps, H, W), and dB.

    indices (n, steps, k) int64 tell which frames were its context, -1 for none: the number of a frame of the `Walks`.
    """

    frames: Tensor
    depth: Tensor
    own_weight: Tensor
    psnr: Tensor  # (n, steps)
    indices: Tensor


@torch.no_grad()
def follow(
    generator: Generator,
    walks: Walks,
    replay: bool,
    num_context: int = 8,
    exact_seed_depth: bool = True,
    **world_arguments,
) -> Walked:
    """Follow the walks, one world for each; with `replay` memory is made of true frames."""
    worlds, seeded = len(walks.seeds), walks.seeded
    device = getattr(generator, "device", "cpu")
    if replay:
        generator = ReplayGenerator(generator, walks)
    world = SceneWorld(generator, worlds, num_context=num_context, device=device, **world_arguments)
    for i, seed in enumerate(walks.seeds):
        frames, poses = walks.frames[i, :seeded].to(device), walks.poses[i, :seeded].to(device)
        depth = walks.depth[i, :seeded].to(device)
        if not exact_seed_depth:
            depth = generator.estimate_depth(frames, poses, torch.full((seeded,), walks.fov, device=device))
        world.reset(i, frames, depth, poses, walks.fov, seed)
    steps = []
    for t in range(seeded, walks.poses.shape[1]):
        now = walks.poses[:, t].to(device)
        world.poses[:, [2, 5]] = now[:, [2, 5]]  # height and roll, which no motion changes and a hand does
        steps.append(world.advance(motion_between(world.poses, now)))
    frames = torch.stack(generator.predictions if replay else [step.frames for step in steps], dim=1).cpu()
    return Walked(
        frames,
        torch.stack([step.depth for step in steps], dim=1).cpu(),
        torch.stack([step.own_weight for step in steps], dim=1).cpu(),
        psnr(frames, walks.frames[:, seeded:]),
        torch.stack([step.indices for step in steps], dim=1).cpu(),
    )
