"""Which remembered frames show what a place looks like: what is painted where nothing is remembered goes after them."""

import torch
from torch import Tensor

from ctxmem_env.device import is_host
from ctxmem_env.generator import Examples
from ctxmem_env.memory import FrameMemory

MOST = 16  # of a world; each has so many slots, so that worlds of any openings fit into one call


def choose_examples(memory: FrameMemory, given: Tensor, cameras: int = 1, remembers: bool = True) -> Examples:
    """The frames that opened each world, at most `MOST`, spread evenly; where all are forgotten, the oldest ones.

    They are the same from step to step, whatever retrieval chooses: a place that is made up piece by piece should be
    one place.

    Args:
        memory: of B worlds.
        given: int64 (B,), how many frames opened each of them.
        cameras: that share a world; each gets a row of its own, row = world * cameras + camera.
        remembers: False for a retrieval that does not search all frames, "recent" or "none", say. It shall not remember
            by way of examples: all slots are empty, and what it retrieves is the example.
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
    frames, depth, poses, *_ = memory.gather(indices)
    chosen = frames, depth, poses, (indices >= 0) & remembers
    if cameras > 1:
        chosen = (part.repeat_interleave(cameras, dim=0) for part in chosen)
    return Examples(*chosen)


class KeptExamples:
    """The examples of some worlds, chosen once for as long as nothing that opened them can be forgotten.

    A pickle or a deep copy starts empty: they are derived from frames that memory still holds.
    """

    def __init__(self) -> None:
        self._chosen: dict[bool, Examples] = {}

    def choose(self, memory: FrameMemory, given: Tensor, cameras: int, remembers: bool) -> Examples:
        """See `choose_examples`."""
        if memory.capacity is not None:
            return choose_examples(memory, given, cameras, remembers)
        if remembers not in self._chosen:
            self._chosen[remembers] = choose_examples(memory, given, cameras, remembers)
        return self._chosen[remembers]

    def clear(self) -> None:
        """To be called when a world opens anew."""
        self._chosen.clear()

    def __getstate__(self) -> dict:
        return {}

    def __setstate__(self, state: dict) -> None:
        self.__init__()
