"""What a style says: materials, sizes, furniture and light. Colours are "rrggbb"."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Surface:
    """A texture, the metres that one repeat spans, and three colours for each choice of palette."""

    texture: str
    scale: float
    palettes: tuple[str, ...]  # "rrggbb rrggbb rrggbb"


@dataclass(frozen=True)
class Style:
    layout: str  # rooms | corridor | square | courtyard | garden
    rooms: tuple[int, int]
    size: tuple[float, float]  # side of a room, or of the square [m]
    walls: tuple[Surface, ...]
    floors: tuple[Surface, ...]
    ceilings: tuple[Surface, ...]
    furniture: tuple[str, ...]
    density: float  # pieces of furniture per square metre
    wood: tuple[str, ...]  # palettes of furniture bodies
    fabric: tuple[str, ...]  # accents
    height: float = 2.8
    ambient: str = "ffffff"
    sun_share: float = 0.3
    falloff: float = 0.02
    sky: str = "5b8fd6 c8dcf0 ffffff"
    pillars: bool = False
    windows: bool = True
    door_width: float = 1.15


OAK, WALNUT, PINE, WHITE, GREY, BLACK = (
    "b08048 8a5e30 5c3d1e",
    "6e4a30 553622 33200f",
    "d8b078 b88a50 8a6030",
    "f0eee8 d8d4cc a8a49c",
    "9aa0a6 80868c 50565c",
    "3c3c42 2c2c30 141416",
)
