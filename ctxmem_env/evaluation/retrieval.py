"""Retrieval: every strategy, sizes of the context, and painters without the network's painting, on the same weights.

Each case is measured in replay, where memory holds true frames and a prediction is compared with the true one, and in a
loop, a walk out and back on its own frames, where a new frame is compared with its own earlier one at the same pose.
"""

import functools
import time

import numpy as np

from ctxmem_env.errors import check_integer, unknown_name
from ctxmem_env.evaluation.baselines import CopyGenerator, PackedHistoryGenerator, SplatGenerator, WarpGenerator
from ctxmem_env.evaluation.loop import own_agreement, true_agreement
from ctxmem_env.evaluation.occlusion import check_strategies
from ctxmem_env.evaluation.paths import Loops, out_and_back
from ctxmem_env.evaluation.protocols import Walks, follow, true_walks
from ctxmem_env.generator import Generator
from ctxmem_env.scenes import random_walk, shift

PAINTERS = ("generator", "copy_best", "copy_newest", "warp", "splat", "packed")
PACKED = 13  # frames of 64 x 64 pixels, each of half as many pixels as the one after it, the oldest of one


def retrieval_cases(
    strategies: tuple[str, ...] | None = None,
    contexts: tuple[int, ...] = (1, 5, 10, 20, 30),
    num_context: int = 8,
    tours: tuple[int, ...] = (12, 0),
) -> list[dict]:
    """Cases of three kinds, each with each number of true frames in memory at the start.

    Every strategy with `num_context` slots; the first strategy with each of `contexts` slots; and painters: with
    `num_context` slots those that copy or warp what the first strategy retrieves, and the generator with its history
    compressed into two frames.
    """
    names = check_strategies(strategies)
    for slots in contexts:
        check_integer("contexts", slots, 1)
    kinds = [(name, num_context, "generator") for name in names]
    kinds += [(names[0], slots, "generator") for slots in contexts if slots != num_context]
    kinds += [(names[0], num_context, painter) for painter in PAINTERS[1:-1]]
    kinds.append(("recent", PACKED, PAINTERS[-1]))
    keys = ("retrieval", "context", "painter", "tour")
    return [dict(zip(keys, (*kind, tour), strict=True)) for tour in tours for kind in kinds]


def measure_retrieval(
    generator: Generator,
    seeds: list[int],
    retrieval: str,
    context: int,
    painter: str,
    tour: int,
    steps: int = 50,
    num_steps: int | None = None,
) -> dict:
    """Figures of two walks of `steps` steps in each of the scenes.

    replay_db: predictions from true frames against the truth; loop_db, loop_ssim: the way back on its own frames
    against the way out; true_db: views back that true frames showed against the truth; steps_per_second: of all scenes
    of the call side by side, in the loop, one number.

    Args:
        retrieval: name of a strategy.
        context: slots.
        painter: one of `PAINTERS`, over this generator.
        tour: true frames in memory besides the first one.
        steps: of each walk, at least 4; half of them lead out.
        num_steps: denoising steps; None for the generator's default.
    """
    check_integer("steps", steps, 4)
    painting = painter_over(painter, generator)
    arguments = {"num_context": context, "num_steps": num_steps, "retrieval": retrieval}
    walks, loops = replay_and_loop(tuple(seeds), steps, tour, generator.height, generator.width)
    replayed = follow(painting, walks, replay=True, **arguments)
    began = time.perf_counter()
    walked = follow(painting, loops.walks, replay=False, **arguments)
    seconds = time.perf_counter() - began
    own = [own_agreement(loops, walked, world) for world in range(len(seeds))]
    shown = np.linspace(0, walked.frames.shape[1] - 1, 12).round().astype(int)
    true = loops.walks.frames[:, loops.walks.seeded :]
    return {
        "replay_db": replayed.psnr.mean(1).tolist(),
        "loop_db": [db for db, _ in own],
        "loop_ssim": [similarity for _, similarity in own],
        "true_db": [true_agreement(loops, walked, world)[0] for world in range(len(seeds))],
        "steps_per_second": [walked.frames.shape[1] * len(seeds) / seconds],
        "_sheet": [row[i, shown] for i in range(min(len(seeds), 4)) for row in (walked.frames, true)],
    }


def painter_over(name: str, generator: Generator) -> Generator:
    """The painter of that name, one of `PAINTERS`, over a generator."""
    if name == "generator":
        return generator
    if name not in PAINTERS:
        raise unknown_name("painter", name, PAINTERS)
    if name == "warp":
        return WarpGenerator(generator)
    if name == "packed":
        return PackedHistoryGenerator(generator)
    if name == "splat":
        return SplatGenerator(generator.height, generator.width)
    return CopyGenerator(name.removeprefix("copy_"), generator.height, generator.width)


@functools.lru_cache(maxsize=2)
def replay_and_loop(seeds: tuple[int, ...], steps: int, tour: int, height: int, width: int) -> tuple[Walks, Loops]:
    """The two walks of a group of scenes, which all cases share: one to be replayed, and one out and back."""

    def outward(scene, rng):
        return shift(random_walk(scene, steps // 2 + 1, rng), rng)

    return true_walks(list(seeds), steps, tour, height, width), out_and_back(list(seeds), outward, tour, height, width)
