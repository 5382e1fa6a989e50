"""Flat walls that were seen from the origin, remembered, and thrown into views."""

import torch

from ctxmem_env.camera import cameras_at
from ctxmem_env.generator import splat as throwing

SIZE = 32
FOV = torch.tensor([90.0])


def everything(slots):
    return torch.ones(1, slots, dtype=torch.bool)


def wall(distance, colour, yaw=0.0):
    """A remembered camera at the origin that faces a flat wall: frame (3, H, W), depth (H, W), pose (6,)."""
    frame = torch.full((3, SIZE, SIZE), colour)
    return frame, torch.full((SIZE, SIZE), distance), torch.tensor([0.0, 0.0, 1.5, yaw, 0.0, 0.0])


def memory(*walls):
    frames, depth, poses = (torch.stack(parts)[None] for parts in zip(*walls, strict=True))
    return frames, depth, poses


def splat(frames, depth, context_poses, mask, poses, fov, given=None):
    return throwing.splat(frames, depth, cameras_at(context_poses, fov), mask, cameras_at(poses, fov), given)
