"""Which primitive each pixel sees, and how far away it is.

Along a pixel's ray o + d / w, with d of unit z-depth, w is the inverse z-depth, and d is affine in the pixel position.
So the inverse depth at which a ray meets a plane, w = (n . d) / (c - n . o), is affine in the pixel position too.
A box is six planes: with N those that face the camera and F the others, a ray meets the box if

    min over N of w  >=  max over F of w   and   min over N of w > 0,

and the entry point lies at the left side. On a tile of pixels an affine function is bounded by its value in the
middle and its slope, which tells the few primitives that a tile can see before any ray is tested.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ctxmem_env.scenes.geometry import BOX, CYLINDER, EMPTY, Scene

TILE = 8
_FAR_AWAY = 1e9  # stands for "no such plane": a near plane at w = +inf, or a far plane at w = -inf
# A key is the bits of w with the lowest nine replaced by rank * 4 + axis: the largest key names the nearest hit, and
# maximum is several times faster here than where or argmax. Two hits closer than 1e-4 of their depth may be swapped.
_CODE_BITS = 511
_CURVED = 3  # the "axis" of a curved side


@dataclass
class Primitives:
    """The P primitives of the scenes of F frames, seen from each frame's camera."""

    kind: Tensor  # (F, P)
    half: Tensor  # (F, P, 3)
    origin: Tensor  # (F, P, 3) camera in the primitive's own frame
    rays: Tensor  # (F, P, 3, 3) with d = rays (x, y, 1), in the primitive's own frame
    planes: Tensor  # (F, P, 9, 3): near planes of axes x, y, z; far planes; far planes where the camera is between
    rows: Tensor  # (F, P, 4) int32: row in the face table of the near face of each axis, and of the curved side


def view_primitives(scene: Scene, count: int, owner: Tensor, origin: Tensor, rays: Tensor) -> Primitives:
    """The first `count` primitives of a batch of scenes for F frames.

    `owner` (F,) is the scene of each frame, `origin` (F, 3) its camera, `rays` (F, 3, 3) the matrix of its rays.
    """
    kind, centre, half, yaw = (t[owner, :count] for t in (scene.kind, scene.centre, scene.half, scene.yaw))
    cos, sin = yaw.cos()[..., None], yaw.sin()[..., None]
    x, y, z = (origin[:, None] - centre).split(1, dim=-1)
    local = torch.cat([x * cos + y * sin, y * cos - x * sin, z], dim=-1)
    mx, my, mz = rays[:, None, 0], rays[:, None, 1], rays[:, None, 2]
    local_rays = torch.stack([mx * cos + my * sin, my * cos - mx * sin, mz.expand(-1, count, -1)], dim=2)
    positive = local > 0
    sign = torch.where(positive, 1.0, -1.0)
    toward, away = sign * half - local, -sign * half - local
    outside = local.abs() > half
    # A camera exactly in the plane: keep the side, since the sign decides which rays the plane cuts off.
    toward = torch.where(toward.abs() < 1e-6, torch.where(outside, -1e-6, 1e-6) * sign, toward)
    first, second = local_rays / toward[..., None], local_rays / away[..., None]
    none = torch.zeros_like(first)
    none[..., 2] = _FAR_AWAY
    outside = outside[..., None]
    planes = torch.cat([torch.where(outside, first, none), second, torch.where(outside, -none, first)], dim=2)
    prim = torch.arange(count, device=kind.device)
    base = (owner[:, None] * scene.kind.shape[1] + prim)[..., None] * 6
    faces = torch.cat([positive + torch.tensor([0, 2, 4], device=kind.device), torch.zeros_like(base)], dim=-1)
    return Primitives(kind, half, local, local_rays, planes, (base + faces).int())


