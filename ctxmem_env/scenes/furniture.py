"""Furniture: each piece finds a spot in a room and adds a few primitives. Dimensions in metres."""

from collections.abc import Callable

from ctxmem_env.scenes.builder import Builder, Room

PIECES: dict[str, Callable[[Builder, Room], None]] = {}


def piece(function: Callable[[Builder, Room], None]) -> Callable[[Builder, Room], None]:
    PIECES[function.__name__] = function
    return function


def span(builder: Builder, low: float, high: float) -> float:
    return low + (high - low) * builder.rng.random()


@piece
def table(b: Builder, room: Room) -> None:
    w, d, h = span(b, 1.1, 1.8), span(b, 0.7, 1.0), 0.75
    if spot := b.place(room, w, d, wall=False):
        wood = b.wood()
        b.part(spot, -w / 2, -d / 2, h - 0.07, w / 2, d / 2, h, wood)
        b.part(spot, -w / 2 + 0.1, -d / 2 + 0.15, 0, -w / 2 + 0.2, d / 2 - 0.15, h - 0.07, wood)
        b.part(spot, w / 2 - 0.2, -d / 2 + 0.15, 0, w / 2 - 0.1, d / 2 - 0.15, h - 0.07, wood)
        if b.rng.random() < 0.5:
            b.ellipsoid(spot.x, spot.y, h + 0.15, 0.16, 0.3, b.fabric(), room.index)


@piece
def desk(b: Builder, room: Room) -> None:
    w, d, h, wall = span(b, 1.2, 1.7), 0.7, 0.74, b.rng.random() < 0.6
    if spot := b.place(room, w, d, wall, margin=0.1):
        v, wood = 0.0 if wall else -d / 2, b.wood()
        b.part(spot, -w / 2, v, h - 0.06, w / 2, v + d, h, wood)
        b.part(spot, -w / 2, v + 0.05, 0, -w / 2 + 0.45, v + d - 0.05, h - 0.06, b.fabric("drawers", 0.74))
        b.part(spot, w / 2 - 0.08, v + 0.05, 0, w / 2, v + d - 0.05, h - 0.06, wood)
        screen = b.material("plain", 1.0, "30343a 30343a 30343a")
        b.part(spot, -0.1, v + 0.2, h, 0.45, v + 0.26, h + 0.38, screen)


@piece
def bed(b: Builder, room: Room) -> None:
    w, d = span(b, 1.0, 1.7), 2.0
    if spot := b.place(room, w, d, wall=True):
        wood, cover = b.wood(), b.fabric(b.rng.choice(("speckle", "stripes", "checks", "dots")), 0.9)
        b.part(spot, -w / 2, 0, 0, w / 2, d, 0.3, wood)
        b.part(spot, -w / 2 + 0.03, 0.06, 0.3, w / 2 - 0.03, d - 0.03, 0.52, cover)
        b.part(spot, -w / 2, 0, 0.3, w / 2, 0.06, 1.0, wood)
        b.part(spot, -w / 2 + 0.15, 0.1, 0.52, w / 2 - 0.15, 0.5, 0.62, b.material("plain", 1, "f4f0e8 f4f0e8 f4f0e8"))


@piece
def sofa(b: Builder, room: Room) -> None:
    w, d = span(b, 1.6, 2.2), 0.85
    if spot := b.place(room, w, d, wall=True):
        cloth = b.fabric()
        b.part(spot, -w / 2, 0, 0.08, w / 2, d, 0.42, cloth)
        b.part(spot, -w / 2, 0, 0.42, w / 2, 0.25, 0.85, cloth)
        b.part(spot, -w / 2, 0.25, 0.42, -w / 2 + 0.2, d, 0.62, cloth)
        b.part(spot, w / 2 - 0.2, 0.25, 0.42, w / 2, d, 0.62, cloth)


@piece
def shelf(b: Builder, room: Room) -> None:
    w, h = span(b, 0.9, 1.6), span(b, 1.0, 2.0)
    if spot := b.place(room, w, 0.35, wall=True):
        wood, books = b.wood(), b.fabric("books", 1.2)
        b.part(spot, -w / 2, 0, 0, w / 2, 0.35, h, (wood, wood, wood, books, wood, wood))


