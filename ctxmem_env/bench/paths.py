"""Long camera paths for the benchmarks: one that never repeats a pose exactly, and one that does so all the time."""

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.actions import DiscreteActions
from ctxmem_env.camera import move
from ctxmem_env.scenes import build_scene, random_walk, shift

_SEED = 0
_SIDE = 24  # steps of a quarter meter
_CORNER = 6  # turns of 15 degrees


def walk(length: int) -> Tensor:
    """Poses float32 (length, 6) of a random walk through a scene, as by continuous actions."""
    rng = np.random.default_rng(_SEED)
    return shift(random_walk(build_scene(_SEED), length, rng), rng).float()


def loop(length: int) -> Tensor:
    """Poses float32 (length, 6) of a walk around a square of six metres, lap after lap over the same poses."""
    actions = DiscreteActions()
    side = [actions.names.index("forward")] * _SIDE + [actions.names.index("turn_left")] * _CORNER
    poses = [torch.tensor([0.0, 0.0, 1.5, 0.0, 0.0, 0.0])]
    for motion in actions.to_motion(side * 4)[:-1]:
        poses.append(move(poses[-1], motion))
    lap = torch.stack(poses)
    return lap.repeat(-(-length // len(lap)), 1)[:length]


PATHS = {"random walk": walk, "loop": loop}
