"""A map of the ground that was seen, from poses and depth: cells that are free or blocked, and ways over them."""

import math

import numpy as np

from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.dynamics import LOW

CELL = 0.125  # metres
_SIDE = 512  # cells; what lies more than 32 m from the start is not on the map
_RANGE = 8.0  # metres to which a look shows ground
_SURE = 5.0  # metres to which it shows surfaces
_HIT, _MISS, _MOST = (
    1.0,
    -0.5,
    4.0,
)  # evidence that a frame gives for and against a surface, and what a cell keeps of it
_WINDOW = int(_RANGE / CELL)


class OccupancyGrid:
    """The ground around a start, evidence float32 (512, 512) a cell: above 0 blocked, below 0 free, 0 unknown.

    Args:
        start: (2,), metres; the middle of the map.
        fov: degrees, of the frames.
        aspect: height over width of the frames.
    """

    def __init__(self, start: np.ndarray, fov: float = DEFAULT_FOV, aspect: float = 1.0):
        self.evidence = np.zeros((_SIDE, _SIDE), np.float32)
        self.corner = np.asarray(start, np.float64) - _SIDE * CELL / 2
        self._slope = math.tan(math.radians(fov) / 2)
        self._blind = -LOW / (self._slope * aspect)  # metres; below a view of nearer ground a low thing may stand
        steps = np.arange(-_WINDOW, _WINDOW + 1)
        self._around = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)

    def cell(self, places: np.ndarray) -> np.ndarray:
        """Cells int64 (..., 2) of places (..., 2) in metres; those beyond the map are put at its border."""
        return np.clip(((places - self.corner) / CELL).astype(np.int64), 0, _SIDE - 1)

    def place(self, cells: np.ndarray) -> np.ndarray:
        """The middles (..., 2) of cells, in metres."""
        return (np.asarray(cells) + 0.5) * CELL + self.corner

    def look(self, pose: np.ndarray, points: np.ndarray, valid: np.ndarray) -> None:
        """Add a frame: its pose (6,), the surfaces (rows, columns, 2) that it shows in metres, and which count."""
        here, yaw = pose[:2], float(pose[3])
        away = np.where(valid, np.hypot(*np.moveaxis(points - here, -1, 0)), np.inf)
        # One pixel at the edge of a painted thing may be wrong: the second nearest of a column ends its look.
        first = np.partition(away, 1, axis=0)[1] if len(away) > 1 else away[0]
        # A single point may be ground whose depth was estimated too short.
        hits, points_in = np.unique(self.cell(points[away <= _SURE]), axis=0, return_counts=True)
        hits = hits[points_in >= 2]
        cells = self.cell(here) + self._around
        cells = cells[((cells >= 0) & (cells < _SIDE)).all(1)]
        offset = self.place(cells) - here
        ahead = offset[:, 0] * math.cos(yaw) + offset[:, 1] * math.sin(yaw)
        left = offset[:, 1] * math.cos(yaw) - offset[:, 0] * math.sin(yaw)
        seen = (ahead > 0) & (np.abs(left) < self._slope * ahead)
        cells, ahead, left = cells[seen], ahead[seen], left[seen]
        column = ((1 - left / (self._slope * ahead)) * len(first) / 2).astype(np.int64)
        distance = np.hypot(ahead, left)
        shown = (distance <= _RANGE) & (distance < first[column] - CELL)
        x, y = cells[shown].T
        near = ahead[shown] < self._blind
        self.evidence[x, y] += np.where(near & (self.evidence[x, y] > 0), 0, _MISS)
        self.evidence[hits[:, 0], hits[:, 1]] += _HIT
        np.clip(self.evidence, -_MOST, _MOST, out=self.evidence)

    def stand(self, here: np.ndarray) -> None:
        """The camera is at (2,): the cells under it are free."""
        x, y = self.cell(here)
        under = self.evidence[x - 1 : x + 2, y - 1 : y + 2]
        np.minimum(under, _MISS, out=under)

    def bump(self, places: np.ndarray) -> None:
        """A surface that was not seen stopped the camera at places (n, 2)."""
        x, y = self.cell(places).T
        self.evidence[x, y] = _MOST

    def forget(self) -> None:
        """Take all that is blocked for unknown."""
        np.minimum(self.evidence, 0, out=self.evidence)

    def section(self, *cells: np.ndarray, margin: int = 8) -> tuple[slice, slice]:
        """The part of the map that holds all that is known, and those cells."""
        known = np.nonzero(self.evidence)
        xs, ys = ([axis.min(initial=_SIDE), axis.max(initial=0)] for axis in known)
        for x, y in cells:
            xs.append(x)
            ys.append(y)
        return tuple(slice(max(0, min(axis) - margin), min(_SIDE, max(axis) + margin + 1)) for axis in (xs, ys))


def grow(mask: np.ndarray, square: float) -> np.ndarray:
    """Cells whose squared distance from one of the mask, in cells, is at most `square`."""
    reach = int(math.sqrt(square))
    grown, (width, height) = mask.copy(), mask.shape
    for dx in range(-reach, reach + 1):
        for dy in range(-reach, reach + 1):
            if 0 < dx * dx + dy * dy <= square:
                to = slice(max(0, dx), width + min(0, dx)), slice(max(0, dy), height + min(0, dy))
                of = slice(max(0, -dx), width + min(0, -dx)), slice(max(0, -dy), height + min(0, -dy))
                grown[to] |= mask[of]
    return grown


def find_way(passable: np.ndarray, start: tuple[int, int], targets: np.ndarray) -> list[tuple[int, int]] | None:
    """Cells of a shortest way from the start to the nearest target, both included; None if none is reached.

    A breadth-first search from the targets, of which every second wave goes to the four nearest cells only and the
    others to all eight: distances are those of an octagon.
    """
    layer = np.where(targets, 0, -1)
    number = idle = 0
    while layer[start] < 0:
        number += 1
        wave = grow(layer >= 0, 1 + number % 2) & passable & (layer < 0)
        idle = 0 if wave.any() else idle + 1
        if idle == 2:  # neither four nor eight directions lead on
            return None
        layer[wave] = number
    way, here = [start], start
    while layer[here] > 0:
        x, y = here
        low = max(0, x - 1), max(0, y - 1)
        near = layer[low[0] : x + 2, low[1] : y + 2]
        near = np.where(near < 0, layer[here], near)
        here = tuple(int(a + b) for a, b in zip(low, np.unravel_index(near.argmin(), near.shape), strict=True))
        way.append(here)
    return way


def is_straight(passable: np.ndarray, start: np.ndarray, end: np.ndarray) -> bool:
    """Whether the straight line between two cells is passable."""
    along = np.linspace(0, 1, 2 * int(np.abs(np.subtract(end, start)).max()) + 2)[:, None]
    x, y = np.round(start + along * np.subtract(end, start)).astype(np.int64).T
    return bool(passable[x, y].all())