@piece
def bookcase(b: Builder, room: Room) -> None:
    w, h, wall = span(b, 1.4, 2.6), span(b, 1.9, 2.4), b.rng.random() < 0.8
    if spot := b.place(room, w, 0.42, wall):
        v, wood, books = 0.0 if wall else -0.21, b.wood(), b.fabric("books", 1.2)
        b.part(spot, -w / 2, v, 0.1, w / 2, v + 0.38, h - 0.08, (wood, wood, books, books, wood, wood))
        b.part(spot, -w / 2 - 0.05, v, h - 0.08, w / 2 + 0.05, v + 0.42, h, wood)
        b.part(spot, -w / 2 - 0.05, v, 0, w / 2 + 0.05, v + 0.42, 0.1, wood)


@piece
def cupboard(b: Builder, room: Room) -> None:
    w, h = span(b, 0.8, 1.4), span(b, 1.2, 2.1)
    if spot := b.place(room, w, 0.55, wall=True):
        wood = b.wood()
        front = b.material("panes", 0.0, b.rng.choice(b.style.wood))
        b.part(spot, -w / 2, 0, 0, w / 2, 0.55, h, (wood, wood, wood, front, wood, wood))


@piece
def counter(b: Builder, room: Room) -> None:
    w = span(b, 1.6, 2.6)
    if spot := b.place(room, w, 0.6, wall=True):
        body, top = b.wood(), b.material("marble", 1.2, "d8d4d0 b8b4b0 888480")
        front = b.material("drawers", 0.8, b.rng.choice(b.style.wood))
        b.part(spot, -w / 2, 0, 0, w / 2, 0.57, 0.86, (body, body, body, front, body, body))
        b.part(spot, -w / 2, 0, 0.86, w / 2, 0.62, 0.92, top)
        b.part(spot, -w / 2, 0, 1.5, w / 2, 0.33, 2.1, (body, body, body, front, body, body))


@piece
def stove(b: Builder, room: Room) -> None:
    if spot := b.place(room, 0.8, 0.7, wall=True):
        iron = b.material("plaster", 1.0, "484446 343032 202022")
        b.part(spot, -0.35, 0.1, 0, 0.35, 0.65, 0.9, iron)
        b.part(spot, -0.2, 0.65, 0.25, 0.2, 0.67, 0.6, b.material("plain", 1, "f09030 f09030 f09030"))
        x, y = spot.to_world(0.0, 0.3)
        b.cylinder(x, y, 0.9, room.height, 0.09, iron, room.index)


@piece
def crate(b: Builder, room: Room) -> None:
    s, h = span(b, 0.5, 1.0), span(b, 0.4, 1.0)
    if spot := b.place(room, s, s, wall=False):
        side = b.material("panes", 0.0, b.rng.choice(b.style.wood + b.style.fabric))
        b.part(spot, -s / 2, -s / 2, 0, s / 2, s / 2, h, side)
        if b.rng.random() < 0.35:
            t = s * 0.35
            b.part(spot, -t, -t, h, t, t, h + 1.4 * t, b.material("panes", 0.0, b.rng.choice(b.style.wood)))


@piece
def barrel(b: Builder, room: Room) -> None:
    r = span(b, 0.25, 0.36)
    if spot := b.place(room, 2 * r, 2 * r, wall=False):
        body = b.material("bands", 1.2, b.rng.choice(b.style.wood + b.style.fabric))
        b.cylinder(spot.x, spot.y, 0, span(b, 0.75, 1.05), r, body, room.index)


@piece
def chest(b: Builder, room: Room) -> None:
    if spot := b.place(room, 0.95, 0.5, wall=True):
        b.part(spot, -0.46, 0.02, 0, 0.46, 0.5, 0.4, b.wood())
        b.part(spot, -0.48, 0.0, 0.4, 0.48, 0.53, 0.55, b.fabric("stripes", 0.9))


