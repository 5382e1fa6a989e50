"""Free space, starting poses, random walks and tours of a scene. NumPy, since a walk is a chain of single decisions."""

import math

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.scenes.geometry import BOX, EMPTY, Scene

RADIUS = 0.25
HEAD, STEP = 1.8, 0.1  # what is lower than a step or higher than the head is in nobody's way
_DOOR_REACH = 0.6
MAX_LOOK = math.radians(30)


class Ground:
    """Obstacles of a scene on the ground plane."""

    def __init__(self, scene: Scene):
        if scene.batched:
            raise ValueError("scene is a batch; navigation takes a single scene from build_scene")
        kind, centre, half, yaw, bounds, rooms, doors, links = (
            t.cpu().numpy()
            for t in (
                scene.kind, scene.centre, scene.half, scene.yaw, scene.bounds,
                scene.room_box, scene.door, scene.door_rooms,
            )
        )  # fmt: skip
        low, high = centre[:, 2] - half[:, 2], centre[:, 2] + half[:, 2]
        solid = (kind != EMPTY) & (low < HEAD) & (high > STEP)
        self.x, self.y = centre[solid, 0], centre[solid, 1]
        self.hx, self.hy = half[solid, 0], half[solid, 1]
        self.cos, self.sin = np.cos(yaw[solid]), np.sin(yaw[solid])
        self.round = kind[solid] != BOX
        self.bounds = bounds
        self.height = float(scene.camera_height)
        self.rooms = rooms[rooms[:, 3] > rooms[:, 0]]
        self.doors = [(d, r) for d, r in zip(doors.tolist(), links.tolist(), strict=True) if r[0] >= 0]

    def free(self, xy: np.ndarray, radius: float = RADIUS) -> np.ndarray:
        """Whether a disc at each of the points (N, 2) touches nothing, (N,) bool."""
        dx, dy = xy[:, :1] - self.x, xy[:, 1:] - self.y
        u, v = np.abs(dx * self.cos + dy * self.sin), np.abs(dy * self.cos - dx * self.sin)
        gap_u, gap_v = np.maximum(u - self.hx, 0), np.maximum(v - self.hy, 0)
        inside = gap_u * gap_u + gap_v * gap_v <= radius * radius
        if self.round.any():
            inside = np.where(self.round, dx * dx + dy * dy <= (self.hx + radius) ** 2, inside)
        x0, y0, x1, y1 = self.bounds
        x, y = xy[:, 0], xy[:, 1]
        return ~inside.any(1) & (x > x0 + radius) & (x < x1 - radius) & (y > y0 + radius) & (y < y1 - radius)

    def room_of(self, x: float, y: float) -> int:
        """The innermost room at a point (the last one that holds it), or 0."""
        inside = (self.rooms[:, 0] <= x) & (x <= self.rooms[:, 3]) & (self.rooms[:, 1] <= y) & (y <= self.rooms[:, 4])
        return int(np.flatnonzero(inside)[-1]) if inside.any() else 0

    def point(self, rng: np.random.Generator, room: int | None = None, radius: float = RADIUS) -> tuple | None:
        """A random free point of a room, or of the scene."""
        if room is None:
            area = (self.rooms[:, 3] - self.rooms[:, 0]) * (self.rooms[:, 4] - self.rooms[:, 1])
            room = int(np.searchsorted(np.cumsum(area) / area.sum(), rng.random()))
        x0, y0, _, x1, y1, _ = self.rooms[min(room, len(self.rooms) - 1)]
        points = np.array([x0, y0]) + rng.random((12, 2)) * np.array([x1 - x0, y1 - y0])
        found = np.flatnonzero(self.free(points, radius))
        return tuple(points[found[0]].tolist()) if len(found) else None


