"""Exploring by frontiers (Yamauchi 1997): go where known free ground meets unknown ground."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch

from ctxmem_env.actions import TURN_ANGLE
from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.dynamics import surface_points
from ctxmem_env.policies.moves import CLEARANCE, FORWARD, STAY, STUCK, TURN_LEFT, TURN_RIGHT, turn_or_go
from ctxmem_env.policies.occupancy import CELL, OccupancyGrid, find_way, grow, is_straight
from ctxmem_env.policies.policy import Observation, ScriptedPolicy

_WIDE, _TIGHT = 5, 2  # squared distance in cells that a way keeps from surfaces, where it can and where it must
_AHEAD = 24  # cells of a way that are looked at for a straight part
_OUT = 2.0  # metres to go away in look_back
_THERE = 0.4  # metres from the first place that are near enough in look_back


@dataclass
class _Walk:
    """What is known of one world: its map, the first and the last pose, and the last action."""

    grid: OccupancyGrid
    first: np.ndarray
    pose: np.ndarray
    action: int = STAY
    dismissed: np.ndarray = field(init=False)  # unknown cells that a look did not make known

    def __post_init__(self) -> None:
        self.dismissed = np.zeros(self.grid.evidence.shape, bool)


class FrontierExplorer(ScriptedPolicy):
    """Keep a map of free, blocked and unknown ground for each world, from poses and depth, and walk by it.

    In roam and explore it goes to the nearest frontier, known free ground beside unknown ground; in point_goal to the
    goal, as if unknown ground were free, until it is seen; in look_back away on known ground, and back. Ways are found
    by breadth-first search. Discrete actions.

    Args:
        turn_angle: of the environment, degrees.
        fov: of the environment, degrees.
    """

    observation: ClassVar[str] = "dict"
    tasks: ClassVar[tuple[str, ...]] = ("roam", "explore", "point_goal", "look_back")

    def __init__(self, turn_angle: float = TURN_ANGLE, fov: float = DEFAULT_FOV):
        self.turn, self.fov = math.radians(turn_angle), fov

    def _predict(
        self,
        observation: Observation,
        state: list[_Walk] | None,
        episode_start: np.ndarray | None,
        deterministic: bool,
    ) -> tuple[np.ndarray, Any]:
        """See `Policy.predict`. The state holds the maps, which a call changes."""
        depth, poses = self.read(observation, "depth", "pose")
        goals = np.asarray(observation["goal"]) if "goal" in observation else np.zeros((len(poses), 0))
        points, valid = _surfaces(depth, poses, self.fov)
        begins = np.full(len(poses), state is None) if episode_start is None else episode_start
        walks = [None] * len(poses) if state is None else list(state)
        actions = np.zeros(len(poses), np.int64)
        for world, (pose, goal) in enumerate(zip(poses, goals, strict=True)):
            if begins[world] or walks[world] is None:
                grid = OccupancyGrid(pose[:2], self.fov, depth.shape[1] / depth.shape[2])
                walks[world] = _Walk(grid, pose, pose)
            walk = walks[world]
            self._update(walk, pose, points[world], valid[world])
            walk.action = actions[world] = _steady(walk, self._act(walk, goal))
        return actions, walks

    def _update(self, walk: _Walk, pose: np.ndarray, points: np.ndarray, valid: np.ndarray) -> None:
        if walk.action == FORWARD and np.hypot(*(pose[:2] - walk.pose[:2])) < STUCK:
            heading = np.array([math.cos(pose[3]), math.sin(pose[3])])
            across = np.arange(-1, 2)[:, None] * CELL * np.array([-heading[1], heading[0]])
            walk.grid.bump(pose[:2] + (CLEARANCE + CELL) * heading + across)
        walk.pose = pose
        walk.grid.look(pose, points, valid)
        walk.grid.stand(pose[:2])

    def _act(self, walk: _Walk, goal: np.ndarray) -> int:
        here = walk.pose[:2]
        if len(goal) == 2:
            angle = walk.pose[3] + goal[1]
            place = here + goal[0] * np.array([math.cos(angle), math.sin(angle)])
            return self._go_to(walk, place, float(goal[1]), unknown=True)
        if len(goal) == 1 and goal[0] > 0:
            return self._leave(walk)
        if len(goal) == 1:
            return self._go_to(walk, walk.first[:2], _wrap(walk.first[3] - walk.pose[3]), unknown=False)
        return self._explore(walk)

    def _go_to(self, walk: _Walk, place: np.ndarray, bearing: float, unknown: bool) -> int:
        """Towards a place; there, turn by `bearing`, radians to the left. `unknown`: over unknown ground too."""
        grid = walk.grid
        if not unknown and np.hypot(*(place - walk.pose[:2])) <= _THERE:
            turns = round(bearing / self.turn)
            return int(turn_or_go(np.array(turns))) if turns else STAY
        target = np.zeros(grid.evidence.shape, bool)
        target[tuple(grid.cell(place))] = True
        for _ in range(2):
            known = [] if unknown else [grid.evidence < 0]
            for keep in (_WIDE, _TIGHT, 0):
                for allowed in (*known, grid.evidence <= 0):
                    action = self._follow(walk, allowed, grow(target, _WIDE), keep, place)
                    if action is not None:
                        return action
            grid.forget()  # there is a way, so something on the map is wrong
        return TURN_LEFT

    def _leave(self, walk: _Walk) -> int:
        """Away from the first place, on known ground."""
        grid = walk.grid
        x, y = np.ogrid[: grid.evidence.shape[0], : grid.evidence.shape[1]]
        start = grid.cell(walk.first[:2])
        away = np.hypot(x - start[0], y - start[1]) * CELL
        if np.hypot(*(walk.pose[:2] - walk.first[:2])) >= _OUT:
            return STAY
        free = grid.evidence < 0
        for distance in (_OUT, _OUT / 2 + 4 * CELL):
            action = self._follow(walk, free, free & (away >= distance), _WIDE)
            if action is not None:
                return action
        return TURN_LEFT  # to see more

    def _explore(self, walk: _Walk) -> int:
        grid = walk.grid
        for _ in range(4):
            free, unknown = grid.evidence < 0, (grid.evidence == 0) & ~walk.dismissed
            part = grid.section(grid.cell(walk.pose[:2]))
            targets = np.zeros_like(free)
            # A speck of unknown ground is none: five of nine cells.
            many = _count(unknown[part]) >= 5
            targets[part] = free[part] & grow(unknown[part] & many, 1)
            action = self._follow(walk, free, targets, _WIDE)
            if action is None:
                action = self._follow(walk, free, targets, _TIGHT)
            if action is None:
                return TURN_LEFT
            if action != STAY:
                return action
        return FORWARD

    def _follow(
        self, walk: _Walk, allowed: np.ndarray, targets: np.ndarray, keep: int, place: np.ndarray | None = None
    ) -> int | None:
        """The next action on a shortest way to the targets; None if there is none.

        At a target towards `place`, or, without one, turning until the unknown ground around it is in view. STAY: it
        is in view, and has been dismissed.
        """
        grid = walk.grid
        here = grid.cell(walk.pose[:2])
        marks = [np.nonzero(targets)]
        ends = [np.array([axis[i] for axis in marks[0]]) for i in (0, -1)] if len(marks[0][0]) else []
        part = grid.section(here, *ends)
        offset = np.array([part[0].start, part[1].start])
        start = tuple((here - offset).tolist())
        blocked = grow(grid.evidence[part] > 0, keep)
        at = np.zeros_like(blocked)
        at[start] = True
        passable = (allowed[part] & ~blocked) | (grow(at, 8) & (grid.evidence[part] <= 0))
        way = find_way(passable, start, targets[part] & passable)
        if way is None:
            return None
        if len(way) <= 2 and place is None:
            return self._face(walk, np.array(way[-1]) + offset)
        if len(way) <= 2:
            return int(turn_or_go(np.array(_bearing(walk.pose, place) / self.turn)))
        straight = [cell for cell in way[2 : _AHEAD + 1] if is_straight(passable, np.array(start), np.array(cell))]
        ahead = grid.place(np.array(straight[-1] if straight else way[1]) + offset)
        return int(turn_or_go(np.array(_bearing(walk.pose, ahead) / self.turn)))

    def _face(self, walk: _Walk, target: np.ndarray) -> int:
        """Turn to the nearest unknown ground around a frontier that is reached; STAY if it is in view already."""
        grid = walk.grid
        reach = 4
        low = np.maximum(target - reach, 0)
        part = tuple(slice(a, b + reach + 1) for a, b in zip(low, target, strict=True))
        unknown = np.argwhere((grid.evidence[part] == 0) & ~walk.dismissed[part]) + low
        if not len(unknown):
            return FORWARD
        bearings = np.array([_bearing(walk.pose, place) for place in grid.place(unknown)])
        nearest = bearings[np.abs(bearings).argmin()]
        if abs(nearest) <= self.turn:
            walk.dismissed[tuple(unknown[np.abs(bearings) <= self.turn].T)] = True
            return STAY
        return int(turn_or_go(np.array(nearest / self.turn)))


def _steady(walk: _Walk, action: int) -> int:
    """Not to turn to and fro where each of two views shows another way: go, if nothing is in the way, or turn on."""
    if {action, walk.action} != {TURN_LEFT, TURN_RIGHT}:
        return action
    heading = np.array([math.cos(walk.pose[3]), math.sin(walk.pose[3])])
    ahead, left = np.meshgrid(np.arange(1, 5) * CELL, np.arange(-2, 3) * CLEARANCE / 2)
    places = ahead[..., None] * heading + left[..., None] * np.array([-heading[1], heading[0]]) + walk.pose[:2]
    x, y = np.moveaxis(walk.grid.cell(places), -1, 0)
    return FORWARD if (walk.grid.evidence[x, y] <= 0).all() else walk.action


def _surfaces(depth: np.ndarray, poses: np.ndarray, fov: float) -> tuple[np.ndarray, np.ndarray]:
    """Surfaces at the height of a body: points (N, rows, columns, 2) in the world, and which count."""
    views, at = torch.from_numpy(np.ascontiguousarray(depth[..., 0])), torch.from_numpy(np.ascontiguousarray(poses))
    mask, angle = torch.ones(len(views), 1, dtype=torch.bool), torch.full((len(views),), float(fov))
    points, valid = surface_points(views[:, None], at[:, None], mask, angle, at)
    columns = len(range(0, views.shape[2], max(1, -(-views.shape[2] // 64))))
    return points.reshape(len(views), -1, columns, 2).numpy(), valid.reshape(len(views), -1, columns).numpy()


def _count(mask: np.ndarray) -> np.ndarray:
    """Of each cell, how many of it and its eight neighbours are in the mask."""
    padded = np.pad(mask.astype(np.int8), 1)
    return sum(padded[x : x + mask.shape[0], y : y + mask.shape[1]] for x in range(3) for y in range(3))


def _bearing(pose: np.ndarray, place: np.ndarray) -> float:
    """Radians from the heading to a place, left positive."""
    offset = place - pose[:2]
    return _wrap(math.atan2(offset[1], offset[0]) - float(pose[3]))


def _wrap(angle: float) -> float:
    return (float(angle) + math.pi) % (2 * math.pi) - math.pi
