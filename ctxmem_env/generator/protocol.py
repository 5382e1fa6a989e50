"""What a world asks of a generator, and the three shapes that pass between them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass
class Examples:
    """Frames that show what a place looks like, n for each of B worlds: the same ones whatever is looked at.

    They are handed out again at the next step, so they are not to be written to, nor is their memory to be used again.

    frames (B, n, H, W, 3) uint8; depth (B, n, H, W) in metres; poses (B, n, 6); mask (B, n), False for an empty slot;
    centre (B, 3) in metres, the middle of the place around the new view that is made up after them: it stays for as
    long as the camera is within three metres, and is the same again when it comes back.
    """

    frames: Tensor
    depth: Tensor
    poses: Tensor
    mask: Tensor
    centre: Tensor

    def rows(self, worlds: slice) -> "Examples":
        """The examples of some of the worlds."""
        return Examples(*(part[worlds] for part in self))

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.frames, self.depth, self.poses, self.mask, self.centre))


@dataclass
class Context:
    """The remembered frames that a new view is generated from, for B worlds with k slots each.

    frames (B, k, H, W, 3) uint8; depth (B, k, H, W) in metres; poses (B, k, 6); mask (B, k), False for an empty
    slot, in which the rest means nothing; features: what `Generator.encode` returned for the first m of these
    frames, `Traits.num_attended` or all, each tensor (B, m, ...); prompts: what each world is to show, in words, ""
    for nothing said, or () where nobody reads it; given (B, k) bool, frames that opened the world, which nobody
    painted, or None where that is not known; examples: what to paint after where nothing is remembered; None, or
    none in a world, for the context itself.
    """

    frames: Tensor
    depth: Tensor
    poses: Tensor
    mask: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    given: Tensor | None = None
    examples: Examples | None = None

    def rows(self, worlds: slice) -> "Context":
        """The context of some of the worlds."""
        features = {name: value[worlds] for name, value in self.features.items()}
        parts = self.frames[worlds], self.depth[worlds], self.poses[worlds], self.mask[worlds]
        given = None if self.given is None else self.given[worlds]
        examples = None if self.examples is None else self.examples.rows(worlds)
        return Context(*parts, features, self.prompts[worlds], given, examples)


@dataclass
class Generated:
    """New views: frames (B, H, W, 3) uint8, depth (B, H, W) in metres, own_weight (B, H, W) in [0, 1].

    own_weight is the share of a pixel that the network painted itself; the rest was fetched from memory.
    """

    frames: Tensor
    depth: Tensor
    own_weight: Tensor


@dataclass(frozen=True)
class Traits:
    """What is known of a generator before it paints: its attributes, of which all but the first two are optional.

    height, width: of a frame in pixels.
    predicts_depth: False where the depth that it returns means nothing, so that nobody is stopped by it or shown it.
    takes_text: whether it reads `Context.prompts`.
    frames_per_step: F, frames that it paints along the way of one step; the last is what is seen at its end.
    num_attended: context slots whose features it reads, the first ones; others need not be encoded. None: all.
    """

    height: int
    width: int
    predicts_depth: bool = True
    takes_text: bool = False
    frames_per_step: int = 1
    num_attended: int | None = None


def traits_of(generator: "Generator") -> Traits:
    """The traits of a generator, with the defaults of those that it does not tell of."""
    return Traits(**{part.name: getattr(generator, part.name, part.default) for part in fields(Traits)})


@runtime_checkable
class Generator(Protocol):
    """Paints new views of a world from remembered ones. Angles, poses and depth as in `ctxmem_env.camera`.

    Optional attributes are those of `Traits`. `ctxmem_env.testing.check_generator` tells whether all of this is kept.
    """

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
        """One new view for each world: poses (B, 6), fov (B,) degrees, one random generator a world.

        With `frames_per_step` F above 1 poses are (B, F, 6), a way, and what is returned is led by (B, F).
        """
        ...

    def estimate_depth(self, frames: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
        """Depth (N, H, W) in metres of frames of one world that came from outside, in the order of their arrival.

        frames (N, H, W, 3) uint8, poses (N, 6), fov (N,) degrees.
        """
        ...


def generate_along(
    generator: Generator,
    way: Tensor,
    context: Context,
    fov: Tensor,
    num_steps: int,
    generators: list[torch.Generator],
) -> list[Generated]:
    """The views along a way (B, F, 6), one after the other, with F the `frames_per_step` of the generator."""
    several = way.shape[1] > 1
    view = generator.generate(way if several else way[:, 0], context, fov, num_steps, generators)
    if not several:
        return [view]
    parts = zip(view.frames.unbind(1), view.depth.unbind(1), view.own_weight.unbind(1), strict=True)
    return [Generated(*part) for part in parts]