def is_free(scene: Scene, xy: Tensor, radius: float = RADIUS) -> Tensor:
    """Whether a disc of `radius` metres fits at points (..., 2) of a single scene: bool (...)."""
    xy = torch.as_tensor(xy, dtype=torch.float32)
    if xy.ndim < 1 or xy.shape[-1] != 2:
        raise ValueError(f"xy has shape {tuple(xy.shape)}; expected (..., 2), x and y in metres")
    if not bool(torch.isfinite(xy).all()):
        raise ValueError("xy holds NaN or infinity; expected metres")
    if not (math.isfinite(radius) and radius >= 0):
        raise ValueError(f"radius is {radius}; expected a number of metres that is not negative")
    flat = xy.reshape(-1, 2).cpu().numpy()
    return torch.from_numpy(Ground(scene).free(flat, radius)).reshape(xy.shape[:-1])


def spawn(scene: Scene, rng: np.random.Generator) -> Tensor:
    """A pose (6,) in free space with at least 1.5 m of free view ahead where there is such a place."""
    return torch.from_numpy(_spawn(Ground(scene), rng))


def _spawn(ground: Ground, rng: np.random.Generator) -> np.ndarray:
    best, best_view = None, -1
    for _ in range(20):
        point = ground.point(rng, radius=0.35)
        if point is None:
            continue
        yaws = rng.uniform(-math.pi, math.pi, 4)
        reach = np.arange(1, 7) * 0.3
        ahead = np.array(point) + np.stack([np.cos(yaws), np.sin(yaws)], -1)[:, None] * reach[:, None]
        view = np.cumprod(ground.free(ahead.reshape(-1, 2), 0.1).reshape(4, 6), axis=1).sum(1)
        if view.max() > best_view:
            best, best_view = (*point, ground.height, float(yaws[view.argmax()]), 0.0, 0.0), view.max()
        if best_view >= 5:
            break
    if best is None:
        raise ValueError("the scene has no free place to stand; build another seed")
    return np.array(best, np.float32)


def _wrap(angle: float) -> float:
    return (angle + math.pi) % (2 * math.pi) - math.pi


