"""Which remembered frames show what a place looks like: what is painted where nothing is remembered goes after them."""

from dataclasses import replace

import torch
from torch import Tensor

from ctxmem_env.device import is_host
from ctxmem_env.generator import Examples
from ctxmem_env.memory import FrameMemory

NEARBY = 3.0  # metres; a place that is made up is one place for so far around its middle
MOST = 16  # of a world; each has so many slots, so that worlds of any openings fit into one call


def first_stand(memory: FrameMemory, poses: Tensor) -> Tensor:
    """Where a camera first stood of all places within `NEARBY` of new views at poses (B * cameras, 6), metres (.., 3).

    The place of the view itself where none did. It depends on what is remembered alone, not on the way that led there.
    """
    places, new = memory.poses[..., :3], poses[:, :3].view(memory.num_worlds, -1, 1, 3)
    # Axis by axis: of a hundred thousand frames each pass counts.
    away = sum((there[:, None] - here).square_() for there, here in zip(places.unbind(-1), new.unbind(-1), strict=True))
    near = away < NEARBY**2
    near &= torch.arange(near.shape[-1], device=near.device) < memory.lengths[:, None, None].to(near.device)
    first = near.to(torch.uint8).argmax(-1)
    found = places.gather(1, first[..., None].expand(-1, -1, 3))
    return found.where(near.any(-1, keepdim=True), new[:, :, 0]).flatten(0, 1)


def choose_examples(memory: FrameMemory, given: Tensor, poses: Tensor, remembers: bool = True) -> Examples:
    """The frames that opened each world, at most `MOST`, spread evenly; where all are forgotten, the oldest ones.

    They are the same from step to step, whatever retrieval chooses: a place that is made up piece by piece should be
    one place. Its middle is `first_stand`.

    Args:
        memory: of B worlds.
        given: int64 (B,), how many frames opened each of them.
        poses: (B * cameras, 6), of the new views; row = world * cameras + camera.
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
    frames, depth, seen_from, *_ = memory.gather(indices)
    chosen, cameras = (frames, depth, seen_from, (indices >= 0) & remembers), len(poses) // memory.num_worlds
    if cameras > 1:
        chosen = (part.repeat_interleave(cameras, dim=0) for part in chosen)
    return Examples(*chosen, first_stand(memory, poses))


class KeptExamples:
    """The examples of some worlds, but for their middle chosen once, for as long as no opening can be forgotten.

    A pickle or a deep copy starts empty: they are derived from frames that memory still holds.
    """

    def __init__(self) -> None:
        self._chosen: dict[bool, Examples] = {}

    def choose(self, memory: FrameMemory, given: Tensor, poses: Tensor, remembers: bool) -> Examples:
        """See `choose_examples`."""
        if memory.capacity is None and remembers in self._chosen:
            return replace(self._chosen[remembers], centre=first_stand(memory, poses))
        self._chosen[remembers] = choose_examples(memory, given, poses, remembers)
        return self._chosen[remembers]

    def clear(self) -> None:
        """To be called when a world opens anew."""
        self._chosen.clear()

    def __getstate__(self) -> dict:
        return {}

    def __setstate__(self, state: dict) -> None:
        self.__init__()
