"""The rule of `fov` for one world, whose cost hardly depends on how much the world remembers.

What `greedy.choose_among_all` does over all frames is done here over those near the new view, found through a
spatial index from the nearest on, until no other can win: at the distance d a frame shows a point with a probability
of at most BEST_PROBABILITY exp(-d / PARALLAX_SCALE), and from no heading more than what is still hidden there.

NumPy, not torch: there are some hundred operations on a few hundred numbers each, and a call of torch costs as much
as several of them.
"""

import functools
import math

import numpy as np

from ctxmem_env.greedy import AGE_DISCOUNT, BEST_PROBABILITY, NEIGHBOUR_DISCOUNT, NEIGHBOUR_GAP, PARALLAX_SCALE
from ctxmem_env.overlap import FINE_GRID, MAX_RANGE, MIN_DEPTH
from ctxmem_env.spatial_index import SpatialIndex

# These four change only how fast the search is.
_FIRST_RADIUS, _FIRST_FRAMES = 0.06, 400  # metres that are looked at first, and frames that are enough to begin with
_WIDENING = 1.5  # least factor from one radius to the next
_EXAMINED = 128  # frames at a time
_HEADINGS = 24  # bins


def choose_nearby(
    index: SpatialIndex,
    world: int,
    pose: list[float],
    num_context: int,
    fov: float,
    anchor: int | None = None,
    cameras: int = 1,
) -> list[int]:
    """Indices of the anchor in a world and of the k - 1 frames that the rule picks, -1 for an empty slot.

    Exact but for the frames that the index leaves out.

    Args:
        index: the frames of all worlds.
        world: one of them.
        pose: the new view, 6 finite numbers.
        num_context: k, at least 1.
        fov: degrees.
        anchor: the frame to take first; None: the newest one.
        cameras: that took turns in adding these frames; neighbours are the frames of one of them.
    """
    picks = [index.length(world) - 1 if anchor is None else anchor]
    search = _Search(index, world, pose, fov, picks[0], cameras) if index.length(world) > 1 else None
    while search is not None and len(picks) < num_context:
        pick = search.pick()
        if pick < 0:
            break
        picks.append(pick)
    return picks + [-1] * (num_context - len(picks))


class _Search:
    """What is known of the frames within `_radius` of a view.

    Of N frames found it is known where they are, of M of them, because they may win, which points they show.
    """

    def __init__(self, index: SpatialIndex, world: int, pose: list[float], fov: float, anchor: int, cameras: int):
        self._index, self._world, self._pose, self._fov = index, world, pose, math.radians(fov)
        self._anchor, self._cameras = anchor, cameras
        self._length = index.length(world)
        self._view = _view(fov)
        self._radius = 0.0
        self._found = np.zeros((5, 0))  # x, y, heading, quality (0 once examined), place in the order of time
        self._heading = np.zeros(0, dtype=np.int64)  # (N,), bin
        self._visible = np.zeros((_HEADINGS, self._view.size))
        self._frames, self._weight = np.zeros(0), np.zeros(0)  # (M,)
        self._shown = np.zeros((0, self._view.size))  # (M, P), probability
        self._hidden = np.ones(self._view.size)  # (P,), probability after the picks
        self._picks = [anchor]

    def pick(self) -> int:
        """The frame that adds most to those that were picked; -1 if none adds anything."""
        while True:
            best, gain = self._best()
            if self._examine(gain):
                continue
            # Where BEST_PROBABILITY exp(-reach / PARALLAX_SCALE) of all that is hidden is no more than the gain.
            most = BEST_PROBABILITY * float(self._hidden.sum())
            reach = PARALLAX_SCALE * math.log(most / gain) if gain > 0 else math.inf
            if self._radius >= min(reach, self._view.limit):
                break
            self._widen(reach)
        if gain <= 0:
            return -1
        frame = int(self._frames[best])
        self._hidden *= 1 - self._shown[best]
        self._weight *= _weight(self._frames, [frame], self._cameras)
        self._picks.append(frame)
        return frame

    def _best(self) -> tuple[int, float]:
        if len(self._frames) == 0:
            return -1, 0.0
        gain = self._shown @ self._hidden * self._weight
        best = int(gain.argmax())
        return best, float(gain[best])

    def _examine(self, gain: float) -> bool:
        """Examine frames that were found and may add more than `gain`; False if there are none."""
        most = self._found[3] * (self._visible @ self._hidden)[self._heading]
        (worth,) = (most > gain).nonzero()
        if len(worth) == 0:
            return False
        if len(worth) > _EXAMINED:
            worth = worth[most[worth].argpartition(-_EXAMINED)[-_EXAMINED:]]
        x, y, heading, quality, frames = self._found.take(worth, axis=1)
        self._found[3, worth] = 0.0
        self._frames = np.concatenate([self._frames, frames])
        self._shown = np.concatenate([self._shown, self._view.in_sector(x, y, heading) * quality[:, None]])
        self._weight = np.concatenate([self._weight, _weight(frames, self._picks, self._cameras)])
        return True

    def _widen(self, reach: float) -> None:
        """Find frames further away: up to `reach`, but by and by, for a good one shortens it."""
        inner = self._radius
        if inner > 0:
            self._radius = min(max(reach, _WIDENING * inner), 2 * inner)
            slots = self._within()
        else:
            self._radius = _FIRST_RADIUS
            slots = self._within()
            while len(slots) < _FIRST_FRAMES and self._radius < self._view.limit:
                # Frames lie on a plane: four times as many within twice the radius.
                self._radius *= min(max(math.sqrt(_FIRST_FRAMES / max(len(slots), 1)), _WIDENING), 4)
                slots = self._within()
        self._visible = self._view.visible_within(self._radius)
        self._add(np.array(slots, dtype=np.int64), inner)

    def _within(self) -> list[int]:
        return self._index.within(self._world, self._pose[0], self._pose[1], self._radius)

    def _add(self, slots: np.ndarray, inner: float) -> None:
        """Take in those of `slots` that lie between the radius `inner` and the present one."""
        offset = self._index.poses(self._world, slots)[:5] - np.array(self._pose[:5])[:, None]
        ground = offset[0] * offset[0] + offset[1] * offset[1]
        (new,) = ((ground >= inner * inner) & (ground < self._radius**2)).nonzero()
        east, north, up, yaw, pitch = offset.take(new, axis=1)
        frames = self._index.indices(self._world, slots[new])
        quality = np.exp(np.sqrt(ground[new] + up * up) / -PARALLAX_SCALE)
        quality *= BEST_PROBABILITY * (1 - AGE_DISCOUNT / self._length * frames)
        quality *= np.maximum(1 - np.abs(pitch) / self._fov, 0.0)
        quality[frames == self._anchor] = 0.0
        cos, sin = math.cos(self._pose[3]), math.sin(self._pose[3])
        found = np.stack([east * cos + north * sin, north * cos - east * sin, yaw, quality, frames])
        self._found = np.concatenate([self._found, found], axis=1)
        heading = np.floor(yaw * (_HEADINGS / (2 * math.pi))).astype(np.int64) % _HEADINGS
        self._heading = np.concatenate([self._heading, heading])


