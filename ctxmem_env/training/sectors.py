"""Passages and halls with floors and ceilings of many heights: places to learn depth from, beside those of the styles.

A room of a style has one height, furniture and plain walls more often than not. These have steps, beams, windows into
the next hall, walls aslant, light that ends at a threshold, and often nothing on the ground to tell where one stands.
Nobody walks in them; cameras are put where they can stand.
"""

import dataclasses
import math
import random

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.camera import wrap_angle
from ctxmem_env.scenes import Scene, is_free
from ctxmem_env.scenes.builder import WALL, Builder, Room
from ctxmem_env.scenes.geometry import BOX, CYLINDER, ELLIPSOID, MAX_ROOMS
from ctxmem_env.scenes.layout import SKY_HEIGHT, shared_walls
from ctxmem_env.scenes.styles import STYLES, TRAINING_STYLES

_BANDED = ("bands", "panels", "brick", "stone", "slabs", "planks", "big_tiles", "drawers")
_ANY = ("plaster", "speckle", "tiles", "grain", "marble", "stripes", "checks", "plain", "dots", "foliage")
_FITTED = ("panes", "drawers", "facade", "poster", "panels")  # span the piece that they are on
_DEEP = -4.0  # metres; floors and walls reach down to it, so that no gap shows under a step
_CLOSE = 0.3  # metres, nearer to which no camera comes to anything
_EYES = 1.5


def sectors(views: int, rng: np.random.Generator) -> tuple[Scene, Tensor]:
    """A scene, and poses (views, 6) in it: a turn on the spot or a part of one, or looks from all over a hall."""
    draw = random.Random(int(rng.integers(2**62)))
    style = draw.choice(TRAINING_STYLES)
    builder = Builder(STYLES[style], draw)
    size = [math.exp(draw.uniform(math.log(2.5), math.log(22))) for _ in range(2)]
    floors, ceilings = _halls(builder, _cut((0.0, 0.0, *size), draw.randint(1, MAX_ROOMS), draw), draw)
    scene = _lit(builder, style, floors, ceilings, draw)
    return scene, _looks(scene, builder.rooms[0], views, draw)


def _cut(rect: tuple[float, float, float, float], count: int, draw: random.Random) -> list:
    """Up to `count` rectangles, none of them narrower than 1.4 m by a cut."""
    x0, y0, x1, y1 = rect
    along_x = (x1 - x0) * draw.uniform(0.5, 2) > y1 - y0
    low, high = (x0, x1) if along_x else (y0, y1)
    if count == 1 or high - low < 2.8:
        return [rect]
    at = draw.uniform(low + 1.4, high - 1.4)
    near, far = ((x0, y0, at, y1), (at, y0, x1, y1)) if along_x else ((x0, y0, x1, at), (x0, at, x1, y1))
    first = draw.randint(1, count - 1)
    return _cut(near, first, draw) + _cut(far, count - first, draw)


def _halls(builder: Builder, rects: list, draw: random.Random) -> tuple[list[float], list[float]]:
    """Builds all; tells the heights of floors and ceilings. The first hall, where cameras stand, has its floor at 0."""
    draw.shuffle(rects)
    unit = draw.choice((0.0, 0.12, 0.25, 0.4))
    open_share = draw.choice((0.0, 0.0, 0.3, 1.0))
    floors = [0.0, *(unit * draw.randint(-3, 3) for _ in rects[1:])]
    ceilings = [max(floor, 0) + math.exp(draw.uniform(math.log(2.4), math.log(6.5))) for floor in floors]
    if draw.random() < 0.4:
        ceilings = [max(ceilings)] * len(rects)
    walls = [_surface(builder, draw) for _ in range(draw.choice((1, 2, 4)))]
    ground, above = _surface(builder, draw), _surface(builder, draw)
    for index, rect in enumerate(rects):
        room = Room(index, *rect, ceilings[index], draw.choice(walls))
        room.floor = ground if draw.random() < 0.5 else _surface(builder, draw)
        room.ceiling = above if draw.random() < 0.6 else _surface(builder, draw)
        builder.rooms.append(room)
        sides = (room.wall,) * 4
        builder.box(*rect[:2], _DEEP, *rect[2:], floors[index], (*sides, room.floor, room.floor), index)
        if draw.random() >= open_share:
            top = ceilings[index]
            builder.box(*rect[:2], top, *rect[2:], top + 5, (*sides, room.ceiling, room.ceiling), index)
        else:
            ceilings[index] = SKY_HEIGHT
    _outer_walls(builder, draw)
    for a, b, axis, at, low, high in shared_walls(builder.rooms):
        _between(builder, (a, b), (axis, at, low, high), max(floors[a.index], floors[b.index]), draw)
    for room in builder.rooms:
        _pieces(builder, room, floors[room.index], draw)
    return floors, ceilings


