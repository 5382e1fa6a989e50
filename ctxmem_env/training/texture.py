"""How much detail frames have: an error asks for the mean of all details that a surface may have, which is none.

Detail is measured as texture synthesis measures it, by how strongly a bank of filters answers (Heeger and Bergen,
SIGGRAPH 1995; arXiv:1505.07376): here differences of neighbouring pixels, at several scales.
"""

import torch.nn.functional as F
from torch import Tensor

_SIDES = {1: 8, 2: 4, 4: 4, 8: 4}  # pixels that a difference spans: how many of them make the side of a window


def differences(frames: Tensor, scale: int = 1) -> Tensor:
    """How far each pixel of frames (N, 3, H, W), made `scale` times as large, is from the next: (N, 1, H', W')."""
    if scale > 1:
        frames = F.avg_pool2d(frames, scale)
    across, down = (frames.diff(dim=dim).abs().mean(1, keepdim=True) for dim in (-1, -2))
    return F.pad(across, (0, 1)) + F.pad(down, (0, 0, 0, 1))


def texture_loss(frames: Tensor, target: Tensor, nearer: Tensor) -> Tensor:
    """By how much frames (N, 3, H, W) have more or less detail than they should, window by window.

    That is as much as the target has, times `nearer` (N, 1, H, W): what has come twice as near shows its differences
    spread over twice the way, where a true surface would show finer ones. A plain wall has none and stays plain.
    """
    total = frames.new_zeros(())
    for scale, side in _SIDES.items():
        asked = F.avg_pool2d(nearer, scale) * differences(target, scale)
        excess = differences(frames, scale) - asked
        side = min(side, *excess.shape[-2:])
        total = total + F.avg_pool2d(excess, side, stride=max(1, side // 2)).abs().mean()
    return total / len(_SIDES)
