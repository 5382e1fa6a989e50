"""Going back to a past moment of a memory or a world, and taking up that of another one."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ctxmem_env.eviction import Eviction
from ctxmem_env.slot_log import Moment
from ctxmem_env.spatial_index import SpatialIndex


@dataclass(frozen=True, eq=False)
class MemoryState:
    """A moment of one `FrameMemory`; fields as there. T is the longest length, S the slots that there were.

    lengths, counts (B,); poses (B, T, 6); times (B, T); slots (B, S), a permutation of 0 to S - 1 in the order of time,
    the free ones last.
    """

    moment: Moment
    lengths: Tensor
    counts: Tensor
    poses: Tensor
    times: Tensor
    slots: Tensor
    index: SpatialIndex | None
    eviction: Eviction | None


@dataclass(frozen=True, eq=False)
class WorldState:
    """A moment of one `SceneWorld`: its memory, the states of its random generators, its other `parts` by name."""

    memory: MemoryState
    generators: list[Tensor]
    parts: dict[str, Any]


class WithMoments:
    """What `ctxmem_env.memory.FrameMemory`, to whose attributes this refers, has to do with past moments."""

    def clone_state(self) -> MemoryState:
        """This moment, for `restore_state`. Frames and depth are not copied before something else takes their place."""
        filled = torch.arange(self._slots.shape[1], device=self.device) < self.lengths[:, None]
        return MemoryState(
            self._log.hold(torch.zeros_like(filled).scatter_(1, self._slots, filled)),
            self._lengths.clone(),
            self._counts.clone(),
            self.poses.clone(),
            self.times.clone(),
            self._slots.clone(),
            deepcopy(self.index),
            deepcopy(self._eviction),
        )

    def restore_state(self, state: MemoryState) -> tuple[Tensor, Tensor]:
        """Goes back to a moment of this memory, as often as one likes; worlds (n,) and slots (n,) that were rewritten.

        Raises:
            ValueError: a state of another memory.
        """
        if not isinstance(state, MemoryState) or state.moment not in self._log:
            raise ValueError("state is not one that clone_state gave here; another memory is reached by a file alone.")
        rewritten = self._log.put_back(state.moment, (self._frames, self._depth))
        self._lengths[:], self._counts[:] = state.lengths, state.counts
        self._poses[:, : state.poses.shape[1]], self._times[:, : state.times.shape[1]] = state.poses, state.times
        size = state.slots.shape[1]
        self._slots[:, :size] = state.slots
        self._slots[:, size:] = torch.arange(size, self._slots.shape[1], device=self.device)
        self.index, self._eviction = deepcopy(state.index), deepcopy(state.eviction)
        return rewritten

    def state_from(
        self,
        frames: Tensor,
        depth: Tensor,
        poses: Tensor,
        times: Tensor,
        slots: Tensor,
        count: int,
        eviction: Eviction | None,
    ) -> MemoryState:
        """A state of n frames from elsewhere, oldest first, in a single world; nothing is checked.

        frames (n, H, W, 3), depth float16 (n, H, W), poses (n, 6) and times (n,); slots (S,), a permutation of 0 to
        S - 1 that begins with those of the frames; count of all frames that there ever were; eviction as it was.
        """
        while self._slots.shape[1] < len(slots):
            self._grow()
        index = None if self.index is None else SpatialIndex(1)
        if index is not None:
            for slot, pose in zip(slots.tolist(), poses.tolist(), strict=False):
                index.append(0, slot, pose)
        moment = self._log.invent(slots[: len(frames)], list(zip(frames, depth, strict=True)))
        length, counts = torch.tensor([len(frames)]), torch.tensor([count])
        return MemoryState(moment, length, counts, poses[None], times[None], slots[None], index, eviction)

    def at(self, worlds: Tensor, slots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frames (n, H, W, 3), depth (n, H, W) and poses (n, 6) of what lies in `slots` (n,) of `worlds` (n,)."""
        index = (self._slots[worlds] == slots[:, None]).long().argmax(1)
        return self._frames[worlds, slots], self._depth[worlds, slots].float(), self._poses[worlds, index]
