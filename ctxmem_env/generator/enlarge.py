"""The weights of a network for larger frames, begun from those of a smaller one with as many tokens."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_FROM_PATCHES = ("embed_target.weight", "embed_context.weight")
_TO_PATCHES = ("to_pixels.weight", "to_pixels.bias")


def patch_ratio(small: Mapping[str, Any], large: Mapping[str, Any]) -> int | None:
    """How many times as long the sides of frames and patches are in `large`, by the arguments of two networks.

    1 for equal networks; None where anything else differs, or the ratio is no whole number.
    """
    sizes = ("height", "width", "patch_size")
    ratio, rest = divmod(large["patch_size"], small["patch_size"])
    alike = all(small[name] == large[name] for name in small if name not in sizes)
    scaled = all(ratio * small[name] == large[name] for name in sizes)
    return ratio if alike and scaled and not rest else None


def enlarge(weights: dict[str, Tensor], patch_size: int, ratio: int) -> dict[str, Tensor]:
    """Weights for frames and patches `ratio` times as large as those that `weights` belong to.

    A token is then what it was for the frame reduced by averaging, and its pixels are the smaller network's, each of
    them `ratio` x `ratio` pixels large. Convolutions stay as they are, at the new resolution, and so does the look-up,
    which has no weights: it is as sharp as the larger frames from the beginning.

    Args:
        weights: of a `SceneTransformer`.
        patch_size: of that network, in pixels.
        ratio: at least 1.
    """
    enlarged = dict(weights)
    for name in _FROM_PATCHES:
        patches = weights[name].unflatten(1, (-1, patch_size, patch_size))
        enlarged[name] = _repeat(patches, ratio, 2).div(ratio**2).flatten(1)
    for name in _TO_PATCHES:
        patches = weights[name].unflatten(0, (-1, patch_size, patch_size))
        enlarged[name] = _repeat(patches, ratio, 1).flatten(0, 2)
    return enlarged


def _repeat(patches: Tensor, ratio: int, first: int) -> Tensor:
    """Every value `ratio` x `ratio` times along the dimensions `first` and `first` + 1."""
    return patches.repeat_interleave(ratio, first).repeat_interleave(ratio, first + 1)
