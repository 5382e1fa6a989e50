"""New content: does what no frame has seen look like the true scenes, whatever it shows?

A world opens with one true frame. The camera turns by 180 degrees and walks on, and what it sees from 90 degrees on is
nothing that the first frame shows; what it walks into are places that it made up itself when it turned. There are many
right answers, so frames are compared as sets: by the Frechet distance in the features of a small network, and by
gradients and colours.
"""

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.errors import unknown_name
from ctxmem_env.evaluation.features import features_of, frechet_distance, load_features
from ctxmem_env.evaluation.metrics import appearance, student_quantile
from ctxmem_env.evaluation.paths import unseen_walk
from ctxmem_env.evaluation.protocols import Walks, follow
from ctxmem_env.generator import Generator
from ctxmem_env.scenes import build_scene, render, stack_scenes

_STEPS = 12  # turns, and then steps ahead
_UNSEEN = 6  # steps of 15 degrees after which the fields of view, 90 degrees wide, no longer overlap
_RESAMPLED = 200  # draws of scenes for an interval
_SETS = ("generated", "true", "other")
_PARTS = {"turn": slice(_UNSEEN - 1, _STEPS), "ahead": slice(_STEPS, 2 * _STEPS)}


def new_content_cases() -> list[dict]:
    """A case for what the turn brings into view, and one for the way ahead."""
    return [{"part": part} for part in _PARTS]


def measure_new_content(
    generator: Generator,
    seeds: list[int],
    part: str,
    num_context: int = 8,
    num_steps: int | None = None,
) -> dict:
    """The unseen frames of one walk in each of the scenes: `metrics.appearance` against the true frames there.

    `_generated`, `_true` and `_other` hold the features (n, frames, d) of these frames, of the true frames from the
    same poses, and of true frames of another such walk in the same scenes; `combine_new_content` makes the distances
    of them. `_sheet`: each walk from its seed on, above the truth.

    Args:
        part: "turn" or "ahead", whose frames are compared.
        num_context: context slots.
        num_steps: denoising steps; None for the generator's default.
    """
    if part not in _PARTS:
        raise unknown_name("part", part, _PARTS)
    walks, other = (_walks(seeds, generator, number) for number in range(2))
    walked = follow(generator, walks, replay=False, num_context=num_context, num_steps=num_steps)
    sets = [frames[:, _PARTS[part]] for frames in (walked.frames, walks.frames[:, 1:], other.frames[:, 1:])]
    network = load_features()
    features = [features_of(network, part.flatten(0, 1)).unflatten(0, part.shape[:2]) for part in sets]
    looks = [appearance(painted, true) for painted, true in zip(*sets[:2], strict=True)]
    shown = list(range(1, 2 * _STEPS, 2))
    rows = [
        torch.cat([walks.frames[i, :1], row[i, shown]])
        for i in range(min(len(seeds), 8))
        for row in (walked.frames, walks.frames[:, 1:])
    ]
    values = {name: [look[name] for look in looks] for name in looks[0]}
    values |= {f"_{name}": part.tolist() for name, part in zip(_SETS, features, strict=True)}
    return values | {"_sheet": rows}


def combine_new_content(values: dict) -> dict[str, tuple[float, float]]:
    """Distances between sets of frames, each with the half width of its 95 % interval, scenes drawn anew 200 times.

    frechet: generated frames against true ones from the same poses, 0 for a perfect generator; frechet_other: generated
    ones against true ones of another walk in the same scenes; frechet_true: true ones of the two walks, what sets of
    this size differ by that are equally real.
    """
    generated, true, other = (torch.tensor(values[f"_{name}"], dtype=torch.float64) for name in _SETS)
    pairs = {"frechet": (generated, true), "frechet_other": (generated, other), "frechet_true": (true, other)}
    return {name: _distance_interval(*pair) for name, pair in pairs.items()}


def _distance_interval(one: Tensor, other: Tensor) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(_RESAMPLED):
        rows = rng.integers(0, len(one), len(one))
        draws.append(frechet_distance(one[rows].flatten(0, 1), other[rows].flatten(0, 1)))
    half = student_quantile(len(one) - 1) * float(np.std(draws))
    return frechet_distance(one.flatten(0, 1), other.flatten(0, 1)), half


def _walks(seeds: list[int], generator: Generator, number: int) -> Walks:
    scenes, poses = [build_scene(seed) for seed in seeds], []
    for scene, seed in zip(scenes, seeds, strict=True):
        poses.append(unseen_walk(scene, np.random.default_rng([seed, number]), _STEPS))
    poses = torch.stack(poses).float()
    frames, depth = render(stack_scenes(scenes), poses, DEFAULT_FOV, generator.height, generator.width)
    return Walks(frames, depth, poses, 1, list(seeds))
