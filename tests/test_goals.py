"""Places that are drawn as goals."""

import math

import numpy as np
import pytest
import torch

from ctxmem_env.place import OpenPlace
from ctxmem_env.tasks.goals import draw_seen_place
from ctxmem_env.tasks.task import Beginning


class Winding(OpenPlace):
    """Where every way is so many times as long as the straight one."""

    def __init__(self, times):
        self.times = times

    def way(self, start, goal):
        return self.times * super().way(start, goal)


def draw(seed, times, depth):
    """x, y and the way to a goal that is drawn where a wall stands `depth` metres before the camera at the origin."""
    frames, poses = torch.zeros(1, 16, 16, 3, dtype=torch.uint8), torch.tensor([[0, 0, 1.5, 0, 0, 0]])
    beginning = Beginning(frames, torch.full((1, 16, 16), depth), poses, 90.0, Winding(times))
    return draw_seen_place(beginning, np.random.default_rng(seed))


@pytest.mark.parametrize("times", [1.0, 2.5])
def test_where_all_is_nearer_than_a_metre_the_farthest_place_is_drawn_however_long_the_way(times):
    # A wall at 0.9 m is 1.23 m away in the outermost columns, and 0.83 m remain before it.
    for seed in range(12):
        x, y, way = draw(seed, times, 0.9)
        assert 0.6 < math.hypot(x, y) < 0.84
        assert way == pytest.approx(times * math.hypot(x, y))


def test_how_long_a_way_is_does_not_choose_the_goal():
    for depth in (0.6, 0.9, 5.0):
        for seed in range(6):
            assert draw(seed, 2.5, depth)[:2] == draw(seed, 1.0, depth)[:2]
