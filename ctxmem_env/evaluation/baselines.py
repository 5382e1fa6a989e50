"""Painters that learn nothing, or leave out what was learned: what a generator must beat."""

import torch
from torch import Tensor

from ctxmem_env.generator import Context, Generated, Generator
from ctxmem_env.generator.lookup import fetch, first_smallest, locate
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


class WarpGenerator:
    """Explicit warping alone: a generator's depth, and colours from memory through it; nothing is painted.

    Each pixel comes from the frame whose own depth agrees best with that of the view, and is mid-grey where no frame
    of the context shows it. A `ctxmem_env.generator.Generator`.

    Args:
        inner: predicts the depth.
    """

    def __init__(self, inner: Generator) -> None:
        self.inner, self.height, self.width = inner, inner.height, inner.width
        self.default_num_steps = inner.default_num_steps
        self.encode, self.estimate_depth = inner.encode, inner.estimate_depth
        self.device = getattr(inner, "device", torch.device("cpu"))

    @torch.no_grad()
    def generate(
        self, poses: Tensor, context: Context, fov: Tensor, num_steps: int, generators: list[torch.Generator]
    ) -> Generated:
        view = self.inner.generate(poses, context, fov, num_steps, generators)
        memory = context.depth.float(), context.poses.float(), context.mask, fov.float()
        image, evidence, visible = locate(view.depth[:, None].log(), poses.float()[:, None], *memory)
        slot = first_smallest(evidence.disagreement.masked_fill(~visible, 1e3).flatten(3)).unflatten(
            3, visible.shape[3:]
        )
        frames = context.frames.movedim(-1, -3).float()
        colours = fetch(frames, image, slot)[:, 0, 0].round().clamp(0, 255).to(torch.uint8).movedim(1, -1)
        shown = visible.any(2)[:, 0]
        return Generated(torch.where(shown[..., None], colours, 128), view.depth, torch.zeros_like(view.depth))
