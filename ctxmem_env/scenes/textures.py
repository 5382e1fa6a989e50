"""A bank of small procedural texture maps with mip levels, and its trilinear look-up.

A map has two channels a, b in [0, 1] that mix the three colours of a material: c0 + a (c1 - c0) + b (c2 - c0).
The mixture is linear, so averaging the map (a mip level) is the same as averaging the colours.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

MAP_SIZE = 64
LEVELS = 7
_BANK_SEED = 20_250_603


def _noise(rng: np.random.Generator, power: float, low: float = 1.0, high: float = 32.0) -> np.ndarray:
    """Periodic noise in [0, 1] with amplitude 1 / f^power between the frequencies `low` and `high`."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(MAP_SIZE) * MAP_SIZE, np.fft.fftfreq(MAP_SIZE) * MAP_SIZE))
    spectrum = np.fft.fft2(rng.standard_normal((MAP_SIZE, MAP_SIZE)))
    band = (frequency >= low) & (frequency <= high)
    field = np.fft.ifft2(spectrum * band / np.maximum(frequency, 1) ** power).real
    return np.clip(field / (4 * field.std()) + 0.5, 0, 1)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:MAP_SIZE, 0:MAP_SIZE]
    return x, y


def _cells(rng: np.random.Generator, rows: int, columns: int, shift: float, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """A wall of `rows` x `columns` blocks: a random level for each block, and the mask of the joints."""
    x, y = _grid()
    height, width = MAP_SIZE // rows, MAP_SIZE // columns
    row = y // height
    offset = np.round(row * shift * width).astype(int) % MAP_SIZE
    column = ((x + offset) % MAP_SIZE) // width
    level = rng.random((rows, columns))[row, column]
    joint = (y % height < gap) | ((x + offset) % width < gap)
    return level, joint.astype(float)


def _plain(rng):
    return np.zeros((MAP_SIZE, MAP_SIZE)), np.zeros((MAP_SIZE, MAP_SIZE))


def _plaster(rng):
    return _noise(rng, 1.6, 1, 12), np.zeros((MAP_SIZE, MAP_SIZE))


def _speckle(rng):
    return _noise(rng, 0.6, 4, 24), np.zeros((MAP_SIZE, MAP_SIZE))


def _blocks(rows, columns, shift, gap):
    def make(rng):
        level, joint = _cells(rng, rows, columns, shift, gap)
        return (0.7 * level + 0.3 * _noise(rng, 1.0, 3, 20)) * (1 - joint), joint

    return make


def _planks(rows, columns):
    def make(rng):
        level, joint = _cells(rng, rows, columns, 0.37, 1)
        _x, y = _grid()
        grain = 0.5 + 0.5 * np.sin(2 * np.pi * (y / 4 + 1.2 * _noise(rng, 1.5, 1, 6)))
        return (0.7 * level + 0.3 * grain) * (1 - joint), joint

    return make


def _grain(rng):
    _, y = _grid()
    return 0.5 + 0.5 * np.sin(2 * np.pi * (y / 8 + 1.5 * _noise(rng, 1.8, 1, 8))), np.zeros((MAP_SIZE, MAP_SIZE))


def _checks(cells):
    def make(rng):
        x, y = _grid()
        size = MAP_SIZE // cells
        return ((x // size + y // size) % 2).astype(float), 0.15 * _noise(rng, 1.0, 2, 20)

    return make


def _stripes(count, thin, axis):
    def make(rng):
        position = _grid()[axis] % (MAP_SIZE // count) / (MAP_SIZE // count)
        a = (position < 0.5).astype(float)
        b = ((position > 0.7) & (position < 0.7 + thin)).astype(float)
        return a, b

    return make


def _dots(count):
    def make(rng):
        x, y = _grid()
        size = MAP_SIZE // count
        row = y // size
        inside = np.hypot((x + row * size // 2) % size - size / 2 + 0.5, y % size - size / 2 + 0.5) < size * 0.3
        return inside.astype(float), np.zeros((MAP_SIZE, MAP_SIZE))

    return make


def _zigzag(rng):
    x, y = _grid()
    wave = (y + np.abs(x % 16 - 8)) % 16
    return (wave < 8).astype(float), ((wave == 0) | (wave == 8)).astype(float)


def _marble(rng):
    vein = np.abs(_noise(rng, 1.7, 1, 16) - 0.5) * 8
    return np.clip(_noise(rng, 1.8, 1, 8), 0, 1) * 0.6, np.clip(1 - vein, 0, 1) * 0.7


def _foliage(rng):
    leaves = _noise(rng, 0.8, 3, 14)
    return np.clip((leaves - 0.3) * 1.8, 0, 1), np.clip((_noise(rng, 0.8, 3, 14) - 0.72) * 5, 0, 1) * 0.8


def _clouds(rng):
    return np.clip((_noise(rng, 1.9, 1, 16) - 0.45) * 2.2, 0, 1), np.zeros((MAP_SIZE, MAP_SIZE))


def _books(rng):
    a, b = np.zeros((MAP_SIZE, MAP_SIZE)), np.zeros((MAP_SIZE, MAP_SIZE))
    for shelf in range(0, MAP_SIZE, 16):
        x = 0
        while x < MAP_SIZE:
            width, top = int(rng.integers(3, 7)), int(rng.integers(2, 6))
            mix = rng.random() * rng.integers(0, 2, 2)
            a[shelf + top : shelf + 14, x : x + width] = 0.15 + 0.85 * mix[0]
            b[shelf + top : shelf + 14, x : x + width] = (0.15 + 0.85 * mix[1]) * (1 - mix[0])
            x += width
    return a, b


def _panes(rows, columns, frame):
    def make(rng):
        x, y = _grid()
        height, width = MAP_SIZE // rows, MAP_SIZE // columns
        bar = (np.minimum(x % width, width - 1 - x % width) < frame) | (
            np.minimum(y % height, height - 1 - y % height) < frame
        )
        return bar.astype(float), (1 - bar) * (0.55 * y / MAP_SIZE)

    return make


def _facade(rows, columns):
    def make(rng):
        x, y = _grid()
        height, width = MAP_SIZE // rows, MAP_SIZE // columns
        u, v = x % width / width, y % height / height
        window = (u > 0.28) & (u < 0.72) & (v > 0.22) & (v < 0.75)
        frame = (u > 0.2) & (u < 0.8) & (v > 0.14) & (v < 0.83) & ~window
        return window.astype(float), frame.astype(float)

    return make


def _poster(rng):
    x, y = _grid()
    a, b = np.zeros((MAP_SIZE, MAP_SIZE)), np.zeros((MAP_SIZE, MAP_SIZE))
    kind = int(rng.integers(3))
    if kind == 0:
        horizon = int(rng.integers(24, 44))
        a[horizon:] = 1.0
    elif kind == 1:
        a = np.clip((_noise(rng, 1.8, 1, 6) - 0.4) * 3, 0, 1)
    for _ in range(int(rng.integers(2, 6))):
        cx, cy, rx, ry = rng.uniform(12, 52), rng.uniform(12, 52), rng.uniform(5, 16), rng.uniform(5, 16)
        if rng.random() < 0.5:
            inside = (np.abs(x - cx) < rx) & (np.abs(y - cy) < ry)
        else:
            inside = np.hypot((x - cx) / rx, (y - cy) / ry) < 1
        pick = rng.random()
        a, b = np.where(inside, float(pick < 0.4), a), np.where(inside, float(pick > 0.3) * (pick >= 0.4), b)
    rim = np.minimum(np.minimum(x, 63 - x), np.minimum(y, 63 - y)) < 4
    return np.where(rim, 0.0, a), np.where(rim, 0.0, b)


def _near(points: np.ndarray, power: float = 2.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each texel: which of the points (N, 2) lies nearest, on the torus, and the distances to it and the next."""
    x, y = _grid()
    apart = np.abs(np.stack([x, y], -1)[:, :, None] - points)
    apart = np.minimum(apart, MAP_SIZE - apart)
    distance = (apart**power).sum(-1) ** (1 / power)
    nearest = np.sort(distance, axis=-1)
    return distance.argmin(-1), nearest[..., 0], nearest[..., 1]


def _mosaic(rng):
    owner, one, other = _near(rng.uniform(0, MAP_SIZE, (40, 2)))
    joint = (other - one < 1.5).astype(float)
    return rng.random(40)[owner] * (1 - joint), joint


def _hexagons(rng):
    rows = np.arange(32)
    points = np.stack([(rows % 4 * 16 + rows // 4 % 2 * 8), rows // 4 * 8], -1)
    owner, one, other = _near(points.astype(float))
    joint = (other - one < 1.2).astype(float)
    return rng.random(32)[owner] * (1 - joint), joint


def _strata(rng):
    _, y = _grid()
    level = (y + 10 * _noise(rng, 1.8, 1, 6)) % MAP_SIZE
    layers = np.repeat(rng.random(16), 4)[level.astype(int) % MAP_SIZE]
    return np.clip(0.8 * layers + 0.2 * _noise(rng, 0.8, 3, 24), 0, 1), (_noise(rng, 1.4, 2, 20) > 0.72) * 0.5


def _ripples(rng):
    x, y = _grid()
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * (y / 8 + x / 64 + 2.0 * _noise(rng, 1.7, 1, 5)))
    return wave**2, 0.5 * (1 - wave) ** 3


def _vents(rng):
    x, y = _grid()
    panel, slot = (x % 32 < 1) | (y % 32 < 1), (y % 32 > 8) & (y % 32 < 22) & (y % 4 < 2) & (np.abs(x % 32 - 16) < 11)
    light = (y % 32 > 25) & (y % 32 < 28) & (np.abs(x % 32 - 16) < 6)
    return np.clip(0.2 * _noise(rng, 1.2, 1, 12) + 0.9 * slot + panel, 0, 1) * (1 - light), light.astype(float)


def _scales(rng):
    x, y = _grid()
    a, b = np.zeros((MAP_SIZE, MAP_SIZE)), np.zeros((MAP_SIZE, MAP_SIZE))
    level = rng.random((8, 4))
    for row in range(8, -2, -1):  # each row hangs over the one below it
        across = (x + row % 2 * 8) % MAP_SIZE
        inside = np.hypot(across % 16 - 7.5, np.maximum(y - 8 * row, 0) * 0.8) < 8.5
        inside &= (y >= 8 * row) & (y < 8 * row + 12)
        rim = inside & (np.hypot(across % 16 - 7.5, np.maximum(y - 8 * row, 0) * 0.8) > 7.2)
        a = np.where(inside, level[row % 8][across // 16], a)
        b = np.where(inside, rim.astype(float), b)
    return a * (1 - b), b


# name: (painter, number of variants). The order fixes the bank: append only.
_PAINTERS = {
    "plain": (_plain, 1),
    "plaster": (_plaster, 3),
    "speckle": (_speckle, 2),
    "brick": (_blocks(8, 4, 0.5, 1), 2),
    "stone": (_blocks(4, 2, 0.5, 2), 2),
    "slabs": (_blocks(2, 2, 0.0, 1), 2),
    "tiles": (_blocks(8, 8, 0.0, 1), 2),
    "big_tiles": (_blocks(4, 4, 0.0, 2), 2),
    "planks": (_planks(8, 1), 3),
    "panels": (_blocks(1, 4, 0.0, 2), 1),
    "grain": (_grain, 2),
    "checks": (_checks(4), 2),
    "stripes": (_stripes(4, 0.1, 0), 1),
    "thin_stripes": (_stripes(8, 0.2, 0), 1),
    "bands": (_stripes(4, 0.15, 1), 1),
    "dots": (_dots(4), 1),
    "zigzag": (_zigzag, 1),
    "marble": (_marble, 2),
    "foliage": (_foliage, 3),
    "clouds": (_clouds, 2),
    "books": (_books, 4),
    "panes": (_panes(2, 2, 3), 1),
    "drawers": (_panes(4, 1, 2), 1),
    "facade": (_facade(2, 2), 1),
    "facade_tall": (_facade(2, 4), 1),
    "poster": (_poster, 16),
    "mosaic": (_mosaic, 2),
    "hexagons": (_hexagons, 1),
    "strata": (_strata, 2),
    "ripples": (_ripples, 1),
    "vents": (_vents, 1),
    "scales": (_scales, 1),
}
TEXTURES: dict[str, tuple[int, int]] = {}
for _name, (_, _count) in _PAINTERS.items():
    TEXTURES[_name] = (sum(count for _, count in TEXTURES.values()), _count)
NUM_MAPS = sum(count for _, count in TEXTURES.values())


@lru_cache(maxsize=1)
def texture_maps() -> np.ndarray:
    """All maps, float32 (NUM_MAPS, MAP_SIZE, MAP_SIZE, 2) in [0, 1]; the same in every process."""
    rng = np.random.default_rng(_BANK_SEED)
    maps = [np.stack(paint(rng), axis=-1) for paint, count in _PAINTERS.values() for _ in range(count)]
    return np.clip(np.stack(maps), 0, 1).astype(np.float32)


@lru_cache(maxsize=4)
def _quads(device: str) -> tuple[Tensor, Tensor]:
    """For every texel of every level the 2x2 block that starts there, as eight bytes in one int64, and level offsets.

    One gather of one integer then fetches all four corners of a bilinear look-up.
    """
    level, blocks, offsets = texture_maps(), [], [0]
    for _ in range(LEVELS):
        right = np.roll(level, -1, axis=2)
        quad = np.stack([level, right, np.roll(level, -1, axis=1), np.roll(right, -1, axis=1)], axis=3)
        blocks.append(np.round(quad * 255).astype(np.uint8).reshape(-1, 8))
        offsets.append(offsets[-1] + len(blocks[-1]))
        if level.shape[1] > 1:
            level = level.reshape(NUM_MAPS, level.shape[1] // 2, 2, level.shape[2] // 2, 2, 2).mean(axis=(2, 4))
    packed = np.concatenate(blocks).view(np.int64).reshape(-1)
    return torch.from_numpy(packed).to(device), torch.tensor(offsets[:-1], device=device, dtype=torch.int32)


def sample(texture: Tensor, s: Tensor, t: Tensor, lod: Tensor) -> tuple[Tensor, Tensor]:
    """Channels a and b (N,) of maps `texture` (N,) int32 at (s, t) (N,) in map widths, and at mip level `lod` (N,)."""
    quads, offsets = _quads(str(s.device))
    lod = lod.clamp(0, LEVELS - 1)
    base = lod.floor().clamp_(max=LEVELS - 2)
    blend = lod.sub_(base)
    level = torch.stack([base, base + 1]).int()
    size = MAP_SIZE >> level
    size_f = size.float()
    x, y = s * size_f - 0.5, t * size_f - 0.5
    x0, y0 = x.floor(), y.floor()
    fx, fy = x.sub_(x0), y.sub_(y0)
    mask = size - 1
    index = (texture * size + (y0.int() & mask)) * size + (x0.int() & mask)
    index += offsets.index_select(0, level.flatten()).view(level.shape)
    corner = quads.index_select(0, index.flatten()).view(torch.uint8).view(*index.shape, 8).float().movedim(-1, 0)
    top, bottom = torch.lerp(corner[0], corner[2], fx), torch.lerp(corner[4], corner[6], fx)
    a = torch.lerp(top, bottom, fy)
    top, bottom = torch.lerp(corner[1], corner[3], fx), torch.lerp(corner[5], corner[7], fx)
    b = torch.lerp(top, bottom, fy)
    return torch.lerp(a[0], a[1], blend).mul_(1 / 255), torch.lerp(b[0], b[1], blend).mul_(1 / 255)
