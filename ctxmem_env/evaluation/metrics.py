"""Metrics of images and depth, what images look like, and means with confidence intervals."""

import functools
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
    pairs = [[gradient(frames), _contrast(frames)] for frames in (painted, true)]
    (sharpness, contrast), (true_sharpness, true_contrast) = pairs
    distance = (_colours(painted) - _colours(true)).abs().sum() / 2
    return {
        "gradient_ratio": (sharpness / true_sharpness).item(),
        "contrast_ratio": (contrast / true_contrast).item(),
        "colour_distance": distance.item(),
    }


def _grey(frames: Tensor) -> Tensor:
    return frames.float() @ torch.tensor([0.299, 0.587, 0.114])


def gradient(frames: Tensor) -> Tensor:
    """Mean difference of neighbouring grey levels, 0 to 255, of uint8 frames (N, H, W, 3)."""
    grey = _grey(frames)
    return (grey.diff(dim=-1).abs().mean() + grey.diff(dim=-2).abs().mean()) / 2


def _contrast(frames: Tensor) -> Tensor:
    return _grey(frames).flatten(1).std(1).mean()


def _colours(frames: Tensor) -> Tensor:
    bins = (frames.long() // 32 * torch.tensor([64, 8, 1])).sum(-1).flatten()
    return torch.bincount(bins, minlength=512) / len(bins)


def mean_interval(values: Tensor) -> tuple[float, float]:
    """Mean of values (n,) and the half width of its 95 % confidence interval, for n independent scenes.

    Student's: the deviation of few scenes is itself uncertain, and with 1.96 of them 8 would cover only 91 %.
    """
    values = values.double()
    count = len(values)
    half = student_quantile(count - 1) * values.std().item() / math.sqrt(count) if count > 1 else float("nan")
    return values.mean().item(), half


@functools.cache
def student_quantile(freedom: int) -> float:
    """The number that Student's t with `freedom` degrees, at least 1, exceeds in size with probability 5 %."""
    low, high = 1.0, 13.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _student_within(middle, freedom) < 0.95 else (low, middle)
    return low


def _student_within(t: float, freedom: int) -> float:
    """Probability that Student's t lies within -t and t (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cos, odd = math.cos(angle), freedom % 2
    term, total = (cos if odd else 1.0), 0.0
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= cos**2 * k / (k + 1)
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Ends of the 95 % interval of a share, from `successes` of `trials`, at least 1, independent trials.

    The score interval of Wilson (1927): it stays in [0, 1] and has a width also where all or none succeed.
    """
    z, share = 1.96, successes / trials
    centre = share + z**2 / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
