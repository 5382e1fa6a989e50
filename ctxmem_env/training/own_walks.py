"""Walks over the model's own frames, as contexts to learn from: what a hundred steps do to a world, it must survive.

Batches as `data.SceneBatches` makes them, but for one thing: the remembered frames are those that the model painted on
the way, from those that it painted before. As in DAgger (arXiv:1011.0686) and self-forcing (arXiv:2506.08009) it so
meets in training what it meets later. The true frames that opened the world tell which pixels can be known at all.
"""

import math
from contextlib import AbstractContextManager
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.camera import DEFAULT_FOV, cameras_at, motion_between
from ctxmem_env.config import TrainConfig
from ctxmem_env.generator import Examples
from ctxmem_env.generator.lookup import MIN_DEPTH, SAME_SURFACE, locate
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.scenes import build_scene, random_walk, render, shift, split_seeds, stack_scenes, tour
from ctxmem_env.training import ranks
from ctxmem_env.world import SceneWorld


class OwnWalks:
    """`scenes_per_batch` walks side by side in scenes of the training split; others begin with every session.

    Args:
        config: of the run.
        generator: what paints; its weights change on the way.
        autocast: what it paints under.
    """

    def __init__(self, config: TrainConfig, generator: SceneGenerator, autocast: AbstractContextManager) -> None:
        self.config, self.generator, self.autocast = config, generator, autocast
        self.scene_seeds = split_seeds("train")
        # As many targets as in other batches, ever further ahead.
        self.offsets = torch.arange(config.data.targets_per_scene).square()
        self.now = self.number = -1

    def serve(self, step: int) -> bool:
        """Whether the batch of a training step comes from here."""
        return self.config.own_walk_length > 0 and step % 2 == 1

    def batch(self, step: int) -> dict[str, Tensor]:
        """The batch of a training step: context of the walks' last step, true views from there on as targets.

        Shapes as in `SceneBatches`, and known bool (B, S, H, W): the pixels that the true frames in memory show; given
        and example_frames, ..., example_centre as in `Examples`. The walks have gone on to where the session stands.
        """
        number, place = divmod(step, self.config.own_walk_session)
        if number != self.number:
            self._start(number)
        goal = max(self.now + 1, math.ceil(self.config.own_walk_length * (place + 1) / self.config.own_walk_session))
        while self.now < goal:
            self.now += 1
            motion = motion_between(self.world.poses.cpu(), self.poses[:, self.now])
            with self.autocast:
                made = self.world.advance(motion)
        poses = self.poses[:, self.now + self.offsets]
        frames, depth = render(self.scenes, poses, self.fov, self.generator.height, self.generator.width)
        log_depth = depth.clamp(min=MIN_DEPTH).log()
        _, evidence, visible = locate(
            log_depth, cameras_at(poses, self.fov), self.depth, cameras_at(self.opening, self.fov), self.given
        )
        batch = {
            "context_frames": made.context.frames,
            "context_depth": made.context.depth,
            "context_poses": made.context.poses,
            "mask": made.context.mask,
            "given": made.context.given,
            **{f"example_{part.name}": getattr(made.context.examples, part.name) for part in fields(Examples)},
            "overlap": made.overlap,
            "fov": self.fov,
            "poses": poses,
            "frames": frames,
            "depth": depth,
            "known": (visible & (evidence.disagreement < SAME_SURFACE)).any(2),
        }
        return {name: value.to(self.generator.device) for name, value in batch.items()}

    def _start(self, number: int) -> None:
        """Open the worlds of a session: half of them with a whole tour, the others with a part of one."""
        config, rng = self.config.data, np.random.default_rng([self.config.seed, 1, number])
        scenes, walks, openings, skipped, seeds = [], [], [], [], []
        for _ in range(config.scenes_per_batch):
            scene = build_scene(self.scene_seeds[int(rng.integers(len(self.scene_seeds)))])
            walk = random_walk(scene, self.config.own_walk_length + int(self.offsets[-1]) + 1, rng)
            scenes.append(scene)
            walks.append(shift(walk, rng) if rng.random() < config.shifted else walk)
            openings.append(tour(scene, config.tour + 1, rng, walks[-1][0]))
            skipped.append(int(rng.integers(config.tour + 1)) if rng.random() < 0.5 else 0)
            seeds.append(int(rng.integers(2**31)))
        mine, device = slice(ranks.rank(), None, ranks.size()), self.generator.device
        self.scenes, skipped, seeds = stack_scenes(scenes[mine]), skipped[mine], seeds[mine]
        self.poses, self.opening = (torch.stack(poses[mine]).float() for poses in (walks, openings))
        self.fov = torch.full((len(seeds),), DEFAULT_FOV)
        frames, self.depth = render(self.scenes, self.opening, self.fov, self.generator.height, self.generator.width)
        self.given = torch.arange(config.tour + 1) >= torch.tensor(skipped)[:, None]
        self.world = SceneWorld(self.generator, len(seeds), "fov", config.num_context, cached_frames=256, device=device)
        for world, (first, seed) in enumerate(zip(skipped, seeds, strict=True)):
            opening = (part[world, first:].to(device) for part in (frames, self.depth, self.opening))
            self.world.reset(world, *opening, DEFAULT_FOV, seed)
        self.number, self.now = number, 0
