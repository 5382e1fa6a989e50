"""What a full memory forgets: each policy names, in each world that is full, the slot of one frame."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.errors import unknown_name
from ctxmem_env.greedy import BEST_PROBABILITY
from ctxmem_env.overlap import MAX_RANGE, pitch_overlap, sample_points

_GRID = (8, 3)  # columns and depths of the sample points of a view
_PARALLAX_SCALE = 0.5  # metres; see Coverage


class Eviction(Protocol):
    """A policy for B worlds. A slot is where a frame lies from its arrival until it is forgotten."""

    def __init__(self, num_worlds: int, capacity: int, device: torch.device): ...

    def clear(self, world: int, fov: float, seed: int) -> None:
        """A world starts over, with that field of view in degrees and that seed."""
        ...

    def choose(self, worlds: Tensor, slots: Tensor, counts: list[int]) -> Tensor:
        """The slots int64 (n,) to free in n full `worlds` (n,), before a frame comes into each.

        slots (n, M) are those of their frames, oldest first; counts, how many frames each was given so far.
        """
        ...

    def remember(self, worlds: Tensor, slots: Tensor, poses: Tensor) -> None:
        """A new frame came into a slot (n,) of each of n worlds, in the place of what was there."""
        ...


class Oldest:
    """Forgets the oldest frame, so that the recent past is left."""

    def __init__(self, num_worlds: int, capacity: int, device: torch.device):
        pass

    def clear(self, world: int, fov: float, seed: int) -> None:
        pass

    def choose(self, worlds: Tensor, slots: Tensor, counts: list[int]) -> Tensor:
        return slots[:, 0]

    def remember(self, worlds: Tensor, slots: Tensor, poses: Tensor) -> None:
        pass


class Reservoir(Oldest):
    """Forgets at random, so that the newest frame and a uniform sample of all others are left (Vitter, 1985)."""

    def __init__(self, num_worlds: int, capacity: int, device: torch.device):
        self._rngs = [np.random.default_rng(0) for _ in range(num_worlds)]

    def clear(self, world: int, fov: float, seed: int) -> None:
        self._rngs[world] = np.random.default_rng(seed)

    def choose(self, worlds: Tensor, slots: Tensor, counts: list[int]) -> Tensor:
        drawn = [int(self._rngs[world].integers(count)) for world, count in zip(worlds.tolist(), counts, strict=True)]
        # What was newest until now takes the place of the frame that was drawn, or, beyond these, is not kept.
        drawn = torch.tensor(drawn, device=slots.device).clamp_max(slots.shape[1] - 1)
        return slots.gather(1, drawn[:, None]).squeeze(1)


class Coverage:
    """Forgets the frame whose view is best covered by all others; of equal ones the youngest, for copies degrade.

    A frame covers a point of a view, as in retrieval, with a probability that falls with the distance between the two
    cameras; here four times as fast, for a frame is well replaced only by those from about the same place. Time and
    storage for a world grow with its capacity.
    """

    def __init__(self, num_worlds: int, capacity: int, device: torch.device):
        self._fov = torch.full((num_worlds,), 90.0, dtype=torch.float64, device=device)
        # All by slot. Poses lie coordinate by coordinate; a frame's number is how many came before it.
        self._poses = torch.zeros(num_worlds, 6, capacity, dtype=torch.float64, device=device)
        self._numbers = torch.full((num_worlds, capacity), -1, device=device)
        self._count = torch.zeros(num_worlds, dtype=torch.int64, device=device)
        # Logarithm of the probability that no other frame shows a point of the frame's view.
        self._hidden = torch.zeros(num_worlds, capacity, _GRID[0] * _GRID[1], dtype=torch.float64, device=device)

    def clear(self, world: int, fov: float, seed: int) -> None:
        self._fov[world] = fov
        self._numbers[world] = -1
        self._count[world] = 0

    def choose(self, worlds: Tensor, slots: Tensor, counts: list[int]) -> Tensor:
        # Of frames that are equally covered but for rounding the youngest.
        younger = self._numbers[worlds] - self._count[worlds, None]
        return (self._hidden[worlds].exp_().mean(2) - 1e-9 * younger).argmin(1)

    def remember(self, worlds: Tensor, slots: Tensor, poses: Tensor) -> None:
        rows, views = torch.arange(len(worlds), device=worlds.device), self._poses[worlds]
        filled = self._numbers[worlds] >= 0
        gone = views[rows, :, slots, None]
        was_there = filled[rows, slots]
        filled[rows, slots] = False
        poses = poses.to(views)[..., None]
        # What is gone in the views of the others, what is new in theirs, and they in its view, in one go.
        from_new = poses - views
        offsets = torch.cat([gone - views, from_new, -from_new], 2)
        yaw = torch.cat([views[:, 3], views[:, 3], poses[:, 3].expand_as(filled)], 1)
        by_gone, by_new, of_new = _log_hidden(offsets, yaw, self._fov[worlds]).chunk(3, dim=1)
        hidden = self._hidden[worlds] + by_new - by_gone * was_there[:, None, None]
        hidden[rows, slots] = (of_new * filled[..., None]).sum(1)
        self._hidden[worlds] = hidden
        self._poses[worlds, :, slots] = poses[..., 0]
        self._numbers[worlds, slots] = self._count[worlds]
        self._count[worlds] += 1


def _log_hidden(offsets: Tensor, yaw: Tensor, fov: Tensor) -> Tensor:
    """Logarithm (n, N, P) of the probability that a camera does not show a point of a view.

    offsets (n, 6, N): poses of cameras less those of views; yaw (n, N) of the views; fov (n,), degrees.
    """
    east, north, up, heading, pitch, _ = offsets.unbind(1)
    points, slope = sample_points(fov, _GRID)
    cos, sin = yaw.cos(), yaw.sin()
    x, y = east * cos + north * sin, north * cos - east * sin
    cos, sin = heading.cos(), heading.sin()
    ahead = torch.stack([cos, sin, -(cos * x + sin * y)], 2) @ points
    left = torch.stack([-sin, cos, sin * x - cos * y], 2) @ points
    inside = (left.abs_() <= slope[:, None, None] * ahead) & (ahead <= MAX_RANGE)
    near = torch.exp((x * x + y * y + up * up).sqrt_() / -_PARALLAX_SCALE)
    return torch.log1p(-BEST_PROBABILITY * near * pitch_overlap(pitch, fov))[..., None].where(inside, 0.0)


EVICTIONS: dict[str, type[Eviction]] = {"coverage": Coverage, "oldest": Oldest, "reservoir": Reservoir}


def check_eviction(eviction: str) -> str:
    """The name of a policy; ValueError for an unknown one."""
    if not isinstance(eviction, str) or eviction not in EVICTIONS:
        raise unknown_name("eviction", eviction, EVICTIONS)
    return eviction
