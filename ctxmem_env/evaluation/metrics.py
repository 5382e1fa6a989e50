"""Metrics of images and depth, what images look like, and means with confidence intervals."""

import importlib.util
import math

import torch
from torch import Tensor


def psnr(prediction: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB (...) of uint8 frames (..., H, W, 3); 78.1 for equal frames."""
    error = (prediction.float() - truth.float()).square().flatten(-3).mean(-1)
    return 10 * torch.log10(255**2 / error.clamp(min=1e-3))


def check_ssim() -> None:
    """ValueError where torchmetrics is missing."""
    if importlib.util.find_spec("torchmetrics") is None:
        raise ValueError("SSIM needs torchmetrics, which is not installed; pip install 'ctxmem-env[evaluate]'.")


def ssim(prediction: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity (N,), at most 1, of uint8 frames (N, H, W, 3) of at least 11 pixels a side."""
    check_ssim()
    from torchmetrics.functional.image import structural_similarity_index_measure

    images = (frames.movedim(-1, 1).float() for frames in (prediction, truth))
    return structural_similarity_index_measure(*images, data_range=255.0, reduction="none").reshape(len(truth))


def depth_error(prediction: Tensor, truth: Tensor) -> float:
    """Median of |prediction / truth - 1| over depths of the same shape, in metres; NaN where there are none."""
    return (prediction / truth - 1).abs().median().item() if truth.numel() else float("nan")


def appearance(painted: Tensor, true: Tensor) -> dict[str, float]:
    """How painted frames (N, H, W, 3) look beside true ones (M, H, W, 3), uint8, whatever they show.

    gradient_ratio and contrast_ratio: the mean difference of neighbouring pixels, and the mean standard deviation in a
    frame, of grey levels, as multiples of those of the true frames; below 1 is fog, a gradient far above 1 is noise.
    colour_distance: the total variation in [0, 1] between the histograms of colours, 8 x 8 x 8 bins.
    """
    pairs = [[_gradient(frames), _contrast(frames)] for frames in (painted, true)]
    (gradient, contrast), (true_gradient, true_contrast) = pairs
    distance = (_colours(painted) - _colours(true)).abs().sum() / 2
    return {
        "gradient_ratio": (gradient / true_gradient).item(),
        "contrast_ratio": (contrast / true_contrast).item(),
        "colour_distance": distance.item(),
    }


def _grey(frames: Tensor) -> Tensor:
    return frames.float() @ torch.tensor([0.299, 0.587, 0.114])


def _gradient(frames: Tensor) -> Tensor:
    grey = _grey(frames)
    return (grey.diff(dim=-1).abs().mean() + grey.diff(dim=-2).abs().mean()) / 2


def _contrast(frames: Tensor) -> Tensor:
    return _grey(frames).flatten(1).std(1).mean()


def _colours(frames: Tensor) -> Tensor:
    bins = (frames.long() // 32 * torch.tensor([64, 8, 1])).sum(-1).flatten()
    return torch.bincount(bins, minlength=512) / len(bins)


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
