"""What a full memory forgets: each policy names, in each world that is full, the slot of one frame."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.device import is_host
from ctxmem_env.errors import unknown_name
from ctxmem_env.greedy import PARALLAX_SCALE
from ctxmem_env.overlap import in_sector, pitch_overlap

_GRID = (8, 3)  # columns and depths of the sample points of a view
# Where all is covered, what stands for fewer views goes first, and then what is younger.
_LEAST_MISSED, _AGE_WEIGHT = 1e-6, 1e-9


class Eviction(Protocol):
    """A policy for B worlds. A slot is where a frame lies from its arrival until it is forgotten."""

    def __init__(self, num_worlds: int, capacity: int, device: torch.device): ...

    def clear(self, world: int, fov: float, seed: int) -> None:
        """A world starts over, with that field of view in degrees and that seed."""
        ...

    def choose(self, worlds: Tensor, slots: Tensor, counts: list[int]) -> Tensor:
        """The slots int64 (n,) to free in n full `worlds` (n,), before a frame comes into each.

        slots (n, M) are those of the frames that may go, oldest first; counts, how many frames each world was given
        up to the youngest of these.
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
    """Forgets the frame that is missed least: its view, and those of the frames it stands for, others cover well.

    A view is covered, as in retrieval, by the frame that is expected to show the largest share of it. A frame stands
    for its own view and for those of forgotten frames that it covered best, so that where the camera was often more
    frames are kept; what is missed is one view for each that is not covered. Of equal frames the youngest goes, for
    copies degrade. Storage grows with the square of the capacity: 4 bytes for each pair of frames of a world.
    """

    def __init__(self, num_worlds: int, capacity: int, device: torch.device):
        self._fov = torch.full((num_worlds,), 90.0, dtype=torch.float64, device=device)
        # All by slot. Poses lie coordinate by coordinate; a frame's number is how many came before it.
        self._poses = torch.zeros(num_worlds, 6, capacity, dtype=torch.float64, device=device)
        self._numbers = torch.full((num_worlds, capacity), -1, device=device)
        self._count = torch.zeros(num_worlds, dtype=torch.int64, device=device)
        self._views = torch.zeros(num_worlds, capacity, device=device)
        # [world, i, j] is the share of the view of i that j shows; -1 for j = i and where there is no j.
        self._overlap = torch.full((num_worlds, capacity, capacity), -1.0, device=device)
        self._covered = torch.full((num_worlds, capacity), -1.0, device=device)  # the largest share of each row

    def clear(self, world: int, fov: float, seed: int) -> None:
        self._fov[world] = fov
        self._numbers[world] = -1
        self._count[world] = 0

    def choose(self, worlds: Tensor, slots: Tensor, counts: list[int]) -> Tensor:
        missed = 1 - self._covered[worlds].clamp_min(0)
        age = 1 - self._numbers[worlds] / self._count[worlds, None]
        loss = self._views[worlds] * (missed + _LEAST_MISSED) + _AGE_WEIGHT * age
        if slots.shape[1] < loss.shape[1]:
            loss = torch.full_like(loss, torch.inf).scatter(1, slots, loss.gather(1, slots))
        return loss.argmin(1)

    def remember(self, worlds: Tensor, slots: Tensor, poses: Tensor) -> None:
        rows, views = torch.arange(len(worlds), device=worlds.device), self._poses[worlds]
        others = self._numbers[worlds] >= 0
        gone = others[rows, slots]
        others[rows, slots] = False
        heirs = self._overlap[worlds, slots].argmax(1)
        self._views[worlds, heirs] += self._views[worlds, slots] * gone
        poses = poses.to(views)[..., None]
        offsets = poses - views
        yaw = torch.cat([views[:, 3], poses[:, 3].expand_as(others)], 1)
        both = _expected_overlap(torch.cat([offsets, -offsets], 2), yaw, self._fov[worlds]).float()
        of_others, of_new = (share.where(others, -1.0) for share in both.chunk(2, dim=1))
        covered = self._covered[worlds]
        orphans = (self._overlap[worlds, :, slots] >= covered) & gone[:, None]
        self._overlap[worlds, :, slots] = of_others
        self._overlap[worlds, slots] = of_new
        covered = torch.maximum(covered, of_others)
        covered[rows, slots] = of_new.amax(1)
        self._covered[worlds] = covered
        if is_host(orphans):  # elsewhere it is faster to look at all pairs than to ask which these are
            at, slots_of_orphans = orphans.nonzero(as_tuple=True)
            at = worlds[at]
            self._covered[at, slots_of_orphans] = self._overlap[at, slots_of_orphans].amax(1)
        else:
            self._covered[worlds] = self._overlap[worlds].amax(2)
        self._poses[worlds, :, slots] = poses[..., 0]
        self._views[worlds, slots] = 1.0
        self._numbers[worlds, slots] = self._count[worlds]
        self._count[worlds] += 1


def _expected_overlap(offsets: Tensor, yaw: Tensor, fov: Tensor) -> Tensor:
    """The share (n, N) of views that cameras are expected to show; 1 from the very same pose.

    offsets (n, 6, N): poses of cameras less those of views; yaw (n, N) of the views; fov (n,), degrees.
    """
    east, north, up, heading, pitch, _ = offsets.unbind(1)
    cos, sin = yaw.cos(), yaw.sin()
    x, y = east * cos + north * sin, north * cos - east * sin
    near = torch.exp((x * x + y * y + up * up).sqrt_() / -PARALLAX_SCALE)
    return in_sector(x, y, heading, fov, _GRID).double().mean(1) * near * pitch_overlap(pitch, fov)


EVICTIONS: dict[str, type[Eviction]] = {"coverage": Coverage, "oldest": Oldest, "reservoir": Reservoir}


def check_eviction(eviction: str) -> str:
    """The name of a policy; ValueError for an unknown one."""
    if not isinstance(eviction, str) or eviction not in EVICTIONS:
        raise unknown_name("eviction", eviction, EVICTIONS)
    return eviction
