"""Horizon: after how many steps over its own frames is a place still what it was, and does a picture still look right?

The camera roams a test scene and then stands at poses where it was before, one in each step: each is compared with the
frame painted there at the first visit, and with the true one, and so are gradients and colours, the true frames' own
beside them. The age of a look is the number of steps since the first visit, those of the looks before it included. The
frames of the last steps of the walk are compared with true ones in gradients and colours, whatever they show.
"""

import itertools

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.camera import DEFAULT_FOV, motion_between
from ctxmem_env.errors import check_integer
from ctxmem_env.evaluation.metrics import appearance, gradient, psnr
from ctxmem_env.generator import Generator
from ctxmem_env.scenes import Scene, build_scene, random_walk, render, shift, stack_scenes
from ctxmem_env.scenes import tour as scene_tour
from ctxmem_env.world import SceneWorld

AGES = (10, 30, 100, 300, 1000, 3000, 10_000)  # steps; borders of the groups in which revisits are averaged
_LATE = 50  # frames at the end of a walk
_CACHED = 256  # frames of a world whose features are kept, or else long walks would fill gigabytes


def horizon_cases(horizons: tuple[int, ...] = (100, 300, 1000, 3000), tours: tuple[int, ...] = (12, 0)) -> list[dict]:
    """A case for each number of steps and each number of true frames in memory at the start."""
    for steps in horizons:
        check_integer("horizons", steps, 2 * AGES[0], AGES[-1])
    return [{"steps": steps, "tour": tour} for steps in horizons for tour in tours]


@torch.no_grad()
def measure_horizon(
    generator: Generator,
    seeds: list[int],
    steps: int,
    tour: int,
    num_context: int = 8,
    num_steps: int | None = None,
    revisits: int = 32,
) -> dict:
    """Figures of one walk of `steps` steps in each of the scenes, and of `revisits` looks back.

    first_db: the first look at the revisited poses against the truth; true_db: the second; own_db: the second against
    the first; those of `metrics.appearance` for the last frames of the walk, and with the prefix `spread_` for as many
    true ones, fewer on a short walk, that are spread over it up to there: so far are true frames of one scene from one
    another. true_db, own_db and those of `metrics.appearance` of the second looks also for each group of `AGES`, in
    which `age` is their mean age, gradient and gradient_true are the mean differences of neighbouring grey levels.
    `_sheet`: true, first and second looks.

    Args:
        steps: of each walk, at least 20.
        tour: true frames in memory besides the first one.
        num_context: context slots.
        num_steps: denoising steps; None for the generator's default.
        revisits: poses that are looked at again, the steps from them to the end of the walk spread evenly on a
            logarithmic scale.
    """
    check_integer("steps", steps, 2 * AGES[0], AGES[-1])
    scenes, walk, world = _opened(generator, seeds, steps, tour, num_context, num_steps)
    back = np.unique(np.geomspace(AGES[0], steps - 1, revisits).round().astype(int))
    # In any order, for one look back must not prepare the next.
    again = np.random.default_rng(0).permutation(steps - back)
    late = np.arange(max(steps - _LATE, 0), steps) + 1

    def look(step: int) -> Tensor:
        return world.advance(motion_between(world.poses, walk[:, step].to(world.device))).frames.cpu()

    painted = ((step, look(step)) for step in range(1, steps + 1))
    kept = {step: frames for step, frames in painted if step in again or step in late}
    second = torch.stack([look(step) for step in again], dim=1)
    first, last = (torch.stack([kept[step] for step in part], dim=1) for part in (again, late))
    size = generator.height, generator.width
    spread = np.unique(np.linspace(0, steps - len(late), len(late)).astype(int))
    truth, true_last, true_spread = (
        render(scenes, walk[:, part], DEFAULT_FOV, *size)[0] for part in (again, late, spread)
    )
    age = steps + 1 + np.arange(len(again)) - again
    pairs = {"first_db": (first, truth), "true_db": (second, truth), "own_db": (second, first)}
    values = {name: psnr(*pair).mean(1).tolist() for name, pair in pairs.items()}
    for low, high in itertools.pairwise(AGES):
        group = (age >= low) & (age < high)
        if group.any():
            looks = _looks(second[:, group], first[:, group], truth[:, group])
            looks["age"] = [age[group].mean().item()] * len(seeds)
            values |= {f"{name}_age_{low}": value for name, value in looks.items()}
    values |= _by_scene([appearance(*pair) for pair in zip(last, true_last, strict=True)])
    apart = _by_scene([appearance(*pair) for pair in zip(true_spread, true_last, strict=True)])
    values |= {f"spread_{name}": value for name, value in apart.items()}
    order = np.argsort(age)[:: max(1, len(age) // 12)]
    return values | {"_sheet": [row[i, order] for i in range(min(len(seeds), 4)) for row in (truth, first, second)]}


def _opened(
    generator: Generator, seeds: list[int], steps: int, tour: int, num_context: int, num_steps: int | None
) -> tuple[Scene, Tensor, SceneWorld]:
    """The scenes, walks (n, steps + 1, 6) through them, and worlds that remember a tour around their starts."""
    scenes, walks, tours = [build_scene(seed) for seed in seeds], [], []
    for scene, seed in zip(scenes, seeds, strict=True):
        rng = np.random.default_rng(seed)
        walks.append(shift(random_walk(scene, steps + 1, rng), rng))
        tours.append(scene_tour(scene, tour + 1, rng, walks[-1][0]))
    batch, opening = stack_scenes(scenes), torch.stack(tours).float()
    frames, depth = render(batch, opening, DEFAULT_FOV, generator.height, generator.width)
    device = getattr(generator, "device", "cpu")
    world = SceneWorld(generator, len(seeds), "fov", num_context, None, num_steps, _CACHED, device)
    for i, seed in enumerate(seeds):
        world.reset(i, *(part[i].to(device) for part in (frames, depth, opening)), DEFAULT_FOV, seed)
    return batch, torch.stack(walks).float(), world


def _looks(second: Tensor, first: Tensor, truth: Tensor) -> dict[str, list[float]]:
    """Figures of looks of one age (n, looks, H, W, 3): against the first look and the truth, and of how they look."""
    figures = []
    for painted, own, true in zip(second, first, truth, strict=True):
        dbs = {"own_db": psnr(painted, own).mean().item(), "true_db": psnr(painted, true).mean().item()}
        sharpness = {"gradient": gradient(painted).item(), "gradient_true": gradient(true).item()}
        figures.append(dbs | appearance(painted, true) | sharpness)
    return _by_scene(figures)


def _by_scene(figures: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [figure[name] for figure in figures] for name in figures[0]}
