"""What is made up, as one place: examples wound around a point of the world, and seen from wherever a camera is.

`extend` winds them around the camera itself. What it gives goes along with the camera, so that of what comes into view
behind an edge, strip after strip, each belongs to another picture. Wound around a point that stays they are a room.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ctxmem_env.camera import Cameras, cameras_at, constant
from ctxmem_env.device import is_host, same_values
from ctxmem_env.generator.extend import extend, to_signal
from ctxmem_env.generator.lookup import UNKNOWN
from ctxmem_env.generator.points import CLEAR
from ctxmem_env.generator.splat import splat

_SIDES = 4  # views of 90 degrees: all around
_KEPT = 4  # batches of worlds whose panoramas are kept, unless more take turns
_WIDE = 1.8  # the focal length of a lens up to which a quarter of a panorama has pixels enough, about 58 degrees


class OfPlace(NamedTuple):
    """Examples as `extend` takes them: frames (B, n, 3, H, W), in [-1, 1] or uint8, depth, cameras and mask (B, n)."""

    frames: Tensor
    depth: Tensor
    cameras: Cameras
    mask: Tensor

    def or_else(self, other: "OfPlace") -> "OfPlace":
        """These, but the other ones in a world where these are none."""
        spare = other.mask & ~self.mask.any(1, keepdim=True)
        if is_host(spare) and not bool(spare.any()):
            return self
        frames = torch.cat([to_signal(self.frames), other.frames], dim=1)
        depth, mask = torch.cat([self.depth, other.depth], dim=1), torch.cat([self.mask, spare], dim=1)
        return OfPlace(frames, depth, self.cameras.beside(other.cameras), mask)

    def rows(self, worlds: Tensor) -> "OfPlace":
        """The examples of some of the worlds."""
        cameras = Cameras(*(part[worlds] for part in self.cameras))
        return OfPlace(self.frames[worlds], self.depth[worlds], cameras, self.mask[worlds])

    def same_as(self, other: "OfPlace") -> bool:
        """Whether these are the same examples; where they lie in the same memory nothing is compared."""
        mine, its = ((one.frames, one.depth, one.mask, one.cameras.poses, one.cameras.focal) for one in (self, other))
        return all(map(same_values, mine, its))


class Panorama(NamedTuple):
    """Views to four sides of a place: colours (B, 4, 3, H, W) in [-1, 1], depth (B, 4, H, W), cameras, mask (B, 4).

    Depth is 0 where it is not known, the mask False where a world has no examples or too long a lens.
    """

    colours: Tensor
    depth: Tensor
    cameras: Cameras
    mask: Tensor


@constant
def _headings(device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.arange(_SIDES, device=device, dtype=dtype) * (2 * math.pi / _SIDES)


@torch.no_grad()
def wind(examples: OfPlace, centre: Tensor) -> Panorama:
    """The examples carried on all around `centre` (B, 3), as `extend` does it."""
    poses = centre.new_zeros(len(centre), _SIDES, 6)
    poses[..., :3], poses[..., 3] = centre[:, None], _headings(centre.device, centre.dtype)
    cameras = cameras_at(poses, poses.new_full((len(poses),), 360.0 / _SIDES))
    colours, log_depth, _ = extend(*examples, cameras)
    depth = log_depth.exp().masked_fill(log_depth <= UNKNOWN, 0.0)[:, :, 0]
    shown = examples.mask.any(1, keepdim=True) & (examples.cameras.focal < _WIDE)[:, None]
    return Panorama(colours, depth, cameras, shown.expand(-1, _SIDES))


class KeptPanoramas:
    """The panoramas of the last `most` batches that were asked for: from step to step few centres move.

    No more than that, since a world that has forgotten its opening has other examples at every step. A pickle or a deep
    copy starts empty: they are derived from what is handed in.
    """

    def __init__(self) -> None:
        self.most, self._kept = _KEPT, []

    def wind(self, examples: OfPlace, centre: Tensor) -> Panorama:
        """See `wind`; worlds whose centre stays are not done anew. Elsewhere than on a CPU to find out is to wait."""
        if not is_host(centre):
            return wind(examples, centre)
        known = next((entry for entry in self._kept if entry[0].same_as(examples)), None)
        panorama = wind(examples, centre) if known is None else _moved_to(centre, *known)
        self._kept = [(examples, panorama), *(entry for entry in self._kept if entry is not known)][: self.most]
        return panorama

    def __getstate__(self) -> dict:
        return {}

    def __setstate__(self, state: dict) -> None:
        self.__init__()


def _moved_to(centre: Tensor, examples: OfPlace, panorama: Panorama) -> Panorama:
    moved = (centre != panorama.cameras.poses[:, 0, :3]).any(1).nonzero()[:, 0]
    if len(moved) == 0:
        return panorama
    fresh = wind(examples.rows(moved), centre[moved])

    def put(old: Tensor, new: Tensor) -> Tensor:
        return old.index_copy(0, moved, new)

    cameras = Cameras(*map(put, panorama.cameras, fresh.cameras))
    colours, depth, mask = (put(getattr(panorama, part), getattr(fresh, part)) for part in ("colours", "depth", "mask"))
    return Panorama(colours, depth, cameras, mask)


@torch.no_grad()
def carry_on(of_place: OfPlace, views: Cameras, panorama: Panorama | None) -> tuple[Tensor, Tensor, Tensor]:
    """What `extend` returns for S views, but as the panorama shows it where that shows anything not too near."""
    colours, log_depth, moved = extend(*of_place, views)
    if panorama is None:
        return colours, log_depth, moved
    thrown, depth, covered = splat(*panorama, views)
    shown = (covered > 0) & (depth > math.log(CLEAR))
    return torch.where(shown, thrown, colours), torch.where(shown, depth, log_depth), moved
