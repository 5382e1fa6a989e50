"""What scripted policies share: the discrete actions by name, turning to a bearing, and how far the way is free."""

import math

import numpy as np
import torch

from ctxmem_env.actions import TURN_ANGLE, DiscreteActions
from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.dynamics import DEFAULT_RADIUS, GAP, surface_points, sweep_points

STAY, FORWARD, TURN_LEFT, TURN_RIGHT = (
    DiscreteActions.names.index(name) for name in ("stay", "forward", "turn_left", "turn_right")
)
CLEARANCE = DEFAULT_RADIUS + GAP  # metres of free ground around the camera that a body needs
STUCK = 0.05  # metres; a step forward that led no farther was stopped


def turn_or_go(turns: np.ndarray) -> np.ndarray:
    """Actions int64 (N,): turn to the left where `turns` (N,), in turns to the left, round to more than 0; go at 0."""
    turns = np.round(turns)
    return np.where(turns > 0, TURN_LEFT, np.where(turns < 0, TURN_RIGHT, FORWARD))


def headings_in_view(fov: float = DEFAULT_FOV, turn_angle: float = TURN_ANGLE) -> np.ndarray:
    """Headings (K,) in whole turns, odd in number, 0 in the middle, that a view of `fov` degrees shows with margin."""
    most = max(0, int((fov / 2 - turn_angle) / turn_angle + 1e-6))
    return np.arange(-most, most + 1)


def free_ways(depth: np.ndarray, headings: np.ndarray, fov: float = DEFAULT_FOV) -> np.ndarray:
    """Metres (N, K) that a body may walk in each direction until it touches what the frame shows; infinite if never.

    Args:
        depth: float32 (N, H, W, 1), metres, of level views.
        headings: (K,), radians from the viewing direction, left positive.
        fov: degrees.
    """
    views = torch.from_numpy(np.ascontiguousarray(depth[..., 0]))[:, None]
    level = torch.zeros(len(views), 1, 6)
    mask, angle = torch.ones(len(views), 1, dtype=torch.bool), torch.full((len(views),), float(fov))
    points, valid = surface_points(views, level, mask, angle, level[:, 0])
    ways = []
    for heading in headings.tolist():
        direction = torch.tensor([math.cos(heading), math.sin(heading)]).expand(len(views), 2)
        ways.append(sweep_points(points, valid, direction, CLEARANCE)[0])
    return torch.stack(ways, dim=1).numpy()
