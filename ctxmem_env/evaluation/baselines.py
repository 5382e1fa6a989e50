"""Painters that learn nothing, or leave out what was learned: what a generator must beat."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ctxmem_env.camera import cameras_at
from ctxmem_env.generator import Context, Generated, Generator, traits_of
from ctxmem_env.generator.lookup import fetch, first_smallest, locate
from ctxmem_env.generator.splat import splat
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
        self.num_attended = traits_of(inner).num_attended
        self.device = getattr(inner, "device", torch.device("cpu"))

    @torch.no_grad()
    def generate(
        self, poses: Tensor, context: Context, fov: Tensor, num_steps: int, generators: list[torch.Generator]
    ) -> Generated:
        view = self.inner.generate(poses, context, fov, num_steps, generators)
        views, cameras = (cameras_at(seen_from, fov.float()) for seen_from in (poses[:, None], context.poses))
        image, evidence, visible = locate(
            view.depth[:, None].log(), views, context.depth.float(), cameras, context.mask
        )
        slot = first_smallest(evidence.disagreement.masked_fill(~visible, 1e3).flatten(3)).unflatten(
            3, visible.shape[3:]
        )
        frames = context.frames.movedim(-1, -3).float()
        colours = fetch(frames, image, slot)[:, 0, 0].round().clamp(0, 255).to(torch.uint8).movedim(1, -1)
        shown = visible.any(2)[:, 0]
        return Generated(torch.where(shown[..., None], colours, 128), view.depth, torch.zeros_like(view.depth))


class SplatGenerator:
    """Explicit warping without any network: remembered pixels thrown into the view, holes filled from beside them.

    A `ctxmem_env.generator.Generator`. It knows no depth but what it is given and throws on; where nothing is thrown
    at all a view is mid-grey, 1 m away.
    """

    default_num_steps = 1

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width

    def encode(self, frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> dict[str, Tensor]:
        return {}

    @torch.no_grad()
    def generate(
        self, poses: Tensor, context: Context, fov: Tensor, num_steps: int, generators: list[torch.Generator]
    ) -> Generated:
        views, cameras = (cameras_at(seen_from, fov.float()) for seen_from in (poses[:, None], context.poses))
        memory = context.frames.movedim(-1, -3).float(), context.depth.float(), cameras, context.mask
        colours, log_depth, covered = (part[:, 0] for part in splat(*memory, views))
        filled = fill_from_nearest(torch.cat([colours, log_depth], 1), covered[:, 0] > 0)
        anything = covered.flatten(1).any(1)[:, None, None]
        frames = torch.where(anything[..., None], filled[:, :3].movedim(1, -1), 128).round().to(torch.uint8)
        depth = torch.where(anything, filled[:, 3].exp(), 1.0)
        return Generated(frames, depth, torch.zeros_like(depth))

    def estimate_depth(self, frames: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
        return torch.ones(frames.shape[:3], device=frames.device)


def fill_from_nearest(images: Tensor, known: Tensor) -> Tensor:
    """Images (N, C, H, W) whose pixels that are not `known`, bool (N, H, W), take the nearest that is, or nearly so.

    By jump flooding (Rong and Tan 2006): in rounds each pixel looks at places half as far away as in the last.
    """
    height, width = known.shape[1:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    here = torch.stack([y, x]).to(images)  # (2, H, W)
    source = torch.where(known[:, None], here, math.inf)  # (N, 2, H, W)
    reach = 1 << (max(height, width) - 1).bit_length()
    while reach := reach // 2:
        padded = F.pad(source, (reach,) * 4, value=math.inf)
        rows, columns = ((0, reach, 2 * reach),) * 2
        offers = torch.stack([padded[..., i : i + height, j : j + width] for i in rows for j in columns])
        best = (offers - here).square().sum(2).argmin(0)  # (N, H, W)
        source = offers.gather(0, best[None, :, None].expand(1, -1, 2, -1, -1))[0]
    place = (source[:, 0] * width + source[:, 1]).nan_to_num(posinf=0).long().flatten(1)
    return images.flatten(2).gather(2, place[:, None].expand(-1, images.shape[1], -1)).view_as(images)


class PackedHistoryGenerator:
    """The whole history compressed into two frames by `pack_history`, for a generator that sees nothing else.

    Contexts hold the newest frames, newest first, as `recent` chooses them.
    """

    def __init__(self, inner: Generator) -> None:
        self.inner, self.height, self.width = inner, inner.height, inner.width
        self.default_num_steps, self.estimate_depth = inner.default_num_steps, inner.estimate_depth
        self.device = getattr(inner, "device", torch.device("cpu"))

    def encode(self, frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> dict[str, Tensor]:
        return {}  # a frame changes as it gets older, so that features cannot be kept

    def generate(
        self, poses: Tensor, context: Context, fov: Tensor, num_steps: int, generators: list[torch.Generator]
    ) -> Generated:
        packed = Context(*pack_history(context.frames, context.depth), context.poses, context.mask)
        batch, read = len(context.mask), slice(traits_of(self.inner).num_attended)
        slots = context.mask[:, read].shape[1]
        each = (part[:, read].flatten(0, 1) for part in (packed.frames, packed.depth, packed.poses))
        features = self.inner.encode(*each, fov.repeat_interleave(slots))
        packed.features = {name: value.unflatten(0, (batch, slots)) for name, value in features.items()}
        return self.inner.generate(poses, packed, fov, num_steps, generators)


def pack_history(frames: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Frames uint8 (B, k, H, W, 3) and depth (B, k, H, W), newest first, each with fewer pixels than the one before.

    The schedule of FramePack (arXiv:2504.12626) with ratio 2: the newest frame has all its pixels, and each older one
    half as many as the one after it, two frames' worth in all; of one pixel is the last that is seen. They come back
    enlarged to the size of a frame, as the generator takes them; depth is reduced alike.
    """
    frames, depth = frames.movedim(-1, -3).float(), depth.float().clone()
    for age in range(frames.shape[1]):
        frames[:, age] = _reduced(frames[:, age], age)
        depth[:, age] = _reduced(depth[:, age : age + 1], age)[:, 0]
    return frames.movedim(-3, -1).round().to(torch.uint8), depth


def _reduced(images: Tensor, halvings: int) -> Tensor:
    """Images (N, C, H, W) averaged to 1 / 2^halvings of their pixels, rows and columns in turn, and enlarged back."""
    height, width = images.shape[-2:]
    size = max(height >> (halvings // 2), 1), max(width >> ((halvings + 1) // 2), 1)
    return F.interpolate(F.adaptive_avg_pool2d(images, size), (height, width), mode="bilinear", align_corners=False)
