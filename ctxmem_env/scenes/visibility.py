"""Which primitive each pixel sees, and how far away it is.

Along a pixel's ray o + d / w, with d of unit z-depth, w is the inverse z-depth, and d is affine in the pixel position.
So the inverse depth at which a ray meets a plane, w = (n . d) / (c - n . o), is affine in the pixel position too.
A box is six planes: with N those that face the camera and F the others, a ray meets the box if

    min over N of w  >=  max over F of w   and   min over N of w > 0,

and the entry point lies at the left side. On a tile of pixels an affine function is bounded by its value in the
middle and its slope, which tells the few primitives that a tile can see before any ray is tested.
"""

import torch
from torch import Tensor

from ctxmem_env.scenes.geometry import BOX, CYLINDER, EMPTY, Scene

TILE = 8
_FAR_AWAY = 1e9  # stands for "no such plane": a near plane at w = +inf, or a far plane at w = -inf


def plane_coefficients(scene: Scene, owner: Tensor, origin: Tensor, rays: Tensor) -> dict[str, Tensor]:
    """Affine inverse depths of the planes of every primitive, for F frames.

    Args:
        scene: batch of scenes; `owner` (F,) tells the scene of each frame.
        origin: camera centres (F, 3).
        rays: (F, 3, 3), the matrix M with d = M (x, y, 1).

    Returns:
        planes (F, P, 9, 3): near planes of axes x, y, z; their far planes; second far planes where the camera stands
        between the two. local_origin (F, P, 3) and local_rays (F, P, 3, 3) in each primitive's own frame.
        side (F, P, 3) bool, True if the camera is on the positive side.
    """
    yaw, centre, half = scene.yaw[owner], scene.centre[owner], scene.half[owner]
    cos, sin = yaw.cos()[..., None], yaw.sin()[..., None]
    offset = origin[:, None] - centre
    local_origin = torch.cat(
        [
            offset[..., :1] * cos + offset[..., 1:2] * sin,
            offset[..., 1:2] * cos - offset[..., :1] * sin,
            offset[..., 2:],
        ],
        dim=-1,
    )
    mx, my, mz = rays[:, None, 0], rays[:, None, 1], rays[:, None, 2]
    local_rays = torch.stack([mx * cos + my * sin, my * cos - mx * sin, mz.expand(-1, cos.shape[1], -1)], dim=2)
    side = local_origin > 0
    sign = torch.where(side, 1.0, -1.0)
    outside = local_origin.abs() > half
    toward = sign * half - local_origin
    toward = torch.where(toward.abs() < 1e-6, -1e-6 * sign, toward)  # a camera exactly in the plane
    away = -sign * half - local_origin
    away = torch.where(away.abs() < 1e-6, -1e-6 * sign, away)
    first, second = local_rays / toward[..., None], local_rays / away[..., None]
    none = torch.zeros_like(first)
    none[..., 2] = _FAR_AWAY
    outside = outside[..., None]
    planes = torch.cat([torch.where(outside, first, none), second, torch.where(outside, -none, first)], dim=2)
    return {"planes": planes, "local_origin": local_origin, "local_rays": local_rays, "side": side}


