"""How much detail frames have: an error asks for the mean of all details that a surface may have, which is none.

Detail is measured as texture synthesis measures it, by how strongly a bank of filters answers (Heeger and Bergen,
SIGGRAPH 1995; arXiv:1505.07376): here differences of neighbouring pixels, at several scales.
"""

import torch.nn.functional as F
from torch import Tensor

_SIDES = {1: 8, 2: 4, 4: 4, 8: 4}  # pixels that a difference spans: how many of them make the side of a window
_MADE_UP = 2  # times as much is made of what is made up, whose colours ask for nothing but to stay


def differences(frames: Tensor, scale: int = 1) -> Tensor:
    """How far each pixel of frames (N, 3, H, W), made `scale` times as large, is from the next: (N, 1, H', W')."""
    if scale > 1:
        frames = F.avg_pool2d(frames, scale)
    across, down = (frames.diff(dim=dim).abs().mean(1, keepdim=True) for dim in (-1, -2))
    return F.pad(across, (0, 1)) + F.pad(down, (0, 0, 0, 1))


def texture_loss(frames: Tensor, clean: Tensor, made_up: Tensor) -> Tensor:
    """By how much frames (N, 3, H, W) have more or less detail than the true ones.

    Where the truth can be known, window by window. Where it is made_up, a share (N, 1, H, W), it differs from the true
    frame by right, and so do its windows: there each frame is asked as a whole.
    """
    total = frames.new_zeros(())
    for scale, side in _SIDES.items():
        excess = differences(frames, scale) - differences(clean, scale)
        share = F.avg_pool2d(made_up, scale) if scale > 1 else made_up
        side = min(side, *excess.shape[-2:])
        windows = F.avg_pool2d((1 - share) * excess, side, stride=max(1, side // 2))
        total = total + windows.abs().mean() + _MADE_UP * (share * excess).mean((1, 2, 3)).abs().mean()
    return total / len(_SIDES)
