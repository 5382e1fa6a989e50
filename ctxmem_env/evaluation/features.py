"""A small network whose features tell how much painted frames look like true ones, and the Frechet distance in them.

It was trained to name the style and the layout of true frames (`ctxmem_env.evaluation.train_features`). It stands in
for the Inception network of FID, which expects photographs, so distances compare with each other and with no published
FID.
"""

import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctxmem_env.half_file import load_half
from ctxmem_env.scenes import STYLES

WEIGHTS = Path(__file__).parent.parent / "weights" / "frame_features" / "frame_features.safetensors"
LAYOUTS = tuple(dict.fromkeys(style.layout for style in STYLES.values()))
DIM = 32
SIZE = 64  # pixels of a side; frames of another size are resized
_STYLES = 18  # that the packaged network can name; those added since are held out, so that it meets none of them


class FrameFeatures(nn.Module):
    """Features (N, 32) of frames, and from them logits of the style and of the layout."""

    def __init__(self) -> None:
        super().__init__()
        channels = (3, 16, 32, 48, 64, 64)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(channels)
        )
        # Deviations beside means, or else blur and noise would hardly show.
        self.project = nn.Linear(2 * sum(channels[2:]), DIM)
        # Of the features of true frames of training scenes.
        self.register_buffer("mean", torch.zeros(DIM))
        self.register_buffer("deviation", torch.ones(DIM))
        self.style, self.layout = nn.Linear(DIM, _STYLES), nn.Linear(DIM, len(LAYOUTS))

    def forward(self, frames: Tensor) -> Tensor:
        """Features (N, 32) of frames (N, H, W, 3) uint8."""
        x = frames.movedim(-1, 1).float() / 127.5 - 1
        if x.shape[-2:] != (SIZE, SIZE):
            x = F.interpolate(x, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
        pooled = []
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
            pooled += [x.mean((2, 3)), x.std((2, 3))]
        return self.project(torch.cat(pooled[2:], dim=1))

    def classify(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, styles) and (N, layouts) of features (N, 32)."""
        hidden = F.relu(features)
        return self.style(hidden), self.layout(hidden)


def load_features(path: str | Path = WEIGHTS) -> FrameFeatures:
    """The trained network. Raises ValueError for a file that is not one."""
    return load_half(FrameFeatures(), path, "ctxmem_env.evaluation.train_features")


@torch.no_grad()
def features_of(network: FrameFeatures, frames: Tensor) -> Tensor:
    """Features (N, 32), float64, of frames (N, H, W, 3) uint8, of mean 0 and variance 1 over true frames."""
    features = torch.cat([network(part) for part in frames.split(256)])
    return ((features - network.mean) / network.deviation).double()


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """The Frechet distance of the normal distributions that fit two sets of features (N, d) and (M, d).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), as in FID (arXiv:1706.08500). Raises ValueError for fewer than two
    rows in a set.
    """
    if min(len(one), len(other)) < 2:
        raise ValueError(f"features of {len(one)} and {len(other)} frames; expected at least 2 in each set.")
    one, other = one.double(), other.double()
    covariances = one.T.cov(), other.T.cov()
    # The eigenvalues of a product of two covariances are real and not negative, up to rounding.
    root = torch.linalg.eigvals(covariances[0] @ covariances[1]).real.clamp(min=0).sqrt().sum()
    apart = (one.mean(0) - other.mean(0)).square().sum()
    return max((apart + covariances[0].trace() + covariances[1].trace() - 2 * root).item(), 0.0)
