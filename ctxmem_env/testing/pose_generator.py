"""A generator without weights, for tests: it writes into the pixels what the world asked it to paint."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.generator import Context, Generated

_HEADER = 9  # floats in row 0: pose, fov, denoising steps, noise
_ENTRY = 8  # floats in row 1 + slot: used, pose, fingerprint


@dataclass(frozen=True)
class Painted:
    """What a frame of `PoseGenerator` says about how it was made.

    pose (6,); fov in degrees; num_steps; noise, one number that the world's own random generator drew; of the slots
    that held a frame, in order: slots (n,), context_poses (n, 6) and fingerprints (n,) as `fingerprint` gives them.
    """

    pose: np.ndarray
    fov: float
    num_steps: int
    noise: float
    slots: np.ndarray
    context_poses: np.ndarray
    fingerprints: np.ndarray


class PoseGenerator:
    """A `Generator` whose frames hold, as float32 bytes, the pose, the randomness and the context they were
    made of.

    Its features are fingerprints of the frames that were encoded, so that `read` shows whether the features
    in a slot belong to the frame in it. `num_encoded` counts frames that passed through `encode`.
    """

    default_num_steps = 2

    def __init__(self, height: int = 48, width: int = 48):
        self.height, self.width = height, width
        self.num_encoded = 0

    def encode(self, frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> dict[str, Tensor]:
        self.num_encoded += len(frames)
        return {"fingerprint": fingerprint(frames)}

    def generate(
        self,
        poses: Tensor,
        context: Context,
        fov: Tensor,
        num_steps: int,
        generators: list[torch.Generator],
    ) -> Generated:
        worlds, slots = context.mask.shape
        device = poses.device
        noise = torch.cat([torch.rand(1, generator=generator) for generator in generators]).to(device)
        rows = torch.zeros(worlds, self.height, self.width * 3 // 4, device=device)
        rows[:, 0, :_HEADER] = torch.column_stack([poses, fov, torch.full_like(fov, num_steps), noise])
        rows[:, 1 : 1 + slots, 0] = context.mask.float()
        rows[:, 1 : 1 + slots, 1:7] = context.poses
        attended = context.features["fingerprint"]
        rows[:, 1 : 1 + attended.shape[1], 7] = attended * context.mask[:, : attended.shape[1]]
        frames = rows.view(torch.uint8).view(worlds, self.height, self.width, 3)
        depth = torch.full((worlds, self.height, self.width), 3.0, device=device)
        return Generated(frames, depth, torch.ones_like(depth))

    def estimate_depth(self, frames: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
        return torch.full(frames.shape[:-1], 3.0, device=frames.device)

    @staticmethod
    def read(frame: np.ndarray) -> Painted:
        """What is written in a frame, uint8 (H, W, 3), that `generate` made."""
        rows = np.ascontiguousarray(frame).reshape(len(frame), -1).view(np.float32)
        header, entries = rows[0, :_HEADER], rows[1:, :_ENTRY]
        slots = np.flatnonzero(entries[:, 0] == 1)
        entries = entries[slots]
        return Painted(
            header[:6],
            float(header[6]),
            int(header[7]),
            float(header[8]),
            slots,
            entries[:, 1:7],
            entries[:, 7],
        )


def fingerprint(frames: Tensor) -> Tensor:
    """A float32 number (...) of each frame uint8 (..., H, W, 3), hardly ever the same for two frames."""
    pixels = frames.flatten(-3).long()
    weights = torch.arange(1, pixels.shape[-1] + 1, device=frames.device) * 7919 % 10_007
    # Below 2^24, so that float32 holds it exactly.
    return ((pixels * weights).sum(-1) % 16_777_213).float()
