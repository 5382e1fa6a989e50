"""The record that layouts and furniture write into, one primitive at a time, before it becomes tensors."""

import math
import random
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from ctxmem_env.scenes.geometry import (
    BOX,
    CYLINDER,
    ELLIPSOID,
    MAX_DOORS,
    MAX_MATERIALS,
    MAX_PRIMITIVES,
    MAX_ROOMS,
    Scene,
)
from ctxmem_env.scenes.style import Style, Surface
from ctxmem_env.scenes.textures import TEXTURES

WALL = 0.1  # half the thickness of a wall
DOOR_HEIGHT = 2.1
# Wall side -> yaw of a piece that stands with its back to it: local +y points into the room.
SIDE_YAW = (-math.pi / 2, math.pi / 2, 0.0, math.pi)


@lru_cache(maxsize=1024)
def colours(palette: str) -> tuple[tuple[float, ...], ...]:
    """Three RGB colours in [0, 1] of "rrggbb rrggbb rrggbb"."""
    return tuple(tuple(int(c[i : i + 2], 16) / 255 for i in (0, 2, 4)) for c in palette.split())


@dataclass
class Room:
    """Centre lines of the walls, the height, the materials, and what is taken."""

    index: int
    x0: float
    y0: float
    x1: float
    y1: float
    height: float
    wall: int = 0
    floor: int = 0
    ceiling: int = 0
    exterior: set[int] = field(default_factory=set)  # sides (-x, +x, -y, +y) with nothing behind
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)
    wall_taken: list[tuple[int, float, float]] = field(default_factory=list)

    @property
    def area(self) -> float:
        return (self.x1 - self.x0) * (self.y1 - self.y0)


@dataclass
class Spot:
    """Where a piece of furniture stands: local x runs along it, local y out of the wall behind it."""

    x: float
    y: float
    yaw: float
    room: int

    def to_world(self, u: float, v: float) -> tuple[float, float]:
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return self.x + u * c - v * s, self.y + u * s + v * c


