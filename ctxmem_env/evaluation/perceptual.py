"""LPIPS, FID and FVD of the paper's Table 1, where the weights of their networks are on this machine already.

Nothing is downloaded. LPIPS is that of torchmetrics over AlexNet; FID that of torchmetrics over the Inception network
of torch-fidelity; FVD is the Frechet distance of clips in the features of R3D-18, in place of I3D, which no kept
library has. At 64 pixels and of some hundred frames these compare with each other and with no published figure.
"""

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ctxmem_env.errors import check_integer, unknown_name
from ctxmem_env.evaluation.features import frechet_distance
from ctxmem_env.evaluation.protocols import follow
from ctxmem_env.evaluation.retrieval import painter_over, replay_and_loop
from ctxmem_env.generator import Generator

Distance = Callable[[Tensor, Tensor], list[float]]
"""Of painted and true walks (n, T, H, W, 3) uint8: a number for each, or one for all."""

CLIP = 16  # frames
_AT_ONCE = 64  # frames that a network sees in one call
# What Table 1 of the paper compares: rule of retrieval, context frames if not those of the call, and painter.
_METHODS = (
    ("fov", None, "generator"),
    ("fov_far", None, "generator"),
    ("first", None, "generator"),
    ("first_random", None, "generator"),
    ("recent", None, "generator"),
    ("recent", 13, "packed"),
)


@dataclass(frozen=True)
class Metric:
    """`load` makes the distance; packages and the file of weights that it needs, by its name in torch's cache."""

    load: Callable[[], Distance]
    packages: tuple[str, ...]
    weights: str


def _lpips() -> Distance:
    from torchmetrics.image import LearnedPerceptualImagePatchSimilarity

    network = LearnedPerceptualImagePatchSimilarity(net_type="alex", reduction="mean", normalize=True)

    @torch.no_grad()
    def distance(painted: Tensor, true: Tensor) -> list[float]:
        pairs = zip(painted, true, strict=True)
        return [network(*(part.movedim(-1, 1).float() / 255 for part in pair)).item() for pair in pairs]

    return distance


def _fid() -> Distance:
    from torchmetrics.image.fid import FrechetInceptionDistance

    network = FrechetInceptionDistance(feature=2048)

    @torch.no_grad()
    def distance(painted: Tensor, true: Tensor) -> list[float]:
        network.reset()
        for frames, real in ((painted, False), (true, True)):
            for part in frames.flatten(0, 1).movedim(-1, 1).split(_AT_ONCE):
                network.update(part, real=real)
        return [network.compute().item()]

    return distance


def _fvd() -> Distance:
    from torchvision.models.video import R3D_18_Weights, r3d_18

    weights = R3D_18_Weights.KINETICS400_V1
    network, prepare = r3d_18(weights=weights).eval(), weights.transforms()
    network.fc = torch.nn.Identity()

    @torch.no_grad()
    def features(walks: Tensor) -> Tensor:
        length = min(CLIP, walks.shape[1])
        clips = walks.unfold(1, length, length).flatten(0, 1).permute(0, 4, 3, 1, 2)  # (N, T, C, H, W)
        return torch.cat([network(prepare(clip)[None]) for clip in clips])

    return lambda painted, true: [frechet_distance(features(painted), features(true))]


METRICS = {
    "lpips": Metric(_lpips, ("torchmetrics", "torchvision"), "alexnet-owt-7be5be79.pth"),
    "fid": Metric(_fid, ("torchmetrics", "torch_fidelity"), "weights-inception-2015-12-05-6726825d.pth"),
    "fvd": Metric(_fvd, ("torchvision",), "r3d_18-b3b3357e.pth"),
}


def check_metrics(names: tuple[str, ...]) -> tuple[str, ...]:
    """`names` themselves; ValueError for one that is unknown, or whose packages or weights are not there."""
    for name in names:
        if name not in METRICS:
            raise unknown_name("metrics", name, METRICS)
        metric = METRICS[name]
        missing = [package for package in metric.packages if importlib.util.find_spec(package) is None]
        if missing:
            raise ValueError(
                f"metrics: {name} needs {' and '.join(missing)}, not installed; "
                "pip install 'ctxmem-env[perceptual]', or name other metrics."
            )
        path = Path(torch.hub.get_dir()) / "checkpoints" / metric.weights
        if not path.is_file():
            raise ValueError(
                f"metrics: the weights of {name} are not on this machine; put them at {path}, or name other metrics."
            )
    return names


def perceptual_cases(
    metrics: tuple[str, ...] = tuple(METRICS), num_context: int = 8, tours: tuple[int, ...] = (12,)
) -> list[dict]:
    """A case for each method of the paper's Table 1, and each number of true frames in memory at the start."""
    check_metrics(metrics)
    keys = ("retrieval", "context", "painter", "tour")
    rows = [(name, slots or num_context, painter, tour) for tour in tours for name, slots, painter in _METHODS]
    return [dict(zip(keys, row, strict=True)) for row in rows]


def measure_perceptual(
    generator: Generator,
    seeds: list[int],
    retrieval: str,
    context: int,
    painter: str,
    tour: int,
    metrics: tuple[str, ...] = tuple(METRICS),
    steps: int = 50,
    num_steps: int | None = None,
) -> dict:
    """replay_NAME and loop_NAME of each of `metrics`, over the walks and with the arguments of `measure_retrieval`.

    In replay predictions are compared with true frames, in the loop the way back with the way out.
    """
    check_integer("steps", steps, 4)
    painting, arguments = painter_over(painter, generator), {"num_context": context, "num_steps": num_steps}
    walks, loops = replay_and_loop(tuple(seeds), steps, tour, generator.height, generator.width)
    replayed = follow(painting, walks, True, retrieval=retrieval, **arguments).frames
    own = follow(painting, loops.walks, False, retrieval=retrieval, **arguments).frames
    half = steps // 2  # the way back sees the way out in reverse
    true = walks.frames[:, walks.seeded :]
    pairs = {"replay": (replayed, true), "loop": (own[:, half:-1], own[:, : half - 1].flip(1))}
    loaded = {name: _loaded(name) for name in metrics}
    return {f"{way}_{name}": distance(*pair) for way, pair in pairs.items() for name, distance in loaded.items()}


@functools.cache
def _loaded(name: str) -> Distance:
    return METRICS[name].load()