@piece
def rack(b: Builder, room: Room) -> None:
    w, d = span(b, 1.6, 2.4), 0.6
    if spot := b.place(room, w, d, wall=True):
        metal = b.material("plain", 1, b.rng.choice(b.style.fabric))
        for z in (0.15, 1.0, 1.85):
            b.part(spot, -w / 2, 0, z, w / 2, d, z + 0.08, metal)
        for u in (-w / 2, w / 2 - 0.08):
            b.part(spot, u, 0, 0, u + 0.08, d, 2.2, metal)
        b.part(spot, -w / 4, 0.05, 0.23, w / 4, d - 0.05, 0.75, b.wood())
        b.part(spot, -w / 3, 0.05, 1.08, 0.1, d - 0.05, 1.6, b.wood())


@piece
def lamp(b: Builder, room: Room) -> None:
    if spot := b.place(room, 0.4, 0.4, wall=False):
        b.cylinder(spot.x, spot.y, 0, 1.35, 0.04, b.material("plain", 1, "302c28 302c28 302c28"), room.index)
        b.cylinder(spot.x, spot.y, 1.3, 1.65, 0.2, b.material("plain", 1, "fff0b8 fff0b8 fff0b8"), room.index)


@piece
def plant(b: Builder, room: Room) -> None:
    if spot := b.place(room, 0.5, 0.5, wall=False):
        b.cylinder(spot.x, spot.y, 0, 0.4, 0.2, b.material("plain", 1, "b4603c a05030 804020"), room.index)
        leaf = b.material("foliage", 0.8, "3c7830 2c6024 78b050")
        b.ellipsoid(spot.x, spot.y, span(b, 0.75, 0.95), span(b, 0.28, 0.4), 0.9, leaf, room.index)


@piece
def bush(b: Builder, room: Room) -> None:
    r = span(b, 0.4, 0.8)
    if spot := b.place(room, 2 * r, 2 * r, wall=False):
        leaf = b.material(
            "foliage", 1.0, b.rng.choice(("3c7830 2c6024 78b050", "58902c 447420 e8d048", "2c6844 1c5034 e070a0"))
        )
        b.ellipsoid(spot.x, spot.y, r * 0.6, r, r * 1.9, leaf, room.index)


@piece
def tree(b: Builder, room: Room) -> None:
    if spot := b.place(room, 0.6, 0.6, wall=False):
        trunk, h = b.material("planks", 1.0, "6c4c30 543820 382414"), span(b, 1.6, 2.6)
        leaf = b.material(
            "foliage", 1.6, b.rng.choice(("4c8c38 38702a 88c060", "b07828 8c5c1c e0b040", "3c7048 285838 609870"))
        )
        r = span(b, 1.0, 1.7)
        b.cylinder(spot.x, spot.y, 0, h + 0.5, 0.17, trunk, room.index)
        b.ellipsoid(spot.x, spot.y, h + 0.9 * r, r, 2.2 * r, leaf, room.index)


@piece
def hedge(b: Builder, room: Room) -> None:
    w, d = span(b, 1.6, 3.5), span(b, 0.5, 0.8)
    if spot := b.place(room, w, d, wall=False):
        leaf = b.material("foliage", 1.4, "386c30 2c5826 588c48")
        b.part(spot, -w / 2, -d / 2, 0, w / 2, d / 2, span(b, 0.7, 1.3), leaf)


@piece
def planter(b: Builder, room: Room) -> None:
    w, d = span(b, 1.2, 2.2), span(b, 0.6, 0.8)
    if spot := b.place(room, w, d, wall=False):
        b.part(spot, -w / 2, -d / 2, 0, w / 2, d / 2, 0.5, b.wood())
        flowers = b.material("foliage", 0.9, "4c8838 387028 " + b.rng.choice(b.style.fabric).split()[0])
        b.part(spot, -w / 2 + 0.08, -d / 2 + 0.08, 0.5, w / 2 - 0.08, d / 2 - 0.08, span(b, 0.7, 0.95), flowers)