class _Walker:
    def __init__(self, ground: Ground, start: np.ndarray, length: int, rng, step: float, turn: float):
        self.ground, self.rng, self.length, self.step, self.turn = ground, rng, length, step, turn
        self.x, self.y, self.z, self.yaw, self.pitch, _ = (float(v) for v in start)
        self.poses: list[tuple[float, ...]] = []
        self._record()

    @property
    def done(self) -> bool:
        return len(self.poses) >= self.length

    def _record(self) -> None:
        self.poses.append((self.x, self.y, self.z, _wrap(self.yaw), self.pitch, 0.0))

    def run(self, count: int, angle: float = 0.0) -> bool:
        """Up to `count` steps in the direction `angle` from the heading; False if something is in the way."""
        count = max(min(count, self.length - len(self.poses)), 1)
        c, s = math.cos(self.yaw + angle) * self.step, math.sin(self.yaw + angle) * self.step
        reach = np.arange(1, count + 1)
        ahead = np.stack([self.x + c * reach, self.y + s * reach], axis=-1)
        free = self.ground.free(ahead)
        clear = count if free.all() else int(free.argmin())
        for x, y in ahead[:clear].tolist():
            self.x, self.y = x, y
            self._record()
        return clear == count

    def rotate(self, count: int) -> None:
        """Turns of one turn angle each, to the left if positive."""
        for _ in range(abs(count)):
            self.yaw += math.copysign(self.turn, count)
            self._record()

    def face(self, x: float, y: float) -> None:
        self.rotate(round(_wrap(math.atan2(y - self.y, x - self.x) - self.yaw) / self.turn))

    def look(self, pitch: float) -> None:
        while abs(pitch - self.pitch) > 1e-6 and not self.done:
            change = pitch - self.pitch
            self.pitch += math.copysign(min(self.turn, abs(change)), change)
            self._record()

    def go_to(self, x: float, y: float) -> bool:
        """Walks towards a point, correcting the heading now and then; False if the way is blocked."""
        for _ in range(12):
            distance = math.hypot(x - self.x, y - self.y)
            if distance < 0.75 * self.step or self.done:
                return True
            self.face(x, y)
            if not self.run(min(max(round(distance / self.step), 1), 6)):
                return False
        return False

    def pass_door(self, door: list[float], along: bool) -> bool:
        """Through a door, along the normal of its wall or against it; False if the way is blocked."""
        x, y, nx, ny = door
        reach = _DOOR_REACH if along else -_DOOR_REACH
        return self.go_to(x - reach * nx, y - reach * ny) and self.go_to(x + reach * nx, y + reach * ny)

    def visit(self) -> None:
        """To a free point of this room, or through a door of it to a point of the next room."""
        here = self.ground.room_of(self.x, self.y)
        doors = [(d, r) for d, r in self.ground.doors if here in r]
        if doors and self.rng.random() < 0.6:
            door, rooms = doors[int(self.rng.integers(len(doors)))]
            if not self.pass_door(door, here == rooms[0]):
                return
            here = rooms[1] if here == rooms[0] else rooms[0]
        point = self.ground.point(self.rng, here, 0.4)
        if point is not None and not self.go_to(*point):
            self.rotate(int(self.rng.integers(2, 7)) * (1 if self.rng.random() < 0.5 else -1))

    def go_back(self) -> None:
        """The way it came: backwards, or turned round."""
        count = int(min(len(self.poses) - 1, self.rng.integers(4, 24)))
        trail = self.poses[-count - 1 : -1][::-1]
        if self.rng.random() < 0.5:
            for pose in trail:
                self.poses.append(pose)
            if trail:
                self.x, self.y, self.z, self.yaw, self.pitch, _ = trail[-1]
            return
        self.rotate(round(math.pi / self.turn) * (1 if self.rng.random() < 0.5 else -1))
        for x, y, *_ in trail:
            if (x, y) != (self.x, self.y):
                self.x, self.y = x, y
                self._record()

    def wander(self) -> None:
        """One behaviour, drawn at random; mostly a turn first if something fills the view."""
        rng, draw = self.rng, self.rng.random()
        sign = 1 if rng.random() < 0.5 else -1
        ahead = np.array([[self.x + 0.7 * math.cos(self.yaw), self.y + 0.7 * math.sin(self.yaw)]])
        if rng.random() < 0.6 and not self.ground.free(ahead, 0.1)[0]:
            self.rotate(sign * int(rng.integers(3, 9)))
        elif draw < 0.46:
            self.visit()
        elif draw < 0.60:
            self.rotate(sign * int(rng.integers(2, 10)))
        elif draw < 0.64:
            self.rotate(sign * round(2 * math.pi / self.turn))
        elif draw < 0.74:
            self.run(int(rng.integers(2, 8)), sign * math.pi / 2)
        elif draw < 0.79:
            self.run(int(rng.integers(2, 6)), math.pi)
        elif draw < 0.86:
            self.look(float(rng.integers(-1, 2)) * min(2 * self.turn, MAX_LOOK) * (0.5 if rng.random() < 0.6 else 1.0))
        elif draw < 0.96:
            self.go_back()
        else:
            self._record()
        if self.pitch != 0 and rng.random() < 0.6:
            self.look(0.0)


def random_walk(
    scene: Scene,
    length: int,
    rng: np.random.Generator,
    step_length: float = 0.25,
    turn_angle: float = math.radians(15),
) -> Tensor:
    """A walk of persistent motions through free space and doors: poses (length, 6).

    Runs forward to places in the room or beyond a door, turns, strafes, steps back, looks up and down, and now and
    then the way it came. Successive poses differ by at most one step of `step_length` metres or one turn of
    `turn_angle` radians.
    """
    _check_length("length", length)
    for name, value in (("step_length", step_length), ("turn_angle", turn_angle)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} is {value}; expected a positive number")
    ground = Ground(scene)
    walker = _Walker(ground, _spawn(ground, rng), length, rng, step_length, turn_angle)
    while not walker.done:
        walker.wander()
    return torch.tensor(walker.poses[:length], dtype=torch.float32)


