"""The memory of a world: the frames seen so far, with their depth, poses and times."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.device import is_host
from ctxmem_env.errors import check_integer
from ctxmem_env.eviction import EVICTIONS, check_eviction
from ctxmem_env.memory_state import WithMoments
from ctxmem_env.slot_log import SlotLog
from ctxmem_env.spatial_index import SpatialIndex

_INITIAL_SLOTS = 64


class Entries(NamedTuple):
    """Remembered frames, k for each world; an empty slot holds zeros and the time -1.

    frames uint8 (B, k, H, W, 3); depth float32 (B, k, H, W), metres; poses float32 (B, k, 6);
    times int64 (B, k); slots int64 (B, k), where a frame lies from its arrival until it is evicted, 0 for an empty one;
    numbers int64 (B, k), which no two frames of a memory ever share, -1 for an empty slot.
    """

    frames: Tensor
    depth: Tensor
    poses: Tensor
    times: Tensor
    slots: Tensor
    numbers: Tensor


class FrameMemory(WithMoments):
    """What B worlds remember, each with its own length.

    An entry's index is its place in the order of time, 0 for the oldest. Its time counts the frames that the
    world was given before it, and like its number it never changes. Depth is stored in half precision: to 4 mm at 8 m.

    Args:
        num_worlds: B, at least 1.
        height, width: of a frame in pixels, at least 1.
        capacity: frames that a world may hold; one goes when one more comes. None: no limit, storage doubles.
        device: where frames, depth, poses and times are kept.
        eviction: which one goes: of "coverage" the one whose view is best covered by the others, of "oldest" the
            oldest, of "reservoir" one at random, so that a uniform sample of the past is left. See
            `ctxmem_env.eviction`.
        newest: how many of the newest frames of a world never go, at most `capacity`: where cameras share it, one of
            each.

    Attributes:
        index: where the frames were seen from, kept up to date; None unless the device is the CPU, for elsewhere a
            look at all poses at once is faster than to ask for them.
    """

    def __init__(
        self,
        num_worlds: int,
        height: int,
        width: int,
        capacity: int | None = None,
        device: str | torch.device = "cpu",
        eviction: str = "coverage",
        newest: int = 1,
    ):
        self.num_worlds = check_integer("num_worlds", num_worlds, 1)
        self.height = check_integer("height", height, 1)
        self.width = check_integer("width", width, 1)
        self.capacity = None if capacity is None else check_integer("capacity", capacity, 1)
        self._newest = check_integer("newest", newest, 1, self.capacity)
        self.device = torch.device(device)
        # On the CPU whatever the device is: how much is held is known without asking it.
        self._lengths = torch.zeros(num_worlds, dtype=torch.int64)
        self._counts = torch.zeros_like(self._lengths)
        self.index = SpatialIndex(num_worlds) if self.device.type == "cpu" else None
        policy = EVICTIONS[check_eviction(eviction)]
        self._eviction = None if capacity is None else policy(num_worlds, capacity, self.device)
        self._allocate(_INITIAL_SLOTS if capacity is None else min(_INITIAL_SLOTS, capacity))
        self._log = SlotLog(num_worlds, self._slots.shape[1], self.device)

    @property
    def lengths(self) -> Tensor:
        """Frames that each world holds, int64 (B,)."""
        return self._lengths.clone().to(self.device)

    @property
    def counts(self) -> Tensor:
        """Frames that each world was given since it was cleared, int64 (B,), on the CPU."""
        return self._counts.clone()

    @property
    def poses(self) -> Tensor:
        """Poses float32 (B, T, 6), oldest first, T the longest length; a view, valid until the next change.

        Entries behind a world's own length mean nothing.
        """
        return self._poses[:, : int(self._lengths.max())]

    @property
    def times(self) -> Tensor:
        """Times int64 (B, T), laid out as `poses` is."""
        return self._times[:, : int(self._lengths.max())]

    def append(
        self, frames: Tensor, depth: Tensor, poses: Tensor, worlds: Tensor | Sequence[int] | None = None
    ) -> Tensor:
        """Remembers one more frame for each of the n given worlds (all, in order, when None); the slots (n,) they take.

        Args:
            frames: uint8 (n, H, W, 3).
            depth: (n, H, W), metres, finite; beyond 65,504 m it is stored as that.
            poses: (n, 6), finite.
            worlds: distinct indices (n,).

        Raises:
            ValueError: a shape, type or value that does not fit; nothing is remembered then.
        """
        worlds = self._check_worlds(worlds)
        self.check_entry(frames, depth, poses, len(worlds))
        if self.capacity is not None:
            self._evict(worlds[self._lengths[worlds] == self.capacity])
        end, counts = self._lengths[worlds], self._counts[worlds]
        if int(end.max()) == self._slots.shape[1]:
            self._grow()
        self._lengths[worlds] += 1
        self._counts[worlds] += 1
        worlds, end, counts = (value.to(self.device) for value in (worlds, end, counts))
        slots = self._slots[worlds, end]
        self._log.overwrite(worlds, slots, (self._frames, self._depth))
        self._frames[worlds, slots] = frames.to(self.device)
        self._depth[worlds, slots] = depth.to(self.device).clamp(max=torch.finfo(torch.float16).max).half()
        self._poses[worlds, end] = poses.to(self._poses)
        self._times[worlds, end] = counts
        if self.index is not None:
            rows = self._poses[worlds, end].tolist()
            for world, slot, pose in zip(worlds.tolist(), slots.tolist(), rows, strict=True):
                self.index.append(world, slot, pose)
        if self._eviction is not None:
            self._eviction.remember(worlds, slots, self._poses[worlds, end])
        return slots

    def gather(self, indices: Tensor) -> Entries:
        """The entries at `indices` int64 (B, k), -1 for an empty slot; ValueError for one out of range."""
        indices = indices.to(self.device)
        if indices.ndim != 2 or len(indices) != self.num_worlds or indices.is_floating_point():
            came = f"{indices.dtype} of shape {tuple(indices.shape)}"
            raise ValueError(f"indices is {came}; expected int64 ({self.num_worlds}, k).")
        if is_host(indices) and bool(((indices < -1) | (indices >= self._lengths[:, None])).any()):
            lengths = self._lengths.tolist()
            raise ValueError(f"indices={indices.tolist()}; expected -1 or below the lengths {lengths}.")
        filled = indices >= 0
        world = torch.arange(self.num_worlds, device=self.device)[:, None]
        index = indices.clamp_min(0)
        slots = self._slots[world, index]
        return Entries(
            self._frames[world, slots] * filled[..., None, None, None],
            self._depth[world, slots].float() * filled[..., None, None],
            self._poses[world, index] * filled[..., None],
            self._times[world, index].where(filled, -1),
            slots * filled,
            self._log.numbers[world, slots].where(filled, -1),
        )

    def clear(self, worlds: Tensor | Sequence[int] | None = None, fov: float = DEFAULT_FOV, seed: int = 0) -> None:
        """Forgets everything in the given worlds (all when None); their times start at 0 again.

        What they will remember next has the field of view `fov`, in degrees, and `seed` is that of their draws: of
        these two eviction may make use.
        """
        worlds = self._check_worlds(worlds)
        self._lengths[worlds] = 0
        self._counts[worlds] = 0
        for world in worlds.tolist():
            if self.index is not None:
                self.index.clear(world)
            if self._eviction is not None:
                self._eviction.clear(world, fov, seed)

    def _allocate(self, slots: int) -> None:
        worlds, height, width, device = self.num_worlds, self.height, self.width, self.device
        # Pixels lie where they were first written; only the tables below are kept in the order of time.
        self._frames = torch.zeros(worlds, slots, height, width, 3, dtype=torch.uint8, device=device)
        self._depth = torch.zeros(worlds, slots, height, width, dtype=torch.float16, device=device)
        self._poses = torch.zeros(worlds, slots, 6, device=device)
        self._times = torch.zeros(worlds, slots, dtype=torch.int64, device=device)
        self._slots = torch.arange(slots, device=device).repeat(worlds, 1)

    def _grow(self) -> None:
        size = self._slots.shape[1]
        old = self._frames, self._depth, self._poses, self._times, self._slots
        self._allocate(2 * size if self.capacity is None else min(2 * size, self.capacity))
        new = self._frames, self._depth, self._poses, self._times, self._slots
        for source, target in zip(old, new, strict=True):
            target[:, :size] = source
        self._log.resize(self._slots.shape[1])

    def _evict(self, worlds: Tensor) -> None:
        """Drops one entry of worlds that hold `capacity` frames; its slot is the next to be written."""
        if len(worlds) == 0:
            return
        counts = self._counts[worlds].tolist()
        self._lengths[worlds] -= 1
        worlds = worlds.to(self.device)
        slots = self._slots[worlds]
        kept = self._newest - 1  # besides the one that comes
        freed = self._eviction.choose(worlds, slots[:, : self.capacity - kept], [count - kept for count in counts])
        if self.index is not None:
            for world, slot in zip(worlds.tolist(), freed.tolist(), strict=True):
                self.index.remove(world, slot)
        # Younger entries move up by one, and the freed slot to the end.
        order = torch.arange(self.capacity, device=self.device)
        index = (slots == freed[:, None]).long().argmax(1, keepdim=True)
        order = order + (order >= index)
        order[:, -1:] = index
        for table in (self._poses, self._times, self._slots):
            table[worlds] = table[worlds[:, None], order]

    def _check_worlds(self, worlds: Tensor | Sequence[int] | None) -> Tensor:
        if worlds is None:
            return torch.arange(self.num_worlds)
        worlds = torch.as_tensor(worlds, device="cpu")
        distinct = worlds.ndim == 1 and len(worlds) > 0 and len(worlds.unique()) == len(worlds)
        valid = distinct and worlds.dtype == torch.int64 and bool(((worlds >= 0) & (worlds < self.num_worlds)).all())
        if not valid:
            expected = f"distinct integers from 0 to {self.num_worlds - 1}, at least one"
            raise ValueError(f"worlds={worlds.tolist()} ({worlds.dtype}); expected {expected}.")
        return worlds

    def check_entry(self, frames: Tensor, depth: Tensor, poses: Tensor, count: int) -> None:
        """ValueError unless `count` frames with depth and poses, as `append` takes them, could be remembered."""
        size = (self.height, self.width)
        if frames.dtype != torch.uint8 or frames.shape != (count, *size, 3):
            came = f"{frames.dtype} of shape {tuple(frames.shape)}"
            raise ValueError(f"frames is {came}; expected torch.uint8 of shape {(count, *size, 3)}.")
        for name, value, shape in (("depth", depth, (count, *size)), ("poses", poses, (count, 6))):
            if value.shape != shape:
                raise ValueError(f"{name} has shape {tuple(value.shape)}; expected {shape}.")
            if is_host(value) and not bool(value.isfinite().all()):
                raise ValueError(f"{name} holds NaN or infinity; expected finite metres and radians.")


class SharedMemory:
    """A `FrameMemory` as it is read where `cameras` share each of its worlds: row = world * cameras + camera.

    Poses, lengths and index hold a row for each camera, and `gather` takes one; frames are stored once a world.
    """

    def __init__(self, memory: FrameMemory, cameras: int):
        self.memory, self.cameras = memory, cameras

    @property
    def lengths(self) -> Tensor:
        """Frames that the world of each row holds, int64 (B * cameras,)."""
        return self.memory.lengths.repeat_interleave(self.cameras)

    @property
    def poses(self) -> Tensor:
        """As of `FrameMemory`, (B * cameras, T, 6); of a single world no pose is copied."""
        return self.memory.poses[:, None].expand(-1, self.cameras, -1, -1).flatten(0, 1)

    @property
    def index(self) -> SpatialIndex | None:
        """As of `FrameMemory`, with a row for each camera."""
        return None if self.memory.index is None else self.memory.index.repeated(self.cameras)

    def gather(self, indices: Tensor) -> Entries:
        """The entries at `indices` int64 (B * cameras, k), -1 for an empty slot."""
        entries = self.memory.gather(indices.reshape(self.memory.num_worlds, -1))
        return Entries(*(part.reshape(*indices.shape, *part.shape[2:]) for part in entries))
