"""Shortest ways over the free ground of a scene."""

import numpy as np
from torch import Tensor

from ctxmem_env.scenes.geometry import Scene
from ctxmem_env.scenes.navigation import Ground

_CELL = 0.15  # metres
_STRAIGHT = 0.03  # metres between the places of a straight way that must be free
_SNAP = 3  # cells around a place that may stand for it
# Steps to the 16 nearest directions: at most 2.8 % longer than a straight line.
_MOVES = [(x, y) for x in range(-2, 3) for y in range(-2, 3) if np.gcd(x, y) == 1]


def shortest_way(scene: Scene, start: Tensor, goal: Tensor, radius: float) -> float:
    """Metres of the shortest way of a disc of `radius` metres between two places (2,) of a scene; infinite if none.

    Exact where the straight line is free; otherwise over a grid of 0.15 m in 16 directions, up to about 3 % too long.
    """
    ground = Ground(scene)
    start, goal = (np.asarray(place, dtype=np.float64) for place in (start, goal))
    straight = float(np.hypot(*(goal - start)))
    along = np.linspace(0, 1, max(2, int(straight / _STRAIGHT) + 1))[:, None]
    if ground.free(start + along * (goal - start), radius).all():
        return straight
    x0, y0, x1, y1 = (float(value) for value in ground.bounds)
    xs, ys = np.arange(x0, x1 + _CELL, _CELL), np.arange(y0, y1 + _CELL, _CELL)
    centres = np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1)
    free = ground.free(centres.reshape(-1, 2), radius).reshape(centres.shape[:2])
    ends = [np.where(free, np.hypot(*np.moveaxis(centres - place, -1, 0)), np.inf) for place in (start, goal)]
    ends = [np.where(end <= _SNAP * _CELL, end, np.inf) for end in ends]
    return float((_spread(free, ends[0]) + ends[1]).min())


def _spread(free: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Metres to every free cell from those whose distance is known."""
    margin = 2
    free, distance = np.pad(free, margin), np.pad(distance, margin, constant_values=np.inf)
    inner = (slice(margin, -margin),) * 2
    while True:
        best = distance.copy()
        for x, y in _MOVES:
            moved = np.roll(distance, (x, y), axis=(0, 1)) + _CELL * np.hypot(x, y)
            if abs(x) + abs(y) == 3:  # over the two cells between, one of which must be free
                half = (round(x / 2 + 1e-9 * x), round(y / 2 + 1e-9 * y)), (int(x / 2), int(y / 2))
                between = np.roll(free, half[0], axis=(0, 1)) | np.roll(free, half[1], axis=(0, 1))
                moved = np.where(between, moved, np.inf)
            np.minimum(best, moved, out=best)
        best[~free] = np.inf
        if not (best < distance).any():
            return distance[inner]
        distance = best
