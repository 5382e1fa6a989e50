"""Close-ups: what becomes of things that were seen from afar, when the camera walks up to them?

After a tour the camera walks straight ahead on its own frames, until a body would touch what stands there. Pixels are
judged by how many times nearer they are than any true frame of the opening saw them, which exact depth tells: detail
that was never seen cannot be right, but edges and colours can, and nothing may show through from behind.
"""

import math

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.camera import DEFAULT_FOV, cameras_at
from ctxmem_env.errors import unknown_name
from ctxmem_env.evaluation.paths import up_to_a_surface
from ctxmem_env.evaluation.protocols import Walks, follow
from ctxmem_env.generator import Generator
from ctxmem_env.generator.lookup import MIN_DEPTH, times_nearer
from ctxmem_env.scenes import build_scene, render, stack_scenes, tour

_STEPS = 16
NEARER = {"up to 1.25": (0.0, 1.25), "1.25 to 2.5": (1.25, 2.5), "more than 2.5": (2.5, math.inf)}
"""Groups of pixels, by how many times nearer they are than any frame of the opening saw them; no bound above 2.7."""


def close_ups_cases(tours: tuple[int, ...] = (12, 0)) -> list[dict]:
    """A case for each number of true frames in memory at the start, and each group of `NEARER`."""
    return [{"tour": frames, "nearer": group} for frames in tours for group in NEARER]


@torch.no_grad()
def measure_close_ups(
    generator: Generator, seeds: list[int], tour: int, nearer: str, num_context: int = 8, num_steps: int | None = None
) -> dict:
    """Figures of one walk of at most 4 m in each of the scenes, None for one without such pixels.

    true_db: these pixels of all its frames against the truth; pixel_share: which part of all pixels they are. `_sheet`:
    each walk from its start on, painted above true.

    Args:
        tour: true frames in memory besides the first one.
        nearer: a name in `NEARER`.
        num_context: context slots.
        num_steps: denoising steps; None for the generator's default.
    """
    if nearer not in NEARER:
        raise unknown_name("nearer", nearer, NEARER)
    walks = _walks(seeds, tour, generator)
    walked = follow(generator, walks, replay=False, num_context=num_context, num_steps=num_steps)
    truth, times = walks.frames[:, walks.seeded :], _times_nearer(walks)
    least, most = NEARER[nearer]
    group = (times >= least) & (times < most)
    error = (walked.frames.float() - truth.float()).square().mean(-1)
    figures = [(own[where].mean().item(), where.float().mean().item()) for own, where in zip(error, group, strict=True)]
    shown = range(0, _STEPS, 2)
    return {
        "true_db": [10 * math.log10(255**2 / max(own, 1e-3)) if share else None for own, share in figures],
        "pixel_share": [share for _, share in figures],
        "_sheet": [row[i, shown] for i in range(min(len(seeds), 8)) for row in (walked.frames, truth)],
    }


def _walks(seeds: list[int], tour_frames: int, generator: Generator) -> Walks:
    scenes, poses = [build_scene(seed) for seed in seeds], []
    for scene, seed in zip(scenes, seeds, strict=True):
        rng = np.random.default_rng(seed)
        walk = up_to_a_surface(scene, rng, _STEPS)
        poses.append(torch.cat([tour(scene, tour_frames + 1, rng, walk[0]), walk[1:]]))
    poses = torch.stack(poses).float()
    frames, depth = render(stack_scenes(scenes), poses, DEFAULT_FOV, generator.height, generator.width)
    return Walks(frames, depth, poses, tour_frames + 1, list(seeds))


def _times_nearer(walks: Walks) -> Tensor:
    """How many times nearer pixels (n, steps, H, W) are than in any frame of the opening; NaN where none saw them."""
    opening, walk = slice(walks.seeded), slice(walks.seeded, None)
    depth, poses = walks.depth[:, opening], walks.poses[:, opening]
    mask, fov = torch.ones(depth.shape[:2], dtype=torch.bool), torch.full((len(depth),), walks.fov)
    log_depth = walks.depth[:, walk].clamp(min=MIN_DEPTH).log()
    return times_nearer(log_depth, cameras_at(walks.poses[:, walk], fov), depth, cameras_at(poses, fov), mask)