def door_walk(
    scene: Scene,
    rng: np.random.Generator,
    most: int = 40,
    step_length: float = 0.25,
    turn_angle: float = math.radians(15),
) -> Tensor | None:
    """A walk out of a room through the nearest door and on into the next room: poses (length, 6), `most` at most.

    Steps and turns as in `random_walk`. None where no door is found in 20 attempts, as under the open sky.
    """
    _check_length("most", most)
    ground = Ground(scene)
    for _ in range(20 if ground.doors else 0):
        walker = _Walker(ground, _spawn(ground, rng), most, rng, step_length, turn_angle)
        here = ground.room_of(walker.x, walker.y)
        doors = [(math.hypot(d[0] - walker.x, d[1] - walker.y), d, r) for d, r in ground.doors if here in r]
        if not doors:
            continue
        _, door, rooms = min(doors)
        if walker.pass_door(door, here == rooms[0]) and not walker.done:
            there = rooms[1] if here == rooms[0] else rooms[0]
            point = ground.point(rng, there, 0.4)
            if point is not None:
                walker.go_to(*point)
            return torch.tensor(walker.poses[:most], dtype=torch.float32)
    return None


def shift(walk: Tensor, rng: np.random.Generator) -> Tensor:
    """A walk (T, 6) whose every pose is moved by up to 6 cm and turned by up to 5 degrees, as continuous actions would.

    On a walk of discrete actions the camera comes back to the very same pixels, for which a copy is perfect.
    """
    walk = walk.clone()
    walk[:, :2] += torch.from_numpy(rng.uniform(-0.06, 0.06, (len(walk), 2)))
    walk[:, 3] += torch.from_numpy(np.radians(rng.uniform(-5, 5, len(walk))))
    return walk


def tour(scene: Scene, num_frames: int, rng: np.random.Generator, start: Tensor) -> Tensor:
    """Views that together cover the surroundings of `start` (6,): poses (num_frames, 6), the last one is `start`.

    First a turn on the spot, then looks to four sides from free places nearby that can be reached in a straight line.
    """
    _check_length("num_frames", num_frames)
    start = torch.as_tensor(start, dtype=torch.float32).cpu()
    if start.shape != (6,) or not bool(torch.isfinite(start).all()):
        raise ValueError(f"start is {start.tolist()}; expected one finite pose of 6 numbers")
    ground = Ground(scene)
    x, y, z, yaw, _, _ = start.tolist()
    views = min(num_frames - 1, 7 if num_frames <= 16 else 11)
    poses = [(x, y, z, _wrap(yaw + 2 * math.pi * i / (views + 1)), 0.0, 0.0) for i in range(1, views + 1)]
    while len(poses) < num_frames - 1:
        px, py = _nearby(ground, x, y, rng)
        first = rng.uniform(-math.pi, math.pi)
        for i in range(min(4, num_frames - 1 - len(poses))):
            poses.append((px, py, z, _wrap(first + i * math.pi / 2), 0.0, 0.0))
    return torch.cat([torch.tensor(poses, dtype=torch.float32).reshape(-1, 6), start[None]])


def _nearby(ground: Ground, x: float, y: float, rng: np.random.Generator) -> tuple[float, float]:
    """A free point 0.75 to 3 m away with a free straight way to it; the place itself if there is none."""
    angle, distance = rng.uniform(-math.pi, math.pi, 12), rng.uniform(0.75, 3.0, 12)
    way = np.linspace(0.2, 1, 9) * distance[:, None]
    points = np.stack([x + way * np.cos(angle)[:, None], y + way * np.sin(angle)[:, None]], axis=-1)
    free = np.cumprod(ground.free(points.reshape(-1, 2), 0.2).reshape(12, 9), axis=1).sum(1)
    pick = int(free.argmax())
    if free[pick] < 4:
        return x, y
    px, py = points[pick, free[pick] - 1]
    return float(px), float(py)


def _check_length(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} is {value!r}; expected a positive integer")