def _weight(frames: np.ndarray, picks: list[int], cameras: int) -> np.ndarray:
    """Factors (N,) on what `frames` add after `picks`."""
    apart = np.abs(frames[:, None] - picks)
    near = apart <= NEIGHBOUR_GAP * cameras
    if cameras > 1:
        near &= apart % cameras == 0
    return NEIGHBOUR_DISCOUNT ** near.sum(1) * (apart > 0).all(1)


class _View:
    """The sample points of a view, and from where they are seen; all in the frame of the view."""

    def __init__(self, fov: float):
        self._half = math.radians(fov) / 2
        self._slope = math.tan(self._half)
        columns, depths = ((np.arange(n) + 0.5) / n for n in FINE_GRID)
        x = np.tile(MIN_DEPTH * (MAX_RANGE / MIN_DEPTH) ** depths, len(columns))
        y = np.repeat((1 - 2 * columns) * self._slope, len(depths)) * x
        self.size = len(x)
        self.limit = (x.max() + MAX_RANGE) * math.hypot(1.0, self._slope)  # no camera further away sees any of them
        self._points = np.stack([x, y, np.ones_like(x)])
        self._distance = np.hypot(x, y)
        headings = (np.arange(_HEADINGS) + 0.5) * (2 * math.pi / _HEADINGS)
        turn = np.arctan2(y, x) - headings[:, None]
        self._turn = np.abs((turn + math.pi) % (2 * math.pi) - math.pi)  # (_HEADINGS, P)

    def visible_within(self, radius: float) -> np.ndarray:
        """1 for the points that some camera of that bin of headings, within `radius`, may see; (_HEADINGS, P)."""
        parallax = np.arcsin(np.minimum(radius / self._distance, 1.0))
        parallax[self._distance <= radius] = math.pi
        return (self._turn <= self._half + math.pi / _HEADINGS + parallax).astype(float)

    def in_sector(self, x: np.ndarray, y: np.ndarray, heading: np.ndarray) -> np.ndarray:
        """Whether the sectors of cameras (N,) hold the points, bool (N, P), as `overlap.in_sector` has it."""
        cos, sin = np.cos(heading), np.sin(heading)
        ahead = np.stack([cos, sin, -(cos * x + sin * y)], axis=1) @ self._points
        left = np.stack([-sin, cos, sin * x - cos * y], axis=1) @ self._points
        return (np.abs(left) <= self._slope * ahead) & (ahead <= MAX_RANGE)


@functools.lru_cache(maxsize=64)
def _view(fov: float) -> _View:
    return _View(fov)