def candidates(planes: Tensor, kind: Tensor, centres: Tensor, radius: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Primitives that may be seen from each tile.

    Args:
        planes: (F, P, 9, 3); kind: (F, P).
        centres: (T, 2) tile centres in image coordinates, and `radius` their half extents.

    Returns:
        mask (F, P, T) and the planes' values at the tile centres (F, P, 9, T).
    """
    ones = torch.ones_like(centres[:, :1])
    value = planes @ torch.cat([centres, ones], dim=1).T
    spread = planes[..., 0].abs() * radius[0] + planes[..., 1].abs() * radius[1]
    high, low = value + spread[..., None], value - spread[..., None]
    near_high, near_low = high[:, :, :3].amin(2), low[:, :, :3].amin(2)
    far_high, far_low = high[:, :, 3:].amax(2), low[:, :, 3:].amax(2)
    exists = ((kind != EMPTY) & (planes[:, :, :3, 2] < _FAR_AWAY).any(2))[..., None]
    mask = exists & (near_high > far_low.clamp(min=0))
    # A box that covers a whole tile hides what is behind it, whatever the pixel.
    covers = (kind == BOX)[..., None] & exists & (near_low > far_high.clamp(min=0))
    hidden_below = torch.where(covers, near_low, 0.0).amax(1, keepdim=True)
    return mask & (near_high >= hidden_below), value


class Entries:
    """The (frame, tile, primitive) triples to test, ordered by their rank within a tile."""

    def __init__(self, mask: Tensor, kind: Tensor, coefficients: dict[str, Tensor], value: Tensor, first_row: Tensor):
        _frames, prims, tiles = mask.shape
        found = mask.transpose(1, 2)
        rank = (found.cumsum(-1, dtype=torch.int32) - 1)[found]
        frame, tile, prim = found.nonzero(as_tuple=True)
        order = rank.argsort(stable=True)
        self.counts = torch.bincount(rank).tolist()
        self._set(frame[order], tile[order], prim[order], tiles)
        pair = self.frame * prims + self.prim
        planes = coefficients["planes"].flatten(0, 1)
        value = value.permute(0, 1, 3, 2).reshape(-1, 9)[pair * tiles + self.tile]
        self.planes = torch.stack([*planes[:, :, :2].movedim(2, 0)[:, pair], value]).permute(2, 1, 0)  # (9, E, 3)
        self.kind = kind.flatten()[pair]
        self.row = first_row[self.frame] + self.prim * 6
        self.side = coefficients["side"].flatten(0, 1)[pair]
        self.pair = pair
        self.coefficients = coefficients

    def _set(self, frame, tile, prim, tiles):
        self.frame, self.tile, self.prim = frame, tile, prim
        self.cell = frame * tiles + tile

    def subset(self, cells: Tensor) -> "Entries":
        """The entries of the tiles where `cells` (F * T,) is True."""
        keep = cells[self.cell]
        other = object.__new__(Entries)
        start, other.counts = 0, []
        for count in self.counts:
            other.counts.append(int(keep[start : start + count].sum()))
            start += count
        for name in ("frame", "tile", "prim", "cell", "kind", "row", "side", "pair"):
            setattr(other, name, getattr(self, name)[keep])
        other.planes = self.planes[:, keep]
        other.coefficients = self.coefficients
        return other


def trace(entries: Entries, num_cells: int, offsets: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest hit at S places of every tile.

    Args:
        entries: what to test; `num_cells` = frames * tiles.
        offsets: (S, 2) places relative to the tile's centre, in image coordinates.
        centres: (T, 2).

    Returns:
        inverse depth (num_cells, S), 0 where nothing is hit, and the face row (num_cells, S) int64, -1 for nothing.
    """
    samples = len(offsets)
    basis = torch.cat([offsets, torch.ones_like(offsets[:, :1])], dim=1).T
    w = (entries.planes.reshape(-1, 3) @ basis).view(9, -1, samples)
    near, axis = w[0], torch.zeros_like(w[0], dtype=torch.int64)
    for i in (1, 2):
        closer = w[i] < near
        near = torch.where(closer, w[i], near)
        axis.masked_fill_(closer, i)
    far = w[3]
    for i in range(4, 9):
        far = torch.maximum(far, w[i])
    side = entries.side.long()
    face = 2 * axis + side.gather(1, axis)
    hit = near >= far
    curved = (entries.kind != BOX).nonzero().flatten()
    if len(curved):
        near_c, face_c, hit_c = _curved(entries, curved, w, offsets, centres, face)
        near, face, hit = near.index_copy(0, curved, near_c), face.index_copy(0, curved, face_c), hit.clone()
        hit[curved] = hit_c
    w = torch.where(hit & (near < 0.5 * _FAR_AWAY), near, 0.0)
    row = face + entries.row[:, None]
    best = w.new_zeros(num_cells, samples)
    best_row = row.new_full((num_cells, samples), -1)
    start = 0
    for count in entries.counts:
        part = slice(start, start + count)
        start += count
        cell = entries.cell[part]
        current = best[cell]
        closer = w[part] > current
        best[cell] = torch.where(closer, w[part], current)
        best_row[cell] = torch.where(closer, row[part], best_row[cell])
    return best, best_row


def _curved(entries: Entries, index: Tensor, w: Tensor, offsets: Tensor, centres: Tensor, face: Tensor):
    """Cylinders and ellipsoids: (|q|^2 - 1) w^2 + 2 (q . d) w + d . d = 0 in the frame where the radius is 1."""
    pair, cylinder = entries.pair[index], (entries.kind[index] == CYLINDER)[:, None]
    half = entries.coefficients["half"][pair]
    q = entries.coefficients["local_origin"].flatten(0, 1)[pair] / half
    rays = entries.coefficients["local_rays"].flatten(0, 1)[pair] / half[..., None]
    xy = centres[entries.tile[index]][:, None] + offsets
    d = rays[:, None, :, 0] * xy[..., :1] + rays[:, None, :, 1] * xy[..., 1:] + rays[:, None, :, 2]
    keep = torch.ones_like(half)
    keep[:, 2] = torch.where(cylinder[:, 0], 0.0, 1.0)
    a = (q.square() * keep).sum(-1, keepdim=True) - 1
    a = torch.where(a.abs() < 1e-6, 1e-6, a)
    b = (d * (q * keep)[:, None]).sum(-1)
    c = (d.square() * keep[:, None]).sum(-1)
    root = b.square() - a * c
    real = root >= 0
    root = root.clamp(min=0).sqrt()
    near = torch.where(a > 0, (root - b) / a, _FAR_AWAY)
    far = -(root + b) / a
    cap_near, cap_far = w[2, index], torch.maximum(w[5, index], w[8, index])
    on_cap = cylinder & (cap_near < near)
    near = torch.where(on_cap, cap_near, near)
    far = torch.where(cylinder, torch.maximum(far, cap_far), far)
    cap_face = 4 + entries.side[index][:, 2:].long()
    return near, torch.where(on_cap, cap_face, 0), real & (near >= far)