def _surface(builder: Builder, draw: random.Random, fitted: bool = False) -> int:
    base, hue, tint = draw.uniform(0.08, 0.9), draw.random(), draw.choice((0.05, 0.15, 0.5))
    tone = [base * (1 + tint * math.cos(2 * math.pi * (hue + part / 3))) for part in range(3)]
    contrast = draw.uniform(0.1, 0.8)
    shades = (1.0, 1 - contrast * draw.random(), 1 - contrast)
    palette = " ".join("".join(f"{min(int(255 * part * shade), 255):02x}" for part in tone) for shade in shades)
    if fitted:
        return builder.material(draw.choice(_FITTED), 0.0, palette)
    texture = draw.choice(_BANDED if draw.random() < 0.65 else _ANY)
    return builder.material(texture, math.exp(draw.uniform(math.log(0.7), math.log(4.5))), palette)


def _outer_walls(builder: Builder, draw: random.Random) -> None:
    """Walls around all, which end where it pleases them where there is no ceiling."""
    ends = [pick(getattr(room, name) for room in builder.rooms) for pick, name in
            ((min, "x0"), (max, "x1"), (min, "y0"), (max, "y1"))]  # fmt: skip
    for room in builder.rooms:
        for side, (edge, outer) in enumerate(zip((room.x0, room.x1, room.y0, room.y1), ends, strict=True)):
            if edge != outer:
                continue
            near, far = edge - WALL, edge + WALL
            top = room.height + draw.choice((0.0, 1.0))
            if side < 2:
                builder.box(near, room.y0, _DEEP, far, room.y1, top, room.wall, room.index)
            else:
                builder.box(room.x0, near, _DEEP, room.x1, far, top, room.wall, room.index)


def _between(builder: Builder, pair: tuple[Room, Room], place: tuple, ground: float, draw: random.Random) -> None:
    """What stands between two halls: nothing, a wall, or one with a way through or a window."""
    a, b = pair
    axis, at, low, high = place
    top, kind = min(a.height, b.height), draw.random()

    def wall(start: float, end: float, bottom: float, upper: float) -> None:
        across = (a.wall, b.wall)
        faces, rooms = ((*across, *across), (a.index, b.index) * 2)
        rest = (a.wall,) * 2
        box = (at - WALL, start, bottom, at + WALL, end, upper)
        if axis == 1:
            box = (start, at - WALL, bottom, end, at + WALL, upper)
        builder.box(*box, (*faces, *rest), (*rooms, a.index, a.index))

    if kind < 0.4:
        return
    if kind < 0.6 or high - low < 1.2:
        wall(low, high, _DEEP, top)
        return
    half = min(draw.uniform(0.4, 1.5), (high - low) / 2 - 0.1)
    centre = draw.uniform(low + half, high - half)
    wall(low, centre - half, _DEEP, top)
    wall(centre + half, high, _DEEP, top)
    wall(centre - half, centre + half, min(ground + draw.uniform(1.9, 3.0), top - 0.1), top)
    if draw.random() < 0.3:
        wall(centre - half, centre + half, _DEEP, ground + draw.uniform(0.3, 1.3))


def _pieces(builder: Builder, room: Room, floor: float, draw: random.Random) -> None:
    """Pillars, crates, steps, walls aslant, and what is let into walls, more of them in larger halls."""
    for _ in range(min(round(room.area * draw.uniform(0, 0.5)), 7)):
        kind = draw.choice(("pillar", "crate", "crate", "low", "slanted", "panel", "panel", "panel", "thing", "beam"))
        x, y = draw.uniform(room.x0, room.x1), draw.uniform(room.y0, room.y1)
        wide, deep = draw.uniform(0.2, 0.7), draw.uniform(0.2, 0.7)
        material = _surface(builder, draw, kind in ("panel", "crate"))
        box = (x - wide, y - deep, floor, x + wide, y + deep)
        if kind == "pillar":
            builder.box(*box, room.height, material, room.index, kind=draw.choice((BOX, BOX, CYLINDER)))
        elif kind == "crate":
            builder.box(*box, floor + draw.uniform(0.4, 1.6), material, room.index, draw.choice((0.0, draw.random())))
        elif kind == "low":
            wide, deep = 3 * wide, 3 * deep
            builder.box(
                x - wide, y - deep, floor, x + wide, y + deep, floor + draw.uniform(0.2, 0.4), material, room.index
            )
        elif kind == "slanted":
            length, yaw = draw.uniform(0.8, 3), draw.choice((math.pi / 4, -math.pi / 4, draw.uniform(-1.5, 1.5)))
            builder.box(x - length, y - WALL, floor, x + length, y + WALL, room.height, room.wall, room.index, yaw)
        elif kind == "thing":
            radius, height = draw.uniform(0.1, 0.35), draw.uniform(0.4, 1.4)
            builder.box(x - radius, y - radius, floor, x + radius, y + radius, floor + height, material, room.index,
                        kind=draw.choice((CYLINDER, ELLIPSOID)))  # fmt: skip
        elif kind == "beam":
            builder.box(room.x0, y - deep, room.height - wide, room.x1, y + deep, room.height, material, room.index)
        else:
            _panel(builder, room, floor, material, draw)


