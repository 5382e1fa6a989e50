"""Occlusion: which frames does a strategy choose when another room lies behind the wall that the camera looks at?

Poses tell of no wall, so frames from the other room count as overlapping although they show nothing of the view. The
camera stands in one room, memory holds true frames from both, and the camera turns once around; memory stays true
(replay), so that the strategies differ by what they choose and by nothing else.
"""

import torch

from ctxmem_env.errors import check_integer, unknown_name
from ctxmem_env.evaluation.metrics import psnr
from ctxmem_env.evaluation.paths import around_a_wall
from ctxmem_env.evaluation.protocols import follow
from ctxmem_env.evaluation.visible import shown_by_context
from ctxmem_env.generator import Generator
from ctxmem_env.retrieval import RETRIEVAL

_FACING = 4  # steps of 15 degrees from the one that looks straight at the wall: half a field of view, and a step
_NOTHING = 0.01  # share of a view, below which a frame shows nothing of it


def occlusion_cases(strategies: tuple[str, ...] | None = None, tours: tuple[int, ...] = (12,)) -> list[dict]:
    """A case for each strategy, by default all that choose older frames by any rule, and each number of true frames."""
    return [{"retrieval": name, "tour": tour} for name in check_strategies(strategies) for tour in tours]


def check_strategies(strategies: tuple[str, ...] | None) -> tuple[str, ...]:
    """The names, or all in the registry for None; ValueError for one that is not registered."""
    names = tuple(RETRIEVAL) if strategies is None else tuple(strategies)
    for name in names:
        if name not in RETRIEVAL:
            raise unknown_name("strategies", name, RETRIEVAL)
    return names


def measure_occlusion(
    generator: Generator,
    seeds: list[int],
    retrieval: str,
    tour: int,
    num_context: int = 8,
    num_steps: int | None = None,
    other_frames: int = 24,
) -> dict:
    """Figures of a full turn in each of the scenes, None for one without a second room.

    wall_db: views within 60 degrees of the wall against the truth; open_db: the others. wrong_share: of the chosen
    frames, the newest aside, those that show less than 1 % of the wall view; shown_share: the part of the wall view
    that all chosen frames show. By exact depth, which no strategy knows. `_sheet`: wall views, painted above true.

    Args:
        retrieval: name of a strategy.
        tour: true frames from this room in memory besides the first one.
        num_context: context slots.
        num_steps: denoising steps; None for the generator's default.
        other_frames: true frames from the other room, all around.
    """
    check_integer("other_frames", other_frames, 1)
    names = ("wall_db", "open_db", "wrong_share", "shown_share")
    values: dict = {name: [None] * len(seeds) for name in names}
    loops = around_a_wall(seeds, tour, other_frames, generator.height, generator.width)
    if loops is None:
        return values | {"_sheet": []}
    walks, rows = loops.walks, []
    walked = follow(generator, walks, replay=True, num_context=num_context, num_steps=num_steps, retrieval=retrieval)
    steps = torch.arange(1, walked.frames.shape[1] + 1)
    wall = (steps - 12).abs() <= _FACING
    for world, row in enumerate(loops.rows):
        shown = shown_by_context(walks, walked, world)[wall]
        newest = walks.seeded + torch.arange(len(steps))[wall] - 1
        older = (walked.indices[world, wall] >= 0) & (walked.indices[world, wall] != newest[:, None])
        wrong = (shown.float().mean((2, 3)) < _NOTHING) & older
        quality = psnr(walked.frames[world], walks.frames[world, walks.seeded :])
        figures = (
            quality[wall].mean(),
            quality[~wall].mean(),
            wrong.sum() / older.sum(),  # NaN for a strategy that chooses no older frame
            shown.any(1).float().mean(),
        )
        for name, value in zip(names, figures, strict=True):
            values[name][row] = value.item()
        rows += [walked.frames[world, wall], walks.frames[world, walks.seeded :][wall]]
    return values | {"_sheet": rows[:16]}
