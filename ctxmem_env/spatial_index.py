"""Where frames were seen from: which remembered frames of a world lie within a radius on the ground.

Plain Python and NumPy: a look-up touches a few dozen short lists, less than one call of torch costs for each.
"""

import math
from bisect import bisect_left, bisect_right

import numpy as np

_STRIP = 0.125  # metres; width of the strips of ground, each sorted along X
_SAME_VIEW = (0.02, 0.02, 0.02, math.radians(2), math.radians(2))  # x, y, z [m], yaw, pitch [rad] of a bucket
_KEPT = 24  # of each bucket the oldest ones, thrice as many as a context of 8: picks keep two frames between them
_FIRST_SLOTS = 64


class SpatialIndex:
    """The frames of B worlds by place. `FrameMemory` keeps it up to date, and retrieval asks it.

    A frame has a slot, its number for as long as it is remembered, and a pose. Of frames that see all but the same
    (a bucket of 2 cm, 2 degrees of yaw and of pitch) only the 24 oldest are found: a copy of a copy degrades, and an
    agent that stands still or walks a lattice must not make look-ups slow. Otherwise look-ups are exact. Adding a
    frame costs microseconds, whatever the history; removing one also renumbers the younger ones.
    """

    def __init__(self, num_worlds: int):
        self._worlds = [_World() for _ in range(num_worlds)]

    def append(self, world: int, slot: int, pose: list[float]) -> None:
        """Add the newest frame of a world: its slot, which no other frame has, and its pose of 6 finite numbers."""
        self._worlds[world].append(slot, pose)

    def remove(self, world: int, slot: int) -> None:
        """Remove the frame in a slot."""
        self._worlds[world].remove(slot)

    def clear(self, world: int) -> None:
        """Remove all frames of a world."""
        self._worlds[world] = _World()

    def repeated(self, times: int) -> "SpatialIndex":
        """These worlds, each `times` times in a row; valid until a world is cleared."""
        index = SpatialIndex(0)
        index._worlds = [world for world in self._worlds for _ in range(times)]
        return index

    def __deepcopy__(self, memo: dict) -> "SpatialIndex":
        index = SpatialIndex(0)
        index._worlds = [world.copy() for world in self._worlds]
        return index

    @property
    def lengths(self) -> list[int]:
        """Frames of each world."""
        return [world.length for world in self._worlds]

    def length(self, world: int) -> int:
        """Frames of one world."""
        return self._worlds[world].length

    def within(self, world: int, x: float, y: float, radius: float) -> list[int]:
        """Slots, ascending, of all frames at most `radius` metres from (x, y), and of a few beyond."""
        return self._worlds[world].within(x, y, radius)

    def poses(self, world: int, slots: np.ndarray) -> np.ndarray:
        """Poses float64 (6, N) of the frames in `slots` (N,)."""
        return self._worlds[world].poses.take(slots, axis=1)

    def indices(self, world: int, slots: np.ndarray) -> np.ndarray:
        """Places int64 (N,) in the order of time of the frames in `slots` (N,), 0 for the oldest."""
        return self._worlds[world].order[slots]


class _World:
    """One world. A strip is a pair of lists: x, ascending, and beside it the slot."""

    def __init__(self) -> None:
        self.length = 0
        self.poses = np.zeros((6, _FIRST_SLOTS))
        self.order = np.zeros(_FIRST_SLOTS, dtype=np.int64)
        self._strips: dict[int, tuple[list[float], list[int]]] = {}
        self._buckets: dict[tuple[int, ...], list[int]] = {}  # slots, oldest first

    def copy(self) -> "_World":
        other = _World()
        other.length, other.poses, other.order = self.length, self.poses.copy(), self.order.copy()
        other._strips = {row: (xs.copy(), slots.copy()) for row, (xs, slots) in self._strips.items()}
        other._buckets = {bucket: same.copy() for bucket, same in self._buckets.items()}
        return other

    def append(self, slot: int, pose: list[float]) -> None:
        if slot >= len(self.order):
            size = max(2 * len(self.order), slot + 1)
            self.poses, old = np.zeros((6, size)), self.poses
            self.poses[:, : old.shape[1]] = old
            self.order = np.pad(self.order, (0, size - len(self.order)))
        self.poses[:, slot] = pose
        self.order[slot] = self.length
        self.length += 1
        same = self._buckets.setdefault(_bucket(pose), [])
        same.append(slot)
        if len(same) <= _KEPT:
            self._show(slot)

    def remove(self, slot: int) -> None:
        bucket = _bucket(self.poses[:, slot].tolist())
        same = self._buckets[bucket]
        place = same.index(slot)
        del same[place]
        if place < _KEPT:
            self._hide(slot)
            if len(same) >= _KEPT:
                self._show(same[_KEPT - 1])
        if not same:
            del self._buckets[bucket]
        self.order -= self.order > self.order[slot]
        self.length -= 1

    def within(self, x: float, y: float, radius: float) -> list[int]:
        found: list[int] = []
        rows = range(math.floor((y - radius) / _STRIP), math.floor((y + radius) / _STRIP) + 1)
        for row in rows if len(rows) < len(self._strips) else self._strips:
            aside = max(row * _STRIP - y, y - (row + 1) * _STRIP, 0.0)
            if row in self._strips and aside <= radius:
                xs, slots = self._strips[row]
                half = math.sqrt(radius * radius - aside * aside)
                found += slots[bisect_left(xs, x - half) : bisect_right(xs, x + half)]
        found.sort()  # not in an order that tells in which way the index came about
        return found

    def _show(self, slot: int) -> None:
        x, y = self.poses[:2, slot].tolist()
        xs, slots = self._strips.setdefault(math.floor(y / _STRIP), ([], []))
        at = bisect_right(xs, x)
        xs.insert(at, x)
        slots.insert(at, slot)

    def _hide(self, slot: int) -> None:
        x, y = self.poses[:2, slot].tolist()
        row = math.floor(y / _STRIP)
        xs, slots = self._strips[row]
        at = slots.index(slot, bisect_left(xs, x))
        del xs[at], slots[at]
        if not xs:
            del self._strips[row]


def _bucket(pose: list[float]) -> tuple[int, ...]:
    return tuple(math.floor(value / size) for value, size in zip(pose, _SAME_VIEW, strict=False))
