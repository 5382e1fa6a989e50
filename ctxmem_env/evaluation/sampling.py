"""Sampling: what more denoising steps bring, and what they cost, on replay."""

import time

import torch

from ctxmem_env.errors import check_integer
from ctxmem_env.evaluation.metrics import depth_error, ssim
from ctxmem_env.evaluation.protocols import follow, true_walks
from ctxmem_env.evaluation.visible import shown_by_context
from ctxmem_env.generator import Generator


def sampling_cases(denoising: tuple[int, ...] = (1, 2, 4, 8), tours: tuple[int, ...] = (12, 0)) -> list[dict]:
    """A case for each number of denoising steps and each number of true frames in memory at the start."""
    for num_steps in denoising:
        check_integer("denoising", num_steps, 1)
    return [{"denoising": num_steps, "tour": tour} for num_steps in denoising for tour in tours]


def measure_sampling(
    generator: Generator, seeds: list[int], denoising: int, tour: int, steps: int = 50, num_context: int = 8
) -> dict:
    """Figures of one walk of `steps` steps in each of the scenes, with true frames in memory.

    replay_db and replay_ssim: against the truth; depth_error: the median relative one of the pixels that the context
    shows; steps_per_second: of all scenes of the call side by side, one number.

    Args:
        denoising: steps of the sampler.
        tour: true frames in memory besides the first one.
        steps: of each walk.
        num_context: context slots.
    """
    walks = true_walks(seeds, steps, tour, generator.height, generator.width)
    began = time.perf_counter()
    walked = follow(generator, walks, replay=True, num_context=num_context, num_steps=denoising)
    seconds = time.perf_counter() - began
    true, true_depth = walks.frames[:, walks.seeded :], walks.depth[:, walks.seeded :]
    errors = []
    for world in range(len(seeds)):
        covered = shown_by_context(walks, walked, world).any(1)
        errors.append(depth_error(walked.depth[world][covered], true_depth[world][covered]))
    shown = torch.linspace(0, steps - 1, min(steps, 12)).long()
    return {
        "replay_db": walked.psnr.mean(1).tolist(),
        "replay_ssim": [ssim(*pair).mean().item() for pair in zip(walked.frames, true, strict=True)],
        "depth_error": errors,
        "steps_per_second": [len(seeds) * steps / seconds],
        "_sheet": [row[i, shown] for i in range(min(len(seeds), 8)) for row in (walked.frames, true)],
    }
