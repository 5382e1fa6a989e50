"""Loop: does a place stay as it was painted when the camera comes back over the same poses?

The model lives on its own frames all the way. Each new frame is compared with its own earlier one at the same pose, and
with the true one where the frames that opened the world show the view. High figures of the first kind alone prove
nothing, for remembered noise is consistent too: see `new_content`.
"""

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.errors import check_integer
from ctxmem_env.evaluation.metrics import depth_error, psnr, ssim
from ctxmem_env.evaluation.paths import Loops, Outward, out_and_back, turned
from ctxmem_env.evaluation.protocols import Walked, follow
from ctxmem_env.evaluation.visible import seeded_share
from ctxmem_env.generator import Generator
from ctxmem_env.scenes import Scene, door_walk, spawn

SEEDED = 0.9  # of a view that true frames show, from which it is compared with the true one
_DEGREES = 15  # of a step
_ROOM = "room"


def loop_cases(turns: tuple[int, ...] = (90, 180, 360), tours: tuple[int, ...] = (12, 0)) -> list[dict]:
    """A case for each of `turns`, in degrees, and one that leaves the room; each after each of `tours` true frames."""
    for turn in turns:
        if check_integer("turns", turn, 2 * _DEGREES, 720) % _DEGREES:
            raise ValueError(f"turns={turn} is no multiple of {_DEGREES} degrees, the turn of a step; choose another.")
    return [{"path": path, "tour": tour} for path in (*(f"turn {turn}" for turn in turns), _ROOM) for tour in tours]


def measure_loop(
    generator: Generator,
    seeds: list[int],
    path: str,
    tour: int,
    num_context: int = 8,
    num_steps: int | None = None,
) -> dict:
    """Figures of one walk out and back in each of the scenes, None for one that has no such way.

    own_db, own_ssim: new frames against its own earlier ones; true_db, true_ssim, and depth_error, the median relative
    error: against true ones. `_sheet`: rows of frames, each walk above the truth.

    Args:
        path: "turn N", N degrees on the spot, or "room", through a door.
        tour: true frames in memory besides the first one.
        num_context: context slots.
        num_steps: denoising steps; None for the generator's default.
    """
    loops = out_and_back(seeds, _outward(path), tour, generator.height, generator.width)
    names = ("own_db", "own_ssim", "true_db", "true_ssim", "depth_error")
    values: dict = {name: [None] * len(seeds) for name in names}
    if loops is None:
        return values | {"_sheet": []}
    walked = follow(generator, loops.walks, replay=False, num_context=num_context, num_steps=num_steps)
    for world, row in enumerate(loops.rows):
        for name, value in zip(names, _figures(loops, walked, world), strict=True):
            values[name][row] = value
    return values | {"_sheet": _sheet(loops, walked)}


def _outward(path: str) -> Outward:
    if path == _ROOM:
        return door_walk
    kind, _, degrees = path.partition(" ")
    if kind != "turn" or not degrees.isdecimal():
        raise ValueError(f"path={path!r}; expected 'room', or 'turn' and degrees, such as 'turn 90'.")

    def turn(scene: Scene, rng: np.random.Generator) -> Tensor:
        return turned(spawn(scene, rng), int(degrees) // _DEGREES)

    return turn


def own_agreement(loops: Loops, walked: Walked, world: int) -> tuple[float, float]:
    """PSNR in dB and SSIM between the frames of the way back and those of the way out at the same poses."""
    n = loops.lengths[world]
    back = torch.arange(n + 1, 2 * n)  # step t, counted from 1, is frame t - 1
    frames = walked.frames[world]
    later, earlier = frames[back - 1], frames[2 * n - back - 1]
    return psnr(later, earlier).mean().item(), ssim(later, earlier).mean().item()


def true_agreement(loops: Loops, walked: Walked, world: int) -> tuple[float, float, float]:
    """PSNR in dB, SSIM and median relative depth error against the truth, of views back that true frames showed."""
    n, walks = loops.lengths[world], loops.walks
    back = torch.arange(n, 2 * n)
    back = back[seeded_share(walks, world)[back] >= SEEDED]
    painted, depth = walked.frames[world, back], walked.depth[world, back]
    true, true_depth = walks.frames[world, walks.seeded + back], walks.depth[world, walks.seeded + back]
    if not len(back):
        return (float("nan"),) * 3
    return psnr(painted, true).mean().item(), ssim(painted, true).mean().item(), depth_error(depth, true_depth)


def _figures(loops: Loops, walked: Walked, world: int) -> tuple[float, ...]:
    return *own_agreement(loops, walked, world), *true_agreement(loops, walked, world)


def _sheet(loops: Loops, walked: Walked, columns: int = 16) -> list[Tensor]:
    rows = []
    for world, n in enumerate(loops.lengths[:8]):
        at = np.linspace(0, 2 * n - 1, columns).round().astype(int)
        rows += [walked.frames[world, at], loops.walks.frames[world, loops.walks.seeded + at]]
    return rows