class Builder:
    """Collects primitives, materials, rooms and doors; `finish` packs them into a Scene."""

    def __init__(self, style: Style, rng: random.Random):
        self.style = style
        self.rng = rng
        self.prims: list[tuple[float, ...]] = []
        self.faces: list[tuple[int, ...]] = []
        self.rooms: list[Room] = []
        self.doors: list[tuple[float, float, float, float, int, int]] = []
        self.materials: dict[tuple, int] = {}

    def material(self, texture: str, scale: float, palette: str) -> int:
        """Index of a material; a texture of several variants takes a random one."""
        start, count = TEXTURES[texture]
        key = (start + (int(self.rng.random() * count) if count > 1 else 0), scale, palette)
        if key not in self.materials and len(self.materials) == MAX_MATERIALS:
            return len(self.materials) - 1
        return self.materials.setdefault(key, len(self.materials))

    def surface(self, surface: Surface) -> int:
        return self.material(surface.texture, surface.scale, self.rng.choice(surface.palettes))

    def wood(self) -> int:
        return self.material("grain", 0.8, self.rng.choice(self.style.wood))

    def fabric(self, texture: str = "speckle", scale: float = 0.6) -> int:
        return self.material(texture, scale, self.rng.choice(self.style.fabric))

    def box(self, x0, y0, z0, x1, y1, z1, material, rooms=0, yaw=0.0, kind=BOX) -> None:
        """A primitive between two corners (of its own frame, turned by `yaw` about its centre).

        `material` and `rooms` are one index or six, one for each face. A full scene ignores the rest.
        """
        if len(self.prims) == MAX_PRIMITIVES:
            return
        self.prims.append(
            (kind, (x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2, (x1 - x0) / 2, (y1 - y0) / 2, (z1 - z0) / 2, yaw)
        )
        material = material if isinstance(material, tuple) else (material,) * 6
        rooms = rooms if isinstance(rooms, tuple) else (rooms,) * 6
        self.faces.append(material + rooms)

    def part(self, spot: Spot, u0, v0, z0, u1, v1, z1, material, kind=BOX) -> None:
        """A primitive of a piece of furniture, in the frame of its spot."""
        x, y = spot.to_world((u0 + u1) / 2, (v0 + v1) / 2)
        hu, hv = (u1 - u0) / 2, (v1 - v0) / 2
        self.box(x - hu, y - hv, z0, x + hu, y + hv, z1, material, spot.room, spot.yaw, kind)

    def cylinder(self, x, y, z0, z1, radius, material, room) -> None:
        self.box(x - radius, y - radius, z0, x + radius, y + radius, z1, material, room, kind=CYLINDER)

    def ellipsoid(self, x, y, z, radius, height, material, room) -> None:
        h = height / 2
        self.box(x - radius, y - radius, z - h, x + radius, y + radius, z + h, material, room, kind=ELLIPSOID)

    def place(self, room: Room, width: float, depth: float, wall: bool, margin: float = 0.05) -> Spot | None:
        """A free spot for a footprint of `width` x `depth`: against a wall (origin at its foot) or in the open
        (origin in the middle). None if a few tries find none."""
        rng = self.rng
        for _ in range(6):
            if wall:
                side = int(rng.random() * 4)
                along_y = side < 2
                low, high = (room.y0, room.y1) if along_y else (room.x0, room.x1)
                low, high = low + WALL + width / 2 + margin, high - WALL - width / 2 - margin
                if low > high:
                    continue
                centre = low + (high - low) * rng.random()
                edge = (room.x0 + WALL, room.x1 - WALL, room.y0 + WALL, room.y1 - WALL)[side]
                inward = (1, -1, 1, -1)[side]
                spot = (
                    Spot(edge, centre, SIDE_YAW[side], room.index)
                    if along_y
                    else Spot(centre, edge, SIDE_YAW[side], room.index)
                )
                a, b = sorted((edge, edge + inward * depth))
                c, d = centre - width / 2, centre + width / 2
                rect = (a, c, b, d) if along_y else (c, a, d, b)
            else:
                yaw = rng.choice((0.0, math.pi / 2)) if rng.random() < 0.6 else (rng.random() - 0.5) * math.pi
                cos, sin = abs(math.cos(yaw)), abs(math.sin(yaw))
                hx, hy = (width * cos + depth * sin) / 2, (width * sin + depth * cos) / 2
                gap = WALL + 0.1
                spanx, spany = room.x1 - room.x0 - 2 * (hx + gap), room.y1 - room.y0 - 2 * (hy + gap)
                if spanx < 0 or spany < 0:
                    continue
                x, y = room.x0 + hx + gap + spanx * rng.random(), room.y0 + hy + gap + spany * rng.random()
                spot, rect = Spot(x, y, yaw, room.index), (x - hx, y - hy, x + hx, y + hy)
            gap = 0.12
            if all(
                rect[2] + gap < t[0] or t[2] + gap < rect[0] or rect[3] + gap < t[1] or t[3] + gap < rect[1]
                for t in room.taken
            ):
                room.taken.append(rect)
                if wall:
                    room.wall_taken.append((side, c, d))
                return spot
        return None

    def hang(self, room: Room, width: float, exterior: bool = False) -> Spot | None:
        """A free stretch of wall for something that hangs; on an outer wall if `exterior`."""
        rng = self.rng
        for _ in range(5):
            side = int(rng.random() * 4)
            if exterior and side not in room.exterior:
                continue
            low, high = (room.y0, room.y1) if side < 2 else (room.x0, room.x1)
            low, high = low + WALL + width / 2 + 0.15, high - WALL - width / 2 - 0.15
            if low > high:
                continue
            centre = low + (high - low) * rng.random()
            a, b = centre - width / 2, centre + width / 2
            if any(s == side and a < d + 0.1 and c < b + 0.1 for s, c, d in room.wall_taken):
                continue
            room.wall_taken.append((side, a, b))
            edge = (room.x0 + WALL, room.x1 - WALL, room.y0 + WALL, room.y1 - WALL)[side]
            xy = (edge, centre) if side < 2 else (centre, edge)
            return Spot(*xy, SIDE_YAW[side], room.index)
        return None

    def finish(self, seed: int, style_index: int, sun: tuple[float, ...], bounds: tuple[float, ...]) -> Scene:
        """The Scene of everything that was added."""
        style = self.style
        prims = np.zeros((MAX_PRIMITIVES, 8), np.float32)
        prims[: len(self.prims)] = self.prims
        faces = np.zeros((MAX_PRIMITIVES, 12), np.int64)
        faces[: len(self.faces)] = self.faces
        texture = np.zeros(MAX_MATERIALS, np.int64)
        scale = np.ones(MAX_MATERIALS, np.float32)
        colour = np.zeros((MAX_MATERIALS, 3, 3), np.float32)
        for index, (map_index, repeat, palette) in enumerate(self.materials):
            texture[index], scale[index], colour[index] = map_index, repeat, colours(palette)
        rooms = np.zeros((MAX_ROOMS, 6), np.float32)
        lamps = np.zeros((MAX_ROOMS, 4), np.float32)
        light = np.ones((MAX_ROOMS, 3), np.float32)
        tint = np.array(colours(style.ambient)[0], np.float32)
        for room in self.rooms:
            rooms[room.index] = room.x0 + WALL, room.y0 + WALL, 0, room.x1 - WALL, room.y1 - WALL, room.height
            lamps[room.index] = (room.x0 + room.x1) / 2, (room.y0 + room.y1) / 2, room.height - 0.4, style.falloff
            light[room.index] = tint * (0.94 + 0.1 * self.rng.random())
        door = np.zeros((MAX_DOORS, 4), np.float32)
        door_rooms = np.full((MAX_DOORS, 2), -1, np.int64)
        for index, values in enumerate(self.doors[:MAX_DOORS]):
            door[index], door_rooms[index] = values[:4], values[4:]
        tensor = torch.from_numpy
        return Scene(
            seed=torch.tensor(seed),
            style=torch.tensor(style_index),
            kind=tensor(prims[:, 0].astype(np.int64)),
            centre=tensor(prims[:, 1:4].copy()),
            half=tensor(prims[:, 4:7].copy()),
            yaw=tensor(prims[:, 7].copy()),
            face_material=tensor(faces[:, :6].copy()),
            face_room=tensor(faces[:, 6:].copy()),
            material_texture=tensor(texture),
            material_scale=tensor(scale),
            material_colours=tensor(colour),
            room_box=tensor(rooms),
            room_lamp=tensor(lamps),
            room_light=tensor(light),
            door=tensor(door),
            door_rooms=tensor(door_rooms),
            sun=torch.tensor(sun),
            sky=torch.tensor(colours(style.sky)),
            bounds=torch.tensor(bounds),
            camera_height=torch.tensor(1.5),
        )