class Candidates:
    """The primitives that may be seen from each tile, listed tile by tile: E entries for F * T tiles ("cells")."""

    def __init__(self, prims: Primitives, centres: Tensor, radius: float):
        """`centres` (T, 2) and half extent `radius` of the square tiles, in image coordinates."""
        planes, kind = prims.planes, prims.kind
        self.prims, self.centres = prims, centres
        value = planes @ torch.cat([centres, torch.ones_like(centres[:, :1])], dim=1).T  # (F, P, 9, T)
        spread = (planes[..., :2].abs().sum(-1) * radius)[..., None]
        near, far = value[:, :, :3], value[:, :, 3:]
        near_high, near_low = (near + spread[:, :, :3]).amin(2), (near - spread[:, :, :3]).amin(2)
        far_high, far_low = (far + spread[:, :, 3:]).amax(2), (far - spread[:, :, 3:]).amax(2)
        exists = ((kind != EMPTY) & (planes[:, :, :3, 2] < _FAR_AWAY).any(2))[..., None]
        # A box that covers a whole tile hides what is behind it, whatever the pixel.
        covers = (kind == BOX)[..., None] & exists & (near_low > far_high.clamp(min=0))
        hidden_below = (near_low * covers).amax(1, keepdim=True)
        found = exists & (near_high > far_low.clamp(min=0)) & (near_high >= hidden_below)
        found = found.transpose(1, 2)
        self.per_cell = found.sum(-1).flatten()
        self.first = self.per_cell.cumsum(0) - self.per_cell
        frame, _, prim = found.nonzero(as_tuple=True)
        self.pair = frame * kind.shape[1] + prim
        self.planes = planes.flatten(0, 1).permute(2, 1, 0).reshape(27, -1)
        self.rows = prims.rows.flatten(0, 1).index_select(0, self.pair).flatten()

    def at_tiles(self) -> "Tests":
        """The tests of whole tiles: one for every entry."""
        return self._tests(self.first, self.per_cell, self.centres.repeat(len(self.prims.kind), 1))

    def at_pixels(self, cells: Tensor, positions: Tensor) -> "Tests":
        """The tests of N pixels, which lie in tiles `cells` (N,) at `positions` (N, 2)."""
        return self._tests(self.first[cells], self.per_cell[cells], positions)

    def _tests(self, first: Tensor, count: Tensor, anchors: Tensor) -> "Tests":
        """Tests of N cells against `count` entries each, from entry `first` on, around `anchors` (N, 2)."""
        cells, counts = [(count > 0).nonzero().flatten()], []
        while len(cells[-1]):
            counts.append(len(cells[-1]))
            cells.append(cells[-1][count[cells[-1]] > len(counts)])
        cell = torch.cat(cells)
        rank = torch.arange(len(counts), device=cell.device).repeat_interleave(
            torch.tensor(counts, dtype=torch.int64, device=cell.device), output_size=len(cell)
        )
        pair = self.pair.index_select(0, first.index_select(0, cell) + rank)
        anchor = anchors.index_select(0, cell)
        planes = self.planes.index_select(1, pair).view(3, 9, -1)
        planes[2].addcmul_(planes[0], anchor[:, 0]).addcmul_(planes[1], anchor[:, 1])
        return Tests(self.prims, planes, pair, anchor, cell, rank, counts)

    def face_rows(self, cells: Tensor | None, w: Tensor, key: Tensor) -> Tensor:
        """Rows in the face table of the hits (N, S) of `trace`; -1 where nothing is hit. `cells` as in at_pixels."""
        first = (self.first if cells is None else self.first.index_select(0, cells)).int() * 4
        index = (first[:, None] + (key & _CODE_BITS)).clamp(max=max(len(self.rows) - 1, 0))
        if len(self.rows) == 0:
            return torch.full_like(key, -1)
        return self.rows.index_select(0, index.flatten()).view(key.shape).masked_fill_(w <= 0, -1)


@dataclass
class Tests:
    """Primitives to test at image positions around `anchor`, ordered by their rank within a cell."""

    prims: Primitives
    planes: Tensor  # (3, 9, E): slopes in x and y, and value at the anchor
    pair: Tensor  # (E,) index into the flattened (F, P)
    anchor: Tensor  # (E, 2)
    cell: Tensor  # (E,)
    rank: Tensor  # (E,)
    counts: list[int]  # entries of each rank


