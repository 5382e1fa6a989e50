"""Walks of the protocols, each a function of its scene's seed: out and back, around a wall, and on to the unseen."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.actions import STEP_LENGTH, TURN_ANGLE
from ctxmem_env.camera import DEFAULT_FOV, wrap_angle
from ctxmem_env.dynamics import DEFAULT_RADIUS, GAP
from ctxmem_env.evaluation.protocols import Walks
from ctxmem_env.scenes import Scene, build_scene, render, shift, spawn, stack_scenes, sweep_scenes, tour
from ctxmem_env.scenes.navigation import Ground

TURN = math.radians(TURN_ANGLE)
_ATTEMPTS = 60
_APPROACH = 1.5  # metres of a way up to a surface
_BEHIND = (1.5, 4.5)  # metres between two places on both sides of a wall

Outward = Callable[[Scene, np.random.Generator], Tensor | None]
"""Poses (n + 1, 6) from a place to another one, or None for a scene that has no such way."""


@dataclass
class Loops:
    """Walks out and back over the very same poses, in the scenes that have one.

    `rows` are the places of these scenes among the seeds that were asked for, and `lengths` the numbers n of steps out.
    Steps are counted from 1; the step 2 n - t of the way back stands where step t did, and step 2 n at the first frame.
    Shorter walks wait there for the others.
    """

    walks: Walks
    rows: list[int]
    lengths: list[int]


def turned(start: Tensor, count: int) -> Tensor:
    """Poses (count + 1, 6) of a camera that turns left on the spot, 15 degrees a step."""
    poses = start.repeat(count + 1, 1)
    poses[:, 3] = wrap_angle(poses[:, 3] + TURN * torch.arange(count + 1))
    return poses


def out_and_back(seeds: list[int], outward: Outward, tour_frames: int, height: int, width: int) -> Loops | None:
    """The walks that `outward` gives, and back, each after a tour of `tour_frames` frames; None if no scene has one."""
    scenes, tours, ways, rows = [], [], [], []
    for row, seed in enumerate(seeds):
        scene, rng = build_scene(seed), np.random.default_rng(seed)
        way = outward(scene, rng)
        if way is not None:
            scenes.append(scene)
            tours.append(tour(scene, tour_frames + 1, rng, way[0]))
            ways.append(way)
            rows.append(row)
    if not rows:
        return None
    lengths = [len(way) - 1 for way in ways]
    most = max(lengths)
    once = torch.stack(
        [torch.cat([t, way[1:], way[:1].expand(most + 1 - len(way), 6)]) for t, way in zip(tours, ways, strict=True)]
    ).float()
    frames, depth = render(stack_scenes(scenes), once, DEFAULT_FOV, height, width)
    order = torch.stack([_there_and_back(tour_frames, n, most) for n in lengths])
    row = torch.arange(len(rows))[:, None]
    walks = Walks(
        frames[row, order], depth[row, order], once[row, order], tour_frames + 1, [seeds[row] for row in rows]
    )
    return Loops(walks, rows, lengths)


def _there_and_back(tour_frames: int, length: int, most: int) -> Tensor:
    """Which of the frames of a tour, a first frame and a way of `length` is seen when."""
    out, wait = torch.arange(length + 1), torch.zeros(2 * (most - length), dtype=torch.int64)
    return torch.cat([torch.arange(tour_frames), tour_frames + torch.cat([out, out[:-1].flip(0), wait])])


def behind_a_wall(scene: Scene, rng: np.random.Generator) -> tuple[Tensor, Tensor] | None:
    """Two places in different rooms with a wall between them, poses (6,), the first looking towards the second.

    None where none is found in 60 attempts, as under the open sky.
    """
    ground = Ground(scene)
    for _ in range(_ATTEMPTS if len(ground.rooms) > 1 else 0):
        here, other = ground.point(rng, radius=0.35), ground.point(rng, radius=0.35)
        if here is None or other is None or ground.room_of(*here) == ground.room_of(*other):
            continue
        distance, yaw = math.dist(here, other), math.atan2(other[1] - here[1], other[0] - here[0])
        one, two = (torch.tensor([*place, ground.height, yaw, 0.0, 0.0]) for place in (here, other))
        if not _BEHIND[0] <= distance <= _BEHIND[1]:
            continue
        # The ray between the two cameras, which furniture does not reach.
        _, free = render(stack_scenes([scene]), one[None, None], 1.0, 1, 1)
        if free.item() < distance:
            return one, two
    return None


def unseen_walk(scene: Scene, rng: np.random.Generator, steps: int) -> Tensor:
    """A start and `steps` turns on the spot, 180 degrees in all if 12, and then as many steps ahead: (2 steps + 1, 6).

    The first view is free for a metre and a half, or else the wall before it would be all that is known, and so is the
    whole way; where no start with so long a way is found, the steps are shorter.
    """
    ground, best, longest = Ground(scene), None, -1
    for _ in range(_ATTEMPTS):
        start = spawn(scene, rng)
        yaw = float(start[3]) + TURN * steps
        ahead = STEP_LENGTH * np.arange(1, steps + 1)[:, None] * np.array([math.cos(yaw), math.sin(yaw)])
        free = ground.free(np.asarray(start[:2]) + ahead)
        clear = steps if free.all() else int(free.argmin())
        if clear > longest:
            best, longest = start, clear
        if clear == steps:
            break
    poses = turned(best, steps)
    walk = poses[-1:].repeat(steps, 1)
    way = STEP_LENGTH * longest / steps * torch.arange(1, steps + 1)
    walk[:, 0] += way * walk[:, 3].cos()
    walk[:, 1] += way * walk[:, 3].sin()
    return torch.cat([poses, walk])


def up_to_a_surface(scene: Scene, rng: np.random.Generator, steps: int) -> Tensor:
    """A start and `steps` equal steps straight ahead, the last one right before what stands there: (steps + 1, 6).

    The way is between a metre and a half and that many steps of an environment long, or as nearly so as one was found.
    """
    best, way, least = None, 0.0, math.inf
    for _ in range(_ATTEMPTS):
        start = spawn(scene, rng)
        ahead = torch.stack([start[3].cos(), start[3].sin()])
        free = sweep_scenes(stack_scenes([scene]), start[None, :2], ahead[None], DEFAULT_RADIUS)[0].item() - GAP
        fitted = min(max(free, _APPROACH), steps * STEP_LENGTH)
        if best is None or abs(free - fitted) < least:
            best, way, least = start, min(max(free, 0.0), steps * STEP_LENGTH), abs(free - fitted)
        if least == 0:
            break
    poses = best.repeat(steps + 1, 1)
    gone = way / steps * torch.arange(steps + 1)
    poses[:, 0] += gone * poses[:, 3].cos()
    poses[:, 1] += gone * poses[:, 3].sin()
    return poses


def around_a_wall(seeds: list[int], tour_frames: int, other_frames: int, height: int, width: int) -> Loops | None:
    """Full turns of 24 steps in one room, after a tour there and `other_frames` views all around in the next room.

    `Walks.poses` of the turn are shifted; the first frame looks away from the wall, so that step 12 looks at it.
    `lengths` are 24. None if no scene has two rooms.
    """
    scenes, poses, rows = [], [], []
    for row, seed in enumerate(seeds):
        scene, rng = build_scene(seed), np.random.default_rng(seed)
        places = behind_a_wall(scene, rng)
        if places is None:
            continue
        here, other = places
        here[3] = wrap_angle(here[3] + math.pi)
        around = other.repeat(other_frames, 1)
        around[:, 3] = wrap_angle(around[:, 3] + 2 * math.pi / other_frames * torch.arange(other_frames))
        views = tour(scene, tour_frames + 1, rng, here)
        poses.append(torch.cat([views[:-1], shift(around, rng), views[-1:], shift(turned(here, 24)[1:], rng)]))
        scenes.append(scene)
        rows.append(row)
    if not rows:
        return None
    poses = torch.stack(poses).float()
    frames, depth = render(stack_scenes(scenes), poses, DEFAULT_FOV, height, width)
    walks = Walks(frames, depth, poses, tour_frames + other_frames + 1, [seeds[row] for row in rows])
    return Loops(walks, rows, [24] * len(rows))