def _panel(builder: Builder, room: Room, floor: float, material: int, draw: random.Random) -> None:
    """A door, a screen or a lamp on a wall, or a part of it that stands out."""
    half, out = draw.uniform(0.2, 1.2), WALL + math.exp(draw.uniform(math.log(0.02), math.log(0.3)))
    bottom = floor + draw.choice((0.0, draw.uniform(0, 1.5)))
    top = min(bottom + draw.uniform(0.4, 2.5), room.height)
    x, y = draw.uniform(room.x0, room.x1), draw.uniform(room.y0, room.y1)
    if draw.random() < 0.5:
        x = draw.choice((room.x0, room.x1))
        builder.box(x - out, y - half, bottom, x + out, y + half, top, material, room.index)
    else:
        y = draw.choice((room.y0, room.y1))
        builder.box(x - half, y - out, bottom, x + half, y + out, top, material, room.index)


def _lit(builder: Builder, style: str, floors: list[float], ceilings: list[float], draw: random.Random) -> Scene:
    """The scene, each hall as bright as it pleases, with its corners where its floor and ceiling are, if any."""
    x0, y0 = (min(getattr(room, name) for room in builder.rooms) for name in ("x0", "y0"))
    x1, y1 = (max(getattr(room, name) for room in builder.rooms) for name in ("x1", "y1"))
    azimuth, elevation = draw.uniform(0, 2 * math.pi), draw.uniform(0.4, 1.2)
    level = math.cos(elevation)
    sun = (math.cos(azimuth) * level, math.sin(azimuth) * level, math.sin(elevation), draw.uniform(0.1, 0.5))
    scene = builder.finish(0, list(STYLES).index(style), sun, (x0, y0, x1, y1))
    count, parts = len(floors), (scene.room_box, scene.room_lamp, scene.room_light)
    box, lamp, light = (part.clone() for part in parts)
    box[:count, 2], box[:count, 5] = torch.tensor(floors), torch.tensor(ceilings)
    lamp[:count, 3] *= draw.choice((0.0, 1.0, 4.0))
    apart = draw.choice((0.0, 0.2, 0.6))
    light[:count] *= torch.tensor([[math.exp(draw.gauss(0, apart))] for _ in range(count)])
    return dataclasses.replace(scene, room_box=box, room_lamp=lamp, room_light=light)


def _looks(scene: Scene, room: Room, views: int, draw: random.Random) -> Tensor:
    turn = draw.random() < 0.75
    part = draw.choice((2 * math.pi, 2 * math.pi, draw.uniform(0.3, 4)))
    start = draw.uniform(-math.pi, math.pi)
    poses = torch.zeros(views, 6)
    poses[:, :2] = _stands(scene, room, 1 if turn else views, draw)
    poses[:, 2] = _EYES
    for view in range(views):
        poses[view, 3] = start + part * view / views if turn else draw.uniform(-math.pi, math.pi)
    poses[:, 3] = wrap_angle(poses[:, 3])
    return poses


def _stands(scene: Scene, room: Room, count: int, draw: random.Random) -> Tensor:
    """Places (count, 2) where nothing is close that is as high as a step, or any where too few are found."""
    x, y = (room.x0 + _CLOSE, room.x1 - _CLOSE), (room.y0 + _CLOSE, room.y1 - _CLOSE)
    places = torch.tensor([[draw.uniform(*x), draw.uniform(*y)] for _ in range(30 + count)])
    free = is_free(scene, places, _CLOSE)
    return torch.cat([places[free], places[~free]])[:count]
