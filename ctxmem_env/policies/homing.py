"""Coming home by sight alone: the first view is kept, and found again in what is seen around."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ctxmem_env.actions import STEP_LENGTH, TURN_ANGLE
from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.errors import check_integer
from ctxmem_env.policies.moves import FORWARD, TURN_LEFT, TURN_RIGHT
from ctxmem_env.policies.policy import Observation, ScriptedPolicy

_TURN = math.radians(TURN_ANGLE)
_CIRCLE = 24  # turns
_WALK = 6  # steps away, half a metre more than the task asks for
_NEAR = 0.6  # metres; nearer than this nobody walks on
_SECTORS = 10  # columns of the panorama for each turn
_POINTS = 16  # of the first view in each direction, by which it is found again
_REACH = 8  # steps from here to the farthest place where home is looked for
_ALIKE = 0.15  # differences of log range and of colour, of 1, up to which points are the same


@dataclass
class _Walker:
    """What one world is about. Home is its first view: points (n, 3) in metres, ahead, left and up, and colours."""

    points: np.ndarray
    colours: np.ndarray
    walked: int = -1  # steps away; -1 before the first turn
    held: list[int] = field(default_factory=list)  # actions that are still to be done
    circle: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)  # colours and depth of a full turn


class VisualHoming(ScriptedPolicy):
    """Walks away at random and comes back by what it sees: for look_back, without poses and without a map.

    It keeps the first view, as points with colours. When it is time to come back it turns a full circle, and looks for
    the place within 2 m, and the direction, from which those points would be where it sees points of their colour now;
    it goes there, and if that was not home it looks around once more. So it finds home only in a world that still looks
    there as it did. Expects steps of 0.25 m and 15 degrees.

    Args:
        seed: of the ways out, at least 0.
        fov: horizontal field of view, degrees.
    """

    observation: ClassVar[str] = "rgbd"
    tasks: ClassVar[tuple[str, ...]] = ("look_back",)

    def __init__(self, seed: int = 0, fov: float = DEFAULT_FOV):
        self._rng = np.random.default_rng(check_integer("seed", seed, 0))
        self._half = math.tan(math.radians(fov) / 2)

    def _predict(
        self,
        observation: Observation,
        state: Any,
        episode_start: np.ndarray | None,
        deterministic: bool,
    ) -> tuple[np.ndarray, list[_Walker | None]]:
        """See `Policy.predict`."""
        rgb, depth, goal = self.read(observation, "rgb", "depth", "goal")
        walkers = [None] * len(rgb) if state is None else state
        starts = np.zeros(len(rgb), bool) if episode_start is None else episode_start
        actions = np.zeros(len(rgb), np.int64)
        for world, (colours, metres, left) in enumerate(zip(rgb / 255, depth[..., 0], goal[:, 0], strict=True)):
            if walkers[world] is None or starts[world]:
                walkers[world] = _Walker(*self._points(colours, metres))
            go = self._leave if left > 0 else self._return
            actions[world] = go(walkers[world], colours, metres)
        return actions, walkers

    def _points(self, colours: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = depth.shape
        rows, columns = (((np.arange(_POINTS) + 0.5) * size / _POINTS).astype(int) for size in (height, width))
        ahead = depth[np.ix_(rows, columns)]
        left = ahead * (1 - (2 * columns + 1) / width) * self._half
        up = ahead * (1 - (2 * rows[:, None] + 1) / height) * self._half * height / width
        return np.stack([ahead, left, up], -1).reshape(-1, 3), colours[np.ix_(rows, columns)].reshape(-1, 3)

    def _leave(self, walker: _Walker, colours: np.ndarray, depth: np.ndarray) -> int:
        """Turn, walk, and turn until the time is over."""
        if walker.walked < _WALK and not walker.held:
            height, width = depth.shape
            blocked = depth[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3].min() < _NEAR
            if walker.walked >= 0 and not blocked:
                walker.walked += 1
                return FORWARD
            walker.walked = max(walker.walked, 0)
            walker.held = [self._draw_turn()] * int(self._rng.integers(1, 7))
        elif not walker.held:
            walker.held = [self._draw_turn()] * _CIRCLE
        return walker.held.pop(0)

    def _draw_turn(self) -> int:
        return int(self._rng.choice((TURN_LEFT, TURN_RIGHT)))

    def _return(self, walker: _Walker, colours: np.ndarray, depth: np.ndarray) -> int:
        if len(walker.circle) < _CIRCLE:
            walker.circle.append((colours, depth))
            if len(walker.circle) == _CIRCLE:
                # One more turn closes the circle, so that the first of its views is ahead again.
                walker.held = [TURN_LEFT, *_way(*self._find(walker))]
            else:
                return TURN_LEFT
        if not walker.held:
            walker.circle = [(colours, depth)]
            return TURN_LEFT
        return walker.held.pop(0)

    def _find(self, walker: _Walker) -> tuple[float, float, int]:
        """Where home is: metres ahead and to the left of where the circle began, and turns to the left of it."""
        ranges, seen = self._panorama(walker.circle)
        height, width = walker.circle[0][1].shape
        steps = np.arange(-_REACH, _REACH + 1) * STEP_LENGTH
        places = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 1, 2)
        best = (-1.0, 0.0, 0.0, 0)
        for turns in range(_CIRCLE):
            cos, sin = math.cos(turns * _TURN), math.sin(turns * _TURN)
            ground = walker.points[:, :2] @ np.array([[cos, sin], [-sin, cos]]) + places  # (places, points, 2)
            away = np.hypot(*np.moveaxis(ground, -1, 0)).clip(1e-3)
            sector = np.round(np.arctan2(ground[..., 1], ground[..., 0]) / _TURN * _SECTORS).astype(int)
            aside = (sector + _SECTORS // 2) % _SECTORS - _SECTORS // 2
            up = walker.points[:, 2] / (away * np.cos(aside * _TURN / _SECTORS)) / (self._half * height / width)
            row = np.floor((1 - up) / 2 * height).astype(int)
            shown = (row >= 0) & (row < height)
            at = sector % (_CIRCLE * _SECTORS), row.clip(0, height - 1)
            same = np.abs(np.log(ranges[at] / away)) < _ALIKE
            same &= np.abs(seen[at] - walker.colours).max(-1) < _ALIKE
            score = (same & shown).sum(1) / np.maximum(shown.sum(1), len(walker.points) // 4)
            place = int(score.argmax())
            if score[place] > best[0]:
                best = (float(score[place]), *places[place, 0].tolist(), turns)
        return best[1:]

    def _panorama(self, circle: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """Horizontal ranges (sectors, rows) in metres and colours of what a circle has shown, to the left."""
        width = circle[0][1].shape[1]
        aside = (np.arange(_SECTORS) - _SECTORS // 2) * _TURN / _SECTORS
        columns = np.floor((1 - np.tan(aside) / self._half) / 2 * width).astype(int)
        ranges = [depth[:, columns].T / np.cos(aside)[:, None] for _, depth in circle]
        colours = [np.swapaxes(colour[:, columns], 0, 1) for colour, _ in circle]
        back = -(_SECTORS // 2)  # the first sector looks straight ahead
        return (np.roll(np.concatenate(part), back, axis=0) for part in (ranges, colours))


def _way(ahead: float, left: float, turns: int) -> list[int]:
    """Actions that lead to a place, and turn there to that many turns to the left of now."""
    bearing = round(math.atan2(left, ahead) / _TURN) if ahead or left else 0
    steps = round(math.hypot(ahead, left) / STEP_LENGTH)
    return [*_turn(bearing), *[FORWARD] * steps, *_turn(turns - bearing)]


def _turn(turns: int) -> list[int]:
    turns = (turns + _CIRCLE // 2) % _CIRCLE - _CIRCLE // 2
    return [TURN_LEFT if turns > 0 else TURN_RIGHT] * abs(turns)