@piece
def bench(b: Builder, room: Room) -> None:
    w = span(b, 1.2, 1.9)
    if spot := b.place(room, w, 0.45, wall=False):
        wood = b.wood()
        b.part(spot, -w / 2, -0.22, 0.38, w / 2, 0.22, 0.46, wood)
        for u in (-w / 2 + 0.1, w / 2 - 0.2):
            b.part(spot, u, -0.18, 0, u + 0.1, 0.18, 0.38, wood)


@piece
def pedestal(b: Builder, room: Room) -> None:
    if spot := b.place(room, 0.6, 0.6, wall=False):
        h = span(b, 0.8, 1.1)
        b.part(spot, -0.25, -0.25, 0, 0.25, 0.25, h, b.wood())
        if b.rng.random() < 0.5:
            b.ellipsoid(spot.x, spot.y, h + 0.25, 0.24, 0.5, b.fabric("marble", 0.8), room.index)
        else:
            b.part(spot, -0.12, -0.12, h, 0.12, 0.12, h + 0.6, b.fabric("checks", 0.5))


@piece
def vase(b: Builder, room: Room) -> None:
    r = span(b, 0.22, 0.36)
    if spot := b.place(room, 2 * r, 2 * r, wall=False):
        clay = b.fabric("zigzag", 0.8)
        b.ellipsoid(spot.x, spot.y, r * 1.4, r, 2.8 * r, clay, room.index)
        b.cylinder(spot.x, spot.y, 2.4 * r, 3.2 * r, 0.45 * r, clay, room.index)


@piece
def pool(b: Builder, room: Room) -> None:
    w, d = span(b, 1.6, 2.6), span(b, 1.3, 2.0)
    if spot := b.place(room, w, d, wall=False):
        rim, water = b.wood(), b.material("marble", 1.6, "38a0b8 2888a4 b0e8f0")
        b.part(spot, -w / 2, -d / 2, 0, w / 2, d / 2, 0.4, rim)
        b.part(spot, -w / 2 + 0.2, -d / 2 + 0.2, 0.4, w / 2 - 0.2, d / 2 - 0.2, 0.41, water)


@piece
def pond(b: Builder, room: Room) -> None:
    r = span(b, 0.9, 1.5)
    if spot := b.place(room, 2 * r, 2 * r, wall=False):
        b.cylinder(spot.x, spot.y, 0, 0.4, r, b.material("stone", 1.2, "b0aca4 98948c 68645c"), room.index)
        b.cylinder(spot.x, spot.y, 0.4, 0.41, r - 0.2, b.material("marble", 1.6, "3880a8 286c94 a0d8f0"), room.index)
        b.cylinder(spot.x, spot.y, 0.4, 1.3, 0.14, b.wood(), room.index)


@piece
def partition(b: Builder, room: Room) -> None:
    w = span(b, 1.2, 2.4)
    if spot := b.place(room, w, 0.15, wall=False):
        b.part(spot, -w / 2, -0.06, 0, w / 2, 0.06, span(b, 1.7, 2.2), b.fabric("stripes", 1.6))


@piece
def stall(b: Builder, room: Room) -> None:
    w, d = span(b, 1.8, 2.6), 1.1
    if spot := b.place(room, w, d, wall=False):
        cloth = b.fabric("stripes", 1.6)
        b.part(
            spot, -w / 2, -d / 2 + 0.2, 0, w / 2, d / 2 - 0.1, 0.85, (b.wood(),) * 2 + (cloth,) * 2 + (b.wood(),) * 2
        )
        for u in (-w / 2, w / 2 - 0.08):
            b.part(spot, u, -0.04, 0.85, u + 0.08, 0.04, 2.2, b.wood())
        b.part(spot, -w / 2 - 0.1, -d / 2 - 0.1, 2.2, w / 2 + 0.1, d / 2 + 0.1, 2.4, cloth)


