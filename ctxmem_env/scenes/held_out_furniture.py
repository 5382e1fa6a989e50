"""Furniture of the styles that training never draws, of shapes that no other style has. Dimensions in metres."""

from ctxmem_env.scenes.builder import Builder, Room
from ctxmem_env.scenes.furniture import piece, span


@piece
def tank(b: Builder, room: Room) -> None:
    r, h = span(b, 0.35, 0.6), span(b, 1.2, 1.9)
    if spot := b.place(room, 2 * r + 0.2, 2 * r + 0.2, wall=False):
        metal, glass = b.wood(), b.fabric("panes", 0.8)
        b.cylinder(spot.x, spot.y, 0, 0.3, r + 0.08, metal, room.index)
        b.cylinder(spot.x, spot.y, 0.3, h, r, glass, room.index)
        b.ellipsoid(spot.x, spot.y, h, r, 0.6 * r, metal, room.index)


@piece
def console(b: Builder, room: Room) -> None:
    w = span(b, 1.2, 2.0)
    if spot := b.place(room, w, 0.8, wall=True):
        metal, screen = b.wood(), b.fabric("facade_tall", 0.7)
        b.part(spot, -w / 2, 0, 0, w / 2, 0.5, 0.9, metal)
        b.part(spot, -w / 2 + 0.05, 0.5, 0.75, w / 2 - 0.05, 0.8, 0.82, b.fabric("dots", 0.4))
        b.part(spot, -w / 2 + 0.1, 0.1, 0.9, w / 2 - 0.1, 0.2, 1.7, (metal, metal, metal, screen, metal, metal))


@piece
def pipes(b: Builder, room: Room) -> None:
    if spot := b.place(room, 1.0, 0.3, wall=True):
        for u in (-0.35, -0.1, 0.2):
            x, y = spot.to_world(u, 0.16)
            b.cylinder(x, y, 0, room.height, span(b, 0.06, 0.14), b.fabric("bands", 1.0), room.index)


@piece
def reactor(b: Builder, room: Room) -> None:
    if spot := b.place(room, 1.5, 1.5, wall=False):
        metal = b.wood()
        b.cylinder(spot.x, spot.y, 0, 0.5, 0.7, metal, room.index)
        b.ellipsoid(spot.x, spot.y, 1.2, 0.55, 1.3, b.fabric("hexagons", 0.9), room.index)
        b.cylinder(spot.x, spot.y, 1.8, room.height, 0.16, metal, room.index)


@piece
def mesa(b: Builder, room: Room) -> None:
    r, h = span(b, 0.9, 1.5), span(b, 1.8, 3.4)
    if spot := b.place(room, 2 * r, 2 * r, wall=False):
        rock = b.material("strata", 2.4, b.rng.choice(b.style.wood))
        for low, high, share in ((0, 0.35, 1.0), (0.35, 0.85, 0.72), (0.85, 1.0, 0.85)):
            b.cylinder(spot.x, spot.y, low * h, high * h, share * r, rock, room.index)


@piece
def boulder(b: Builder, room: Room) -> None:
    r = span(b, 0.35, 0.9)
    if spot := b.place(room, 2 * r, 2 * r, wall=False):
        rock = b.material("plaster", 1.2, b.rng.choice(b.style.wood))
        b.ellipsoid(spot.x, spot.y, 0.4 * r, r, span(b, 1.3, 2.0) * r, rock, room.index)
        if b.rng.random() < 0.5:
            b.ellipsoid(spot.x + 0.6 * r, spot.y - 0.5 * r, 0.2 * r, 0.5 * r, 0.8 * r, rock, room.index)


@piece
def arch(b: Builder, room: Room) -> None:
    w, h = span(b, 2.2, 3.2), span(b, 2.3, 3.0)
    if spot := b.place(room, w, 0.8, wall=False):
        rock = b.material("strata", 1.8, b.rng.choice(b.style.wood))
        for low, high in ((-w / 2, -w / 2 + 0.6), (w / 2 - 0.7, w / 2)):
            b.part(spot, low, -0.35, 0, high, 0.35, h, rock)
        b.part(spot, -w / 2 - 0.15, -0.42, h, w / 2 + 0.15, 0.42, h + 0.6, rock)


@piece
def cactus(b: Builder, room: Room) -> None:
    h = span(b, 1.1, 2.2)
    if spot := b.place(room, 1.0, 0.5, wall=False):
        skin = b.material("thin_stripes", 0.5, "4c8850 386c40 c8d890")
        x, y = spot.x, spot.y
        b.cylinder(x, y, 0, h, 0.15, skin, room.index)
        b.ellipsoid(x, y, h, 0.15, 0.26, skin, room.index)
        for side, low in ((1, 0.45), (-1, 0.3)):
            u, v = spot.to_world(side * 0.36, 0.0)
            b.part(spot, min(0, side * 0.36), -0.07, low * h, max(0, side * 0.36), 0.07, low * h + 0.14, skin)
            b.cylinder(u, v, low * h, (low + 0.35) * h, 0.09, skin, room.index)


@piece
def ball(b: Builder, room: Room) -> None:
    r = span(b, 0.25, 0.6)
    if spot := b.place(room, 2 * r, 2 * r, wall=False):
        b.ellipsoid(spot.x, spot.y, r, r, 2 * r, b.fabric(b.rng.choice(("stripes", "dots", "mosaic")), 1.2), room.index)


@piece
def tower(b: Builder, room: Room) -> None:
    """Rings on a stick."""
    if spot := b.place(room, 0.9, 0.9, wall=False):
        base, top = 0.0, span(b, 0.5, 0.75)
        while top > 0.15:
            b.cylinder(spot.x, spot.y, base, base + 0.24, 0.6 * top, b.fabric("plain", 1.0), room.index)
            base, top = base + 0.24, top - 0.13
        b.ellipsoid(spot.x, spot.y, base + 0.1, 0.12, 0.24, b.fabric("plain", 1.0), room.index)


@piece
def blocks(b: Builder, room: Room) -> None:
    s = span(b, 0.4, 0.65)
    if spot := b.place(room, 2 * s + 0.2, s + 0.1, wall=False):
        for u, z in ((-s / 2 - 0.04, 0.0), (s / 2 + 0.04, 0.0), (0.02, s)):
            b.part(spot, u - s / 2, -s / 2, z, u + s / 2, s / 2, z + s, b.fabric("panes", 0.0))
        if b.rng.random() < 0.5:
            b.cylinder(spot.x, spot.y, 2 * s, 2 * s + 0.5, 0.5 * s, b.fabric("stripes", 0.8), room.index)


@piece
def tunnel(b: Builder, room: Room) -> None:
    """Three frames, one behind the other, to crawl through."""
    if spot := b.place(room, 1.2, 2.0, wall=False):
        for v in (-0.8, 0.0, 0.8):
            skin = b.fabric("plain", 1.0)
            for u in (-0.55, 0.4):
                b.part(spot, u, v - 0.12, 0, u + 0.15, v + 0.12, 1.0, skin)
            b.part(spot, -0.55, v - 0.12, 1.0, 0.55, v + 0.12, 1.15, skin)
