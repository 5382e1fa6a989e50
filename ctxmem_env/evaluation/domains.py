"""Unseen domains: how well are places painted of kinds that training never showed?

Styles that are held out of training, over the exact renderer, and the Freedoom maps of ViZDoom. Beside them the same
seeds in the styles of training. Each walk is followed twice, with true frames in memory and on its own ones, by the
generator and by a copy of the best retrieved frame, which is as good in one domain as in another.
"""

import functools

import numpy as np

from ctxmem_env.errors import unknown_name
from ctxmem_env.evaluation.baselines import CopyGenerator
from ctxmem_env.evaluation.doom import check_vizdoom, doom_walks
from ctxmem_env.evaluation.metrics import ssim
from ctxmem_env.evaluation.protocols import Walks, follow, true_walks
from ctxmem_env.generator import Generator
from ctxmem_env.scenes import HELD_OUT_STYLES

TRAINED, FREEDOOM = "trained", "freedoom"
DOMAINS = (TRAINED, *HELD_OUT_STYLES, FREEDOOM)
DEPTHS = ("exact", "estimated")


def domains_cases(domains: tuple[str, ...] | None = None, tours: tuple[int, ...] = (12, 0)) -> list[dict]:
    """A case for each of `DOMAINS`, each number of true frames in memory, and depth that they bring or do not."""
    names = DOMAINS if domains is None else tuple(domains)
    for name in names:
        if name not in DOMAINS:
            raise unknown_name("domains", name, DOMAINS)
    if FREEDOOM in names:
        check_vizdoom()
    return [{"domain": name, "tour": tour, "depth": depth} for name in names for tour in tours for depth in DEPTHS]


def measure_domains(
    generator: Generator,
    seeds: list[int],
    domain: str,
    tour: int,
    depth: str,
    steps: int = 50,
    num_context: int = 8,
    num_steps: int | None = None,
) -> dict:
    """Figures of one walk of `steps` steps in each of the scenes.

    replay_db and replay_ssim: against the truth, with true frames in memory; copy_db: of copies of the best retrieved
    frame; gain_db: how much the generator is better, scene by scene. rollout_db, rollout_copy_db and rollout_gain_db:
    the same with its own frames in memory. `_sheet`: walks on its own frames above the truth.

    Args:
        domain: one of `DOMAINS`.
        tour: true frames in memory besides the first one.
        depth: of these frames, "exact" as the renderer or the game has it, or "estimated" by the generator.
        steps: of each walk.
        num_context: context slots.
        num_steps: denoising steps; None for the generator's default.
    """
    walks = _walks(domain, tuple(seeds), steps, tour, generator.height, generator.width)
    copies = CopyGenerator("best", generator.height, generator.width)
    values = {}
    for name, replay in (("replay", True), ("rollout", False)):
        walked = follow(generator, walks, replay, num_context, depth == "exact", num_steps=num_steps)
        copied = follow(copies, walks, replay, num_context).psnr
        values[f"{name}_db"] = walked.psnr.mean(1).tolist()
        values["copy_db" if replay else "rollout_copy_db"] = copied.mean(1).tolist()
        values["gain_db" if replay else "rollout_gain_db"] = (walked.psnr - copied).mean(1).tolist()
        true = walks.frames[:, walks.seeded :]
        if replay:
            values["replay_ssim"] = [ssim(*pair).mean().item() for pair in zip(walked.frames, true, strict=True)]
    shown = np.linspace(0, steps - 1, min(steps, 12)).round().astype(int)
    return values | {"_sheet": [row[i, shown] for i in range(min(len(seeds), 4)) for row in (walked.frames, true)]}


@functools.lru_cache(maxsize=2)
def _walks(domain: str, seeds: tuple[int, ...], steps: int, tour: int, height: int, width: int) -> Walks:
    if domain == FREEDOOM:
        return doom_walks(list(seeds), steps, tour, height, width)
    return true_walks(list(seeds), steps, tour, height, width, None if domain == TRAINED else domain)