@piece
def lamppost(b: Builder, room: Room) -> None:
    if spot := b.place(room, 0.3, 0.3, wall=False):
        iron = b.material("plain", 1, "2c3034 2c3034 2c3034")
        b.cylinder(spot.x, spot.y, 0, 2.9, 0.06, iron, room.index)
        b.ellipsoid(spot.x, spot.y, 3.05, 0.2, 0.42, b.material("plain", 1, "fff4c0 fff4c0 fff4c0"), room.index)


@piece
def path(b: Builder, room: Room) -> None:
    x, y, d = (room.x0 + room.x1) / 2, (room.y0 + room.y1) / 2, span(b, 0.6, 0.9)
    gravel = b.material("speckle", 1.5, "d8c49c c8b48c a89468")
    if b.rng.random() < 0.5:
        b.box(room.x0, y - d, 0, room.x1, y + d, 0.012, gravel, room.index)
    else:
        b.box(x - d, room.y0, 0, x + d, room.y1, 0.012, gravel, room.index)


@piece
def rug(b: Builder, room: Room) -> None:
    w, d = min(span(b, 1.6, 2.8), room.x1 - room.x0 - 0.8), min(span(b, 1.2, 2.0), room.y1 - room.y0 - 0.8)
    x, y = (room.x0 + room.x1) / 2, (room.y0 + room.y1) / 2
    pattern = b.fabric(b.rng.choice(("zigzag", "stripes", "dots", "checks")), 1.6)
    b.box(x - w / 2, y - d / 2, 0, x + w / 2, y + d / 2, 0.015, pattern, room.index)


@piece
def picture(b: Builder, room: Room) -> None:
    w, h = span(b, 0.7, 1.3), span(b, 0.6, 1.0)
    if spot := b.hang(room, w):
        frame = b.material("plain", 1, b.rng.choice(b.style.wood))
        art = b.material("poster", 0.0, b.rng.choice(_ART))
        z = span(b, 1.4, 1.6)
        b.part(spot, -w / 2, 0, z - h / 2, w / 2, 0.04, z + h / 2, (frame, frame, frame, art, frame, frame))


@piece
def banner(b: Builder, room: Room) -> None:
    if spot := b.hang(room, 0.9):
        b.part(spot, -0.4, 0, 1.0, 0.4, 0.03, min(2.8, room.height - 0.2), b.fabric("zigzag", 1.2))


@piece
def board(b: Builder, room: Room) -> None:
    if spot := b.hang(room, 2.2):
        face = b.material("plaster", 2.0, b.rng.choice(("2c5040 24463a 507060", "f4f6f8 ecf0f2 d0d8e0")))
        b.part(spot, -1.05, 0, 0.9, 1.05, 0.05, 1.95, face)


def window(b: Builder, room: Room) -> None:
    """A bright pane on an outer wall; it shows the sky's colour, not the sky."""
    w = span(b, 1.0, 1.6)
    if spot := b.hang(room, w, exterior=True):
        frame = b.material("plain", 1, "f0ece4 f0ece4 f0ece4")
        pane = b.material("panes", 0.0, b.rng.choice(("b8dcf4 f4f2ec f4faff", "c8e0e8 f0ece4 fff8e0")))
        b.part(spot, -w / 2, 0, 0.95, w / 2, 0.03, 2.15, (frame, frame, frame, pane, frame, frame))


def pillar(b: Builder, room: Room) -> None:
    r = span(b, 0.17, 0.3)
    if spot := b.place(room, 2 * r + 0.2, 2 * r + 0.2, wall=False):
        stone = b.material("stone", 1.6, b.rng.choice(b.style.wood))
        b.cylinder(spot.x, spot.y, 0, room.height, r, stone, room.index)
        b.part(spot, -r - 0.1, -r - 0.1, 0, r + 0.1, r + 0.1, 0.2, stone)


_ART = (
    "e8dcc0 3c70a0 d05038",
    "203848 e0a840 e8e0c8",
    "f0e8dc c03848 385888",
    "a8c8d8 4c7c4c f0d070",
    "38283c d07088 80c0b0",
    "f4f0e8 282c34 d8b030",
    "e0b890 6c3c30 406878",
    "d8e0d0 508868 e87848",
)
