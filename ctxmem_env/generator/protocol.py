"""What a world asks of a generator, and the three shapes that pass between them."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass
class Context:
    """The remembered frames that a new view is generated from, for B worlds with k slots each.

    frames (B, k, H, W, 3) uint8; depth (B, k, H, W) in metres; poses (B, k, 6); mask (B, k), False for an empty
    slot; features: what `Generator.encode` returned for these frames, each tensor (B, k, ...).
    """

    frames: Tensor
    depth: Tensor
    poses: Tensor
    mask: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)

    def rows(self, worlds: slice) -> "Context":
        """The context of some of the worlds."""
        features = {name: value[worlds] for name, value in self.features.items()}
        return Context(self.frames[worlds], self.depth[worlds], self.poses[worlds], self.mask[worlds], features)


@dataclass
class Generated:
    """New views: frames (B, H, W, 3) uint8, depth (B, H, W) in metres, own_weight (B, H, W) in [0, 1].

    own_weight is the share of a pixel that the network painted itself; the rest was fetched from memory.
    """

    frames: Tensor
    depth: Tensor
    own_weight: Tensor


@runtime_checkable
class Generator(Protocol):
    """Paints new views of a world from remembered ones. Angles, poses and depth as in `ctxmem_env.camera`."""

    height: int
    width: int
    default_num_steps: int

    def encode(self, frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> dict[str, Tensor]:
        """Features of remembered frames, computed once for each and kept.

        frames (N, H, W, 3) uint8, depth (N, H, W), poses (N, 6), fov (N,) degrees -> tensors (N, ...); may be {}.
        """
        ...

    def generate(
        self,
        poses: Tensor,
        context: Context,
        fov: Tensor,
        num_steps: int,
        generators: list[torch.Generator],
    ) -> Generated:
        """One new view for each world: poses (B, 6), fov (B,) degrees, one random generator a world."""
        ...

    def estimate_depth(self, frames: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
        """Depth (N, H, W) in metres of frames of one world that came from outside, in the order of their arrival.

        frames (N, H, W, 3) uint8, poses (N, 6), fov (N,) degrees.
        """
        ...
