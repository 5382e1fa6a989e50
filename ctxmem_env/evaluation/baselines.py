"""Painters that learn nothing: what a generator must beat."""

import torch
from torch import Tensor

from ctxmem_env.generator import Context, Generated
from ctxmem_env.overlap import view_overlap


class CopyGenerator:
    """Repeats a remembered frame: the newest one, or of the retrieved ones that whose view overlaps most.

    A `ctxmem_env.generator.Generator`. A context without frames gives mid-grey; the depth is 1 m everywhere.
    """

    default_num_steps = 1

    def __init__(self, which: str, height: int, width: int) -> None:
        if which not in ("newest", "best"):
            raise ValueError(f"which={which!r}; expected 'newest' or 'best'")
        self.which, self.height, self.width = which, height, width

    def encode(self, frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> dict[str, Tensor]:
        return {}

    def generate(
        self, poses: Tensor, context: Context, fov: Tensor, num_steps: int, generators: list[torch.Generator]
    ) -> Generated:
        slot = torch.zeros(len(poses), dtype=torch.int64, device=poses.device)
        if self.which == "best":
            slot = view_overlap(context.poses, poses, fov).masked_fill(~context.mask, -1).argmax(1)
        world = torch.arange(len(poses), device=poses.device)
        frames = context.frames[world, slot]
        frames = torch.where(context.mask[world, slot][:, None, None, None], frames, 128)
        return Generated(frames, torch.ones_like(frames[..., 0], dtype=torch.float32), torch.zeros(frames.shape[:3]))

    def estimate_depth(self, frames: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
        return torch.ones(frames.shape[:3], device=frames.device)