def trace(tests: Tests, num_cells: int, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest hit at S places `offsets` (S, 2) around the anchor of every cell.

    Returns inverse depths (num_cells, S), 0 where nothing is hit, and keys for `Candidates.face_rows`.
    """
    samples = len(offsets)
    basis = torch.cat([offsets, torch.ones_like(offsets[:, :1])], dim=1).T
    w = (tests.planes.flatten(1).T @ basis).view(9, -1, samples)
    near = torch.minimum(torch.minimum(w[0], w[1]), w[2])
    far = torch.maximum(w[3], w[4]).clamp_(min=0)
    for i in range(5, 9):
        torch.maximum(far, w[i], out=far)
    code = (tests.rank * 4).int()[:, None]
    bits = w[:3].view(torch.int32).bitwise_and_(~_CODE_BITS)
    for axis in range(3):
        bits[axis] |= code + axis
    key = torch.minimum(torch.minimum(bits[0], bits[1]), bits[2])
    curved = (tests.prims.kind.flatten()[tests.pair] != BOX).nonzero().flatten()
    if len(curved):
        near_c, far_c, axis_c = _curved(tests, curved, offsets)
        near[curved], far[curved] = near_c, far_c
        key[curved] = (near_c.view(torch.int32) & ~_CODE_BITS) | (code[curved] + axis_c)
    hit = near.sub(far).mul_(1e25).clamp_(0, 1e30)  # 0 or more than any w
    torch.minimum(near, hit, out=near)
    torch.minimum(key, hit.view(torch.int32), out=key)
    best, best_key = near.new_zeros(num_cells, samples), key.new_zeros(num_cells, samples)
    start = 0
    for count in tests.counts:
        part, cell = slice(start, start + count), tests.cell[start : start + count]
        start += count
        best.index_copy_(0, cell, torch.maximum(best.index_select(0, cell), near[part]))
        best_key.index_copy_(0, cell, torch.maximum(best_key.index_select(0, cell), key[part]))
    return best, best_key


def _curved(tests: Tests, index: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Entry, exit and axis for cylinders and ellipsoids, where the surface is |q + d / w| = 1:

    (|q|^2 - 1) w^2 + 2 (q . d) w + d . d = 0. A cylinder leaves out z there, and is cut by its two caps.
    """
    pair, prims = tests.pair[index], tests.prims
    cylinder = (prims.kind.flatten()[pair] == CYLINDER)[:, None]
    half = prims.half.flatten(0, 1)[pair]
    xy = tests.anchor[index][:, None] + offsets
    x, y = xy[..., 0], xy[..., 1]
    a, b, c = -1.0, 0.0, 0.0
    for axis in range(3):
        scale = 1 / half[:, axis : axis + 1]
        if axis == 2:
            scale = scale * ~cylinder
        q = prims.origin.flatten(0, 1)[pair, axis, None] * scale
        m = prims.rays.flatten(0, 1)[pair, axis] * scale
        d = m[:, :1] * x + m[:, 1:2] * y + m[:, 2:]
        a, b, c = a + q * q, b + q * d, c + d * d
    a = torch.where(a.abs() < 1e-6, 1e-6, a)
    root = b * b - a * c
    miss = root < 0
    root = root.clamp(min=0).sqrt()
    near = torch.where(a > 0, (root - b) / a, _FAR_AWAY)
    far = (-(root + b) / a).masked_fill(miss, _FAR_AWAY)
    slope_x, slope_y, value = tests.planes[:, [2, 5, 8]][..., index, None]
    cap = slope_x * offsets[:, 0] + slope_y * offsets[:, 1] + value
    on_cap = cylinder & (cap[0] < near)
    near = torch.where(on_cap, cap[0], near)
    far = torch.where(cylinder, torch.maximum(far, torch.maximum(cap[1], cap[2])), far)
    # A camera inside looks out: there is no entry.
    far = torch.where(near >= 0.5 * _FAR_AWAY, 2 * _FAR_AWAY, far).clamp(min=0)
    return near, far, torch.where(on_cap, 2, _CURVED).int()
