"""What is painted where nothing is remembered: after which frames, and around which place."""

from dataclasses import replace

import torch
from torch import Tensor

from ctxmem_env.device import is_host
from ctxmem_env.generator import Examples
from ctxmem_env.memory import FrameMemory

NEARBY = 3.0  # metres; what is made up is one place for so far around where a camera stood first
MOST_STANDS = 128  # of a world, at least so far apart: 900 square metres
_NOWHERE = 1e9  # metres
MOST = 16  # of a world; each has so many slots, so that worlds of any openings fit into one call


def no_stands(num_worlds: int, device: torch.device) -> Tensor:
    """Where cameras of worlds have stood that have not been opened yet, for `add_stands`: (B, `MOST_STANDS`, 3)."""
    return torch.full((num_worlds, MOST_STANDS, 3), _NOWHERE, device=device)


def add_stands(stands: Tensor, worlds: Tensor, places: Tensor) -> None:
    """Notes that a camera stood at `places` (n, 3) of different `worlds` (n,), where none has stood within `NEARBY`.

    In place; a world with `MOST_STANDS` of them is full.
    """
    worlds = worlds.to(stands.device)
    own = stands[worlds]
    known = ((own - places[:, None]).square().sum(-1) < NEARBY**2).any(1, keepdim=True)
    free = own[..., 0] == _NOWHERE
    here = free & (free.cumsum(1) == 1) & ~known
    stands[worlds] = torch.where(here[..., None], places[:, None], own)


def first_stand(stands: Tensor, poses: Tensor) -> Tensor:
    """The first of the stands within `NEARBY` of new views at poses (B * cameras, 6), metres (B * cameras, 3).

    The place of the view itself where there is none.
    """
    new = poses[:, :3].view(len(stands), -1, 3)
    near = (stands[:, None] - new[:, :, None]).square().sum(-1) < NEARBY**2
    first = near.to(torch.uint8).argmax(-1, keepdim=True)
    found = stands.gather(1, first.expand(-1, -1, 3))
    return found.where(near.any(-1, keepdim=True), new).flatten(0, 1)


def choose_examples(memory: FrameMemory, given: Tensor, centre: Tensor, remembers: bool = True) -> Examples:
    """The frames that opened each world, at most `MOST`, spread evenly; where all are forgotten, the oldest ones.

    They are the same from step to step, whatever retrieval chooses: a place that is made up piece by piece should be
    one place.

    Args:
        memory: of B worlds.
        given: int64 (B,), how many frames opened each of them.
        centre: (B * cameras, 3), see `first_stand`; row = world * cameras + camera.
        remembers: False for a retrieval that `forgets`, "recent" or "none", say. It shall not remember by way of
            examples: all slots are empty, and what it retrieves is the example.
    """
    # Elsewhere than on the CPU to look at a number is to wait for it.
    first = int(given.max()) if is_host(given) else None
    lengths, times = memory.lengths[:, None], memory.times[:, :first]
    order = torch.arange(times.shape[1], device=times.device)
    left = ((times < given[:, None]) & (order < lengths)).sum(1, keepdim=True)
    # Nobody painted the oldest frames, as many as are left of them.
    count = left.where(left > 0, lengths.clamp(max=MOST))
    order = torch.arange(MOST, device=times.device)
    indices = (count - 1 - order * count.clamp(min=MOST) // MOST).clamp(min=-1)
    frames, depth, seen_from, *_ = memory.gather(indices)
    chosen, cameras = (frames, depth, seen_from, (indices >= 0) & remembers), len(centre) // memory.num_worlds
    if cameras > 1:
        chosen = (part.repeat_interleave(cameras, dim=0) for part in chosen)
    return Examples(*chosen, centre)


class KeptExamples:
    """The examples of some worlds, but for their middle chosen once, for as long as no opening can be forgotten.

    A pickle or a deep copy starts empty: they are derived from frames that memory still holds.
    """

    def __init__(self) -> None:
        self._chosen: dict[bool, Examples] = {}

    def choose(self, memory: FrameMemory, given: Tensor, centre: Tensor, remembers: bool) -> Examples:
        """See `choose_examples`."""
        if memory.capacity is not None:
            return choose_examples(memory, given, centre, remembers)
        if remembers not in self._chosen:
            self._chosen[remembers] = choose_examples(memory, given, centre, remembers)
        return replace(self._chosen[remembers], centre=centre)

    def clear(self) -> None:
        """To be called when a world opens anew."""
        self._chosen.clear()

    def __getstate__(self) -> dict:
        return {}

    def __setstate__(self, state: dict) -> None:
        self.__init__()
