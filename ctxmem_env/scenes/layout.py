"""`build_scene`: rooms joined by doors, or a square under the sky, furnished in a style."""

import itertools
import math
import random

import ctxmem_env.scenes.held_out_furniture  # noqa: F401  its pieces join PIECES
from ctxmem_env.scenes.builder import DOOR_HEIGHT, WALL, Builder, Room
from ctxmem_env.scenes.furniture import PIECES, pillar, window
from ctxmem_env.scenes.geometry import MAX_PRIMITIVES, Scene, split_of
from ctxmem_env.scenes.styles import STYLES, TRAINING_STYLES, check_style

_EPS = 0.01  # wall ends stop this far inside the wall they meet, so that no two faces share a plane
SKY_HEIGHT = 1000.0


def build_scene(seed: int, style: str | None = None) -> Scene:
    """The scene of a seed, always the same.

    Args:
        seed: an integer of one of the splits (see `split_of`).
        style: a name in STYLES; None draws one of the styles that are not held out.

    Raises:
        ValueError: if the seed is in no split or the style does not exist.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ValueError(f"seed is {seed!r}; expected an integer")
    seed = int(seed)
    split_of(seed)
    rng = random.Random(seed)
    drawn = rng.choice(TRAINING_STYLES)
    name = drawn if style is None else check_style(style)
    style_index = list(STYLES).index(name)
    # Python's generator mixes an integer seed well, and is ten times faster here than NumPy's.
    rng = random.Random(seed * 64 + style_index)
    spec = STYLES[name]
    builder = Builder(spec, rng)
    if spec.layout in ("rooms", "corridor"):
        _indoor(builder)
    else:
        _outdoor(builder)
    for room in builder.rooms:
        _furnish(builder, room)
    outer = builder.rooms[0] if spec.layout not in ("rooms", "corridor") else None
    rooms = [outer] if outer else builder.rooms
    bounds = (
        min(r.x0 for r in rooms) + WALL,
        min(r.y0 for r in rooms) + WALL,
        max(r.x1 for r in rooms) - WALL,
        max(r.y1 for r in rooms) - WALL,
    )
    azimuth, elevation = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.0)
    sun = (
        math.cos(azimuth) * math.cos(elevation),
        math.sin(azimuth) * math.cos(elevation),
        math.sin(elevation),
        spec.sun_share,
    )
    return builder.finish(seed, style_index, sun, bounds)


def _furnish(builder: Builder, room: Room) -> None:
    style, rng = builder.style, builder.rng
    if style.windows and room.exterior:
        for _ in range(1 + (rng.random() < 0.4)):
            window(builder, room)
    if style.pillars and room.area > 22:
        for _ in range(rng.randint(1, 2)):
            pillar(builder, room)
    rest = sum(other.area for other in builder.rooms if other.index > room.index)
    budget = (MAX_PRIMITIVES - len(builder.prims)) * room.area / (room.area + rest)
    limit = len(builder.prims) + int(budget) - 4
    done = set()
    for _ in range(round(1.4 * room.area * style.density)):
        if len(builder.prims) > limit:
            break
        name = rng.choice(style.furniture)
        if name in ("rug", "path") and name in done:
            continue
        done.add(name)
        PIECES[name](builder, room)


def _new_room(builder: Builder, rect: tuple[float, float, float, float], height: float) -> Room:
    style, rng = builder.style, builder.rng
    room = Room(len(builder.rooms), *rect, height)
    room.wall = _fresh(builder, style.walls, {r.wall for r in builder.rooms})
    room.floor = _fresh(builder, style.floors, {r.floor for r in builder.rooms})
    room.ceiling = builder.surface(rng.choice(style.ceilings)) if style.ceilings else 0
    builder.rooms.append(room)
    return room


def _fresh(builder: Builder, surfaces, used: set[int]) -> int:
    """A material that no room has yet, if one comes up in a few draws."""
    for _ in range(4):
        material = builder.surface(builder.rng.choice(surfaces))
        if material not in used:
            break
    return material


def _split(rng: random.Random, rect, count: int) -> list:
    """`count` rooms from a rectangle by cuts across its longer side."""
    if count == 1:
        return [rect]
    x0, y0, x1, y1 = rect
    first = count // 2 if rng.random() < 0.5 else count - count // 2
    share = min(max(first / count + rng.uniform(-0.07, 0.07), 0.25), 0.75)
    if x1 - x0 > y1 - y0:
        cut = x0 + share * (x1 - x0)
        return _split(rng, (x0, y0, cut, y1), first) + _split(rng, (cut, y0, x1, y1), count - first)
    cut = y0 + share * (y1 - y0)
    return _split(rng, (x0, y0, x1, cut), first) + _split(rng, (x0, cut, x1, y1), count - first)


def _corridor(rng: random.Random, count: int, size: tuple[float, float]) -> list:
    """A corridor with `count - 1` rooms on its two sides; the corridor comes first."""
    width, length = rng.uniform(1.7, 2.2), 0.0
    sides = [(count - 1 + 1) // 2, (count - 1) // 2]
    length = max(sides) * rng.uniform(*size)
    rects = [(-length / 2, -width / 2, length / 2, width / 2)]
    for side, sign in zip(sides, (1, -1), strict=True):
        depth, edges = rng.uniform(*size), [-length / 2]
        for i in range(1, side):
            edges.append(-length / 2 + length * (i + rng.uniform(-0.08, 0.08)) / side)
        edges.append(length / 2)
        for a, b in itertools.pairwise(edges):
            if side:
                y0, y1 = sorted((sign * width / 2, sign * (width / 2 + depth)))
                rects.append((a, y0, b, y1))
    return rects


def _indoor(builder: Builder) -> None:
    style, rng = builder.style, builder.rng
    count = rng.randint(*style.rooms)
    if style.layout == "corridor":
        rects = _corridor(rng, count, style.size)
    else:
        side, aspect = rng.uniform(*style.size) * math.sqrt(count), rng.uniform(0.85, 1.2)
        hx, hy = side * aspect / 2, side / aspect / 2
        rects = _split(rng, (-hx, -hy, hx, hy), count)
    for rect in rects:
        _new_room(builder, rect, style.height)
    frame = builder.wood()
    for room in builder.rooms:
        x0, y0, x1, y1, h = room.x0, room.y0, room.x1, room.y1, room.height
        builder.box(x0, y0, -0.2, x1, y1, 0, room.floor, room.index)
        builder.box(x0, y0, h, x1, y1, h + 0.2, room.ceiling, room.index)
        for side in range(4):
            _exterior_wall(builder, room, side)
    _interior_walls(builder, frame)


def _exterior_wall(builder: Builder, room: Room, side: int) -> None:
    edge = (room.x0, room.x1, room.y0, room.y1)[side]
    outer = (min, max)[side % 2]((r.x0, r.x1, r.y0, r.y1)[side] for r in builder.rooms)
    if abs(edge - outer) > 1e-6:
        return
    room.exterior.add(side)
    low, high = (room.y0, room.y1) if side < 2 else (room.x0, room.x1)
    low, high, h = low - WALL + _EPS, high + WALL - _EPS, room.height
    if side < 2:
        builder.box(edge - WALL, low, 0, edge + WALL, high, h, room.wall, room.index)
    else:
        builder.box(low, edge - WALL, 0, high, edge + WALL, h, room.wall, room.index)


def shared_walls(rooms: list[Room]) -> list[tuple[Room, Room, int, float, float, float]]:
    """(low room, high room, axis, position, from, to) of every stretch of wall between two rooms."""
    shared = []
    for a in rooms:
        for b in rooms:
            if abs(a.x1 - b.x0) < 1e-6:
                low, high = max(a.y0, b.y0), min(a.y1, b.y1)
                if high - low > 1e-6:
                    shared.append((a, b, 0, a.x1, low, high))
            if abs(a.y1 - b.y0) < 1e-6:
                low, high = max(a.x0, b.x0), min(a.x1, b.x1)
                if high - low > 1e-6:
                    shared.append((a, b, 1, a.y1, low, high))
    return shared


def _interior_walls(builder: Builder, frame: int) -> None:
    rng, style = builder.rng, builder.style
    shared = shared_walls(builder.rooms)
    order = [s for s in shared if s[5] - s[4] > style.door_width + 0.8]
    rng.shuffle(order)
    if style.layout == "corridor":
        order.sort(key=lambda s: 0 not in (s[0].index, s[1].index))
    group = {room.index: room.index for room in builder.rooms}
    doors = set()
    for wall in order:
        a, b = group[wall[0].index], group[wall[1].index]
        if a != b or rng.random() < 0.3:
            doors.add(id(wall))
            group = {k: (a if g == b else g) for k, g in group.items()}
    for wall in shared:
        a, b, axis, at, low, high = wall
        if id(wall) not in doors:
            _wall(builder, a, b, axis, at, low - WALL + _EPS, high + WALL - _EPS, 0, a.height)
            continue
        half = style.door_width * rng.uniform(0.95, 1.3) / 2
        half = min(half, (high - low) / 2 - 0.25)
        centre = rng.uniform(low + half + 0.2, high - half - 0.2)
        _wall(builder, a, b, axis, at, low - WALL + _EPS, centre - half, 0, a.height, high_end=frame)
        _wall(builder, a, b, axis, at, centre + half, high + WALL - _EPS, 0, a.height, low_end=frame)
        _wall(builder, a, b, axis, at, centre - half, centre + half, DOOR_HEIGHT, a.height, bottom=frame)
        x, y = (at, centre) if axis == 0 else (centre, at)
        builder.doors.append((x, y, float(axis == 0), float(axis == 1), a.index, b.index))
        for room, side in ((a, 1 if axis == 0 else 3), (b, 0 if axis == 0 else 2)):
            room.wall_taken.append((side, centre - half - 0.1, centre + half + 0.1))
            reach = half + 0.45
            room.taken.append((x - reach, y - reach, x + reach, y + reach))


def _wall(builder, a: Room, b: Room, axis, at, low, high, z0, z1, low_end=None, high_end=None, bottom=None) -> None:
    """A stretch of wall whose low side belongs to room `a` and whose high side to room `b`."""
    ends = (a.wall if low_end is None else low_end, a.wall if high_end is None else high_end)
    vertical = (a.wall if bottom is None else bottom, a.wall)
    if axis == 0:
        materials, rooms = (a.wall, b.wall, *ends, *vertical), (a.index, b.index, *(a.index,) * 4)
        builder.box(at - WALL, low, z0, at + WALL, high, z1, materials, rooms)
    else:
        materials, rooms = (*ends, a.wall, b.wall, *vertical), (a.index, a.index, a.index, b.index, a.index, a.index)
        builder.box(low, at - WALL, z0, high, at + WALL, z1, materials, rooms)


def _outdoor(builder: Builder) -> None:
    style, rng = builder.style, builder.rng
    hx, hy = rng.uniform(*style.size) / 2, rng.uniform(*style.size) / 2
    square = _new_room(builder, (-hx, -hy, hx, hy), SKY_HEIGHT)
    builder.box(-hx - 6, -hy - 6, -0.2, hx + 6, hy + 6, 0, square.floor)
    for side in range(4):
        _row_of_facades(builder, square, side)
    if style.layout == "courtyard":
        _house(builder, square)


def _row_of_facades(builder: Builder, square: Room, side: int) -> None:
    """Two or three buildings (or stretches of hedge and wall) that close one side of a square."""
    style, rng = builder.style, builder.rng
    edge = (square.x0, square.x1, square.y0, square.y1)[side]
    low, high = (square.y0, square.y1) if side < 2 else (square.x0, square.x1)
    sign = 1 if side % 2 else -1
    count = 1 if style.layout == "garden" else rng.randint(2, 3)
    cuts = [low] + [low + (high - low) * (i + rng.uniform(-0.15, 0.15)) / count for i in range(1, count)] + [high]
    for i in range(count):
        a, b = cuts[i] - (3.9 if i == 0 else 0), cuts[i + 1] + (3.9 if i == count - 1 else 0)
        height = rng.uniform(1.8, 2.8) if style.layout == "garden" else rng.uniform(3.6, 7.5)
        wall = _fresh(builder, style.walls, {r.wall for r in builder.rooms})
        near = edge - sign * WALL + sign * (0.0 if style.layout == "garden" else 0.02 * i)
        c, d = sorted((near, near + sign * 4))
        roof = builder.material("planks", 1.5, "8c4838 783828 4c2018")
        faces = (wall, wall, wall, wall, wall, roof)
        box = (c, a, 0, d, b, height) if side < 2 else (a, c, 0, b, d, height)
        builder.box(*box, faces)
        if style.layout != "garden":
            door = rng.uniform(max(cuts[i], low) + 1.0, min(cuts[i + 1], high) - 1.0)
            colour = builder.material("panes", 0.0, rng.choice(style.wood + style.fabric))
            c, d = sorted((near - sign * 0.05, near + sign * 0.2))
            box = (c, door - 0.6, 0, d, door + 0.6, 2.2) if side < 2 else (door - 0.6, c, 0, door + 0.6, d, 2.2)
            builder.box(*box, colour)
            square.wall_taken.append((side, door - 0.8, door + 0.8))


def _house(builder: Builder, square: Room) -> None:
    """A small house inside a courtyard, with an opening in two of its walls."""
    rng, style = builder.rng, builder.style
    hx, hy = rng.uniform(1.7, 2.2), rng.uniform(1.7, 2.2)
    x = rng.uniform(square.x0 + hx + 1.5, square.x1 - hx - 1.5)
    y = rng.uniform(square.y0 + hy + 1.5, square.y1 - hy - 1.5)
    house = _new_room(builder, (x - hx, y - hy, x + hx, y + hy), 2.6)
    frame = builder.wood()
    square.taken.append((house.x0 - 0.2, house.y0 - 0.2, house.x1 + 0.2, house.y1 + 0.2))
    builder.box(house.x0, house.y0, 0, house.x1, house.y1, 0.01, house.floor, house.index)
    builder.box(
        house.x0 - 0.4, house.y0 - 0.4, 2.6, house.x1 + 0.4, house.y1 + 0.4, 2.85, house.ceiling, (0, 0, 0, 0, 1, 0)
    )
    open_sides = rng.sample(range(4), 2)
    for side in range(4):
        axis, upper = side // 2, side % 2
        at = (house.x0, house.x1, house.y0, house.y1)[side]
        low, high = (house.y0, house.y1) if axis == 0 else (house.x0, house.x1)
        low, high = (low - WALL, high + WALL) if axis == 0 else (low + WALL, high - WALL)
        a, b = (house, square) if upper else (square, house)
        if side not in open_sides:
            _wall(builder, a, b, axis, at, low, high, 0, 2.6)
            continue
        half, centre = style.door_width / 2, (low + high) / 2 + rng.uniform(-0.5, 0.5)
        _wall(builder, a, b, axis, at, low, centre - half, 0, 2.6, high_end=frame)
        _wall(builder, a, b, axis, at, centre + half, high, 0, 2.6, low_end=frame)
        _wall(builder, a, b, axis, at, centre - half, centre + half, DOOR_HEIGHT, 2.6, bottom=frame)
        dx, dy = (at, centre) if axis == 0 else (centre, at)
        builder.doors.append((dx, dy, float(axis == 0), float(axis == 1), a.index, b.index))
        reach = half + 0.5
        zone = (dx - reach, dy - reach, dx + reach, dy + reach)
        square.taken.append(zone)
        house.taken.append(zone)
        house.wall_taken.append((side, centre - half - 0.1, centre + half + 0.1))
