"""Image metrics, and means with confidence intervals."""

import math

import torch
from torch import Tensor


def psnr(prediction: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB (...) of uint8 frames (..., H, W, 3); 78.1 for equal frames."""
    error = (prediction.float() - truth.float()).square().flatten(-3).mean(-1)
    return 10 * torch.log10(255**2 / error.clamp(min=1e-3))


def mean_interval(values: Tensor) -> tuple[float, float]:
    """Mean of values (n,) and the half width of its 95 % confidence interval, for n independent scenes."""
    values = values.double()
    half = 1.96 * values.std().item() / math.sqrt(len(values)) if len(values) > 1 else float("nan")
    return values.mean().item(), half


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Ends of the 95 % interval of a share, from `successes` of `trials`, at least 1, independent trials.

    The score interval of Wilson (1927): it stays in [0, 1] and has a width also where all or none succeed.
    """
    z, share = 1.96, successes / trials
    centre = share + z**2 / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
