"""How far a body may move through scenes before it touches something: exact, from the primitives, for a batch."""

import torch
from torch import Tensor

from ctxmem_env.scenes.geometry import BOX, ELLIPSOID, EMPTY, Scene
from ctxmem_env.scenes.navigation import HEAD, STEP

_NEVER = 1e6  # metres


def sweep_scenes(scenes: Scene, start: Tensor, direction: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Free way (B,) in metres of upright cylinders that slide over the ground, and the normals (B, 2) where they touch.

    A cylinder reaches from a step (0.1 m) to the height of a head (1.8 m). One that overlaps a surface already may move
    away from it only; the inside of an object stops nothing. Where nothing is in the way the free way is infinite.

    Args:
        scenes: a batch of B.
        start: (B, 2), x and y in metres.
        direction: (B, 2), unit vectors in the world.
        radius: of the cylinders, metres.
    """
    kind, half, height = scenes.kind, scenes.half, scenes.centre[..., 2]
    low, high = height - half[..., 2], height + half[..., 2]
    solid = (kind != EMPTY) & (low < HEAD) & (high > STEP)
    # Of an ellipsoid the widest slice at the height of the body counts.
    aside = ((height - HEAD).clamp_min(0) + (STEP - height).clamp_min(0)) / half[..., 2].clamp_min(1e-6)
    width = torch.where(kind == ELLIPSOID, (1 - aside.square()).clamp_min(0).sqrt(), 1.0)
    box = (kind == BOX)[..., None]
    corner = half[..., :2] * box
    reach = radius + torch.where(kind == BOX, 0.0, half[..., 0] * width)
    cos, sin = scenes.yaw.cos(), scenes.yaw.sin()
    place = _turn(start[:, None] - scenes.centre[..., :2], cos, -sin)
    way = _turn(direction[:, None].expand_as(place), cos, -sin)
    # A box that is grown by the radius has round corners: two boxes and four discs.
    wide = torch.stack([reach, torch.zeros_like(reach)], dim=-1)
    entries = [_enter_box(place, way, corner + wide), _enter_box(place, way, corner + wide.flip(-1))]
    for sign in (corner.new_tensor(s) for s in ((1, 1), (1, -1), (-1, 1), (-1, -1))):
        entries.append(_enter_disc(place - sign * corner, way, reach))
    away = torch.stack(entries).amin(0)
    outward = place - place.clamp(-corner, corner)
    gap = outward.norm(dim=-1)
    deeper = (gap > 0) & ((outward * way).sum(-1) < 0)
    away = torch.where(gap < reach, torch.where(deeper, 0.0, _NEVER), away).where(solid, _NEVER)
    free, first = away.min(dim=1)
    row = torch.arange(len(free), device=free.device)
    touch = place[row, first] + way[row, first] * free[:, None]
    normal = touch - touch.clamp(-corner[row, first], corner[row, first])
    normal = _turn(normal, cos[row, first], sin[row, first])
    normal = normal / normal.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    return torch.where(free < _NEVER, free, torch.inf), normal


def _turn(vector: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    x, y = vector.unbind(-1)
    return torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)


def _enter_box(place: Tensor, way: Tensor, half: Tensor) -> Tensor:
    way = torch.where(way.abs() < 1e-9, 1e-9, way)
    one, other = (-half - place) / way, (half - place) / way
    enter, leave = torch.minimum(one, other).amax(-1), torch.maximum(one, other).amin(-1)
    return torch.where((enter <= leave) & (enter >= 0), enter, _NEVER)


def _enter_disc(place: Tensor, way: Tensor, reach: Tensor) -> Tensor:
    along = -(place * way).sum(-1)
    root = along.square() - place.square().sum(-1) + reach.square()
    enter = along - root.clamp_min(0).sqrt()
    return torch.where((root > 0) & (enter >= 0), enter, _NEVER)
