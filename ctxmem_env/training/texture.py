"""How much detail frames have: an error asks for the mean of all details that a surface may have, which is none.

Detail is measured as texture synthesis measures it, by how strongly a bank of filters answers (Heeger and Bergen,
SIGGRAPH 1995; arXiv:1505.07376): here differences of neighbouring pixels, at several scales.
"""

import torch.nn.functional as F
from torch import Tensor

_SIDES = {1: 8, 2: 4, 4: 4, 8: 4}  # by the pixels that a difference spans, the side of a window in steps that large


def differences(frames: Tensor, scale: int = 1) -> Tensor:
    """How far pixels are from the next to the right and below, (N, 1, H // scale, W // scale), as a mean over colours.

    frames (N, 3, H, W) in [-1, 1] are averaged over squares of `scale` pixels first. Beyond their last row and column
    lies nothing that differs.
    """
    if scale > 1:
        frames = F.avg_pool2d(frames, scale)
    across, down = (frames.diff(dim=dim).abs().mean(1, keepdim=True) for dim in (-1, -2))
    return F.pad(across, (0, 1)) + F.pad(down, (0, 0, 0, 1))


def texture_loss(frames: Tensor, target: Tensor, nearer: Tensor) -> Tensor:
    """By how much frames (N, 3, H, W) in [-1, 1] have more or less detail than they should, a scalar.

    They should have as much as the target, window by window, times `nearer` (N, 1, H, W), 1 or more: what has come
    twice as near shows its differences spread over twice the way, where a true surface would show finer ones. A wall of
    one colour has none and stays so. Smooth shades and the seams of a target that was put together are asked for as
    well; they are few beside edges.
    """
    total = frames.new_zeros(())
    for scale, side in _SIDES.items():
        asked = F.avg_pool2d(nearer, scale) * differences(target, scale)
        excess = differences(frames, scale) - asked
        side = min(side, *excess.shape[-2:])
        total = total + F.avg_pool2d(excess, side, stride=max(1, side // 2)).abs().mean()
    return total / len(_SIDES)
