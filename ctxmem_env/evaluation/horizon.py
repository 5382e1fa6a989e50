"""Horizon: after how many steps over its own frames is a place still what it was, and does a picture still look right?

The camera roams a test scene and then stands at poses where it was before, the last of them ten steps ago, the first at
the beginning: each is compared with the frame painted there at the first visit, and with the true one. The frames of
the last steps before that are compared with true ones in gradients and colours, whatever they show.
"""

import itertools

import numpy as np
import torch

from ctxmem_env.camera import DEFAULT_FOV, motion_between
from ctxmem_env.errors import check_integer
from ctxmem_env.evaluation.metrics import appearance, psnr
from ctxmem_env.generator import Generator
from ctxmem_env.scenes import build_scene, random_walk, render, shift, stack_scenes
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
    the first, in all and for each group of `AGES`; and those of `metrics.appearance` for the last frames of the walk.
    `_sheet`: true, first and second looks.

    Args:
        steps: of each walk, at least 20.
        tour: true frames in memory besides the first one.
        num_context: context slots.
        num_steps: denoising steps; None for the generator's default.
        revisits: poses that are looked at again, their ages spread evenly on a logarithmic scale.
    """
    check_integer("steps", steps, 2 * AGES[0], AGES[-1])
    height, width, device = generator.height, generator.width, getattr(generator, "device", "cpu")
    scenes, walks, tours = [build_scene(seed) for seed in seeds], [], []
    for scene, seed in zip(scenes, seeds, strict=True):
        rng = np.random.default_rng(seed)
        walks.append(shift(random_walk(scene, steps + 1, rng), rng))
        tours.append(scene_tour(scene, tour + 1, rng, walks[-1][0]))
    batch, walk, opening = stack_scenes(scenes), torch.stack(walks).float(), torch.stack(tours).float()
    frames, depth = render(batch, opening, DEFAULT_FOV, height, width)
    world = SceneWorld(generator, len(seeds), "fov", num_context, None, num_steps, _CACHED, device)
    for i, seed in enumerate(seeds):
        world.reset(i, *(part[i].to(device) for part in (frames, depth, opening)), DEFAULT_FOV, seed)
    ages = np.unique(np.geomspace(AGES[0], steps - 1, revisits).round().astype(int))
    # In any order, for one look back must not prepare the next.
    again = np.random.default_rng(0).permutation(steps - ages)
    late = np.arange(max(steps - _LATE, 0), steps) + 1
    kept = {}
    for step in range(1, steps + 1):
        painted = world.advance(motion_between(world.poses, walk[:, step].to(device)))
        if step in again or step in late:
            kept[step] = painted.frames.cpu()
    second = torch.stack(
        [world.advance(motion_between(world.poses, walk[:, step].to(device))).frames.cpu() for step in again], dim=1
    )
    first = torch.stack([kept[step] for step in again], dim=1)
    last = torch.stack([kept[step] for step in late], dim=1)
    truth = render(batch, walk[:, again], DEFAULT_FOV, height, width)[0]
    true_last = render(batch, walk[:, late], DEFAULT_FOV, height, width)[0]
    own, age = psnr(second, first), steps - again
    values = {"first_db": psnr(first, truth).mean(1), "true_db": psnr(second, truth).mean(1), "own_db": own.mean(1)}
    for low, high in itertools.pairwise(AGES):
        group = torch.from_numpy((age >= low) & (age < high))
        if group.any():
            values[f"own_db_age_{low}"] = own[:, group].mean(1)
            values[f"true_db_age_{low}"] = psnr(second, truth)[:, group].mean(1)
    values = {name: value.tolist() for name, value in values.items()}
    looks = [appearance(painted, true) for painted, true in zip(last, true_last, strict=True)]
    values |= {name: [look[name] for look in looks] for name in looks[0]}
    order = np.argsort(age)[:: max(1, len(age) // 12)]
    return values | {"_sheet": [row[i, order] for i in range(min(len(seeds), 4)) for row in (truth, first, second)]}
