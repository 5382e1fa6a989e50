"""Train the network of `ctxmem_env.generator.frame_depth` on true frames of the training split, in disguise.

    python -m ctxmem_env.training.frame_depth

writes the packaged weights anew and prints one line of JSON; with `--init`, a file of such weights, it goes on from
them, on other views where `--seed` is another. A place that nobody of this package made has other walls, other sizes
and another light than the styles of training. So half of the scenes are halls of many heights (`training.sectors`),
scenes are stretched, their surfaces get any texture and any colours, eyes stand higher or lower, and pictures are
tinted, dimmed with distance, blurred and grained.
"""

import argparse
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import Dataset
from tqdm import tqdm

from ctxmem_env.camera import focal
from ctxmem_env.errors import check_integer
from ctxmem_env.generator.frame_depth import SIZE, WEIGHTS, FrameDepth, load_frame_depth
from ctxmem_env.half_file import save_half
from ctxmem_env.scenes import Scene, build_scene, random_walk, render, spawn, split_seeds, stack_scenes, tour
from ctxmem_env.scenes.textures import TEXTURES
from ctxmem_env.training.data import batches, to_float
from ctxmem_env.training.sectors import sectors

_SCENES, _VIEWS = 8, 8  # of a batch
_SECTORS = 0.5  # of the scenes that are disguised
_NUM_TEXTURES = TEXTURES["mosaic"][0]  # those after are of styles that are held out
_FURTHEST = 60.0  # metres
_MIRROR = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])  # of a pose, where left and right change places


class DisguisedFrames(Dataset):
    """Batch `number` of a run, 8 views of each of 8 scenes, as `FrameDepth` takes them.

    Scenes are of a split; where they are disguised half of them are halls (`training.sectors`), which are in none, but
    other ones for each split.

    pictures (8, 8, 3, 64, 64) in [-1, 1], spread (8, 8, 2), poses (8, 8, 6), log_depth (8, 8, 64, 64).
    """

    def __init__(self, seed: int, split: str = "train", disguised: bool = True) -> None:
        self.seed, self.seeds, self.disguised = seed, split_seeds(split), disguised

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, number, int(self.seeds[0])])
        scenes, poses, fov = [], [], []
        for _ in range(_SCENES):
            if self.disguised and rng.random() < _SECTORS:
                scene, views = sectors(_VIEWS, rng)
            else:
                scene = build_scene(int(self.seeds[rng.integers(len(self.seeds))]))
                views = _views(scene, rng)
            if self.disguised:
                scene, views = disguise(scene, views, rng)
            scenes.append(scene)
            poses.append(views)
            fov.append(90.0 if rng.random() < 0.3 else rng.uniform(45, 100))
        angles, poses = torch.tensor(fov, dtype=torch.float32), torch.stack(poses)
        frames, depth = render(stack_scenes(scenes), poses, angles, SIZE, SIZE)
        pictures, depth = to_float(frames), depth.clamp(0.05, _FURTHEST)
        if self.disguised:
            pictures = _developed(pictures, depth, rng)
            for scene in np.flatnonzero(rng.random(_SCENES) < 0.5):
                pictures[scene], depth[scene] = pictures[scene].flip(-1), depth[scene].flip(-1)
                poses[scene] *= _MIRROR
        spread = (1 / focal(angles))[:, None, None].expand(-1, _VIEWS, 2)
        return {"pictures": pictures, "spread": spread, "poses": poses, "log_depth": depth.log()}


def _views(scene: Scene, rng: np.random.Generator) -> Tensor:
    """Poses (8, 6): a turn on the spot, where worlds open, or looks from a walk."""
    if rng.random() < 0.5:
        start = spawn(scene, rng) if rng.random() < 0.5 else random_walk(scene, 12, rng)[-1]
        poses = tour(scene, _VIEWS, rng, start).float()
        if rng.random() < 0.4:  # a part of the way around, as captures have it
            poses[:, 3] = poses[-1, 3] + torch.arange(_VIEWS) * rng.uniform(0.1, 0.8)
        return poses
    return random_walk(scene, 12 * _VIEWS, rng)[rng.integers(12) :: 12][:_VIEWS].float()


def disguise(scene: Scene, poses: Tensor, rng: np.random.Generator) -> tuple[Scene, Tensor]:
    """A scene of other sizes, surfaces and light, and poses (n, 6) at the same places in it, higher or lower."""
    parts = {field.name: getattr(scene, field.name).clone() for field in dataclasses.fields(scene)}
    poses = poses.clone()
    wide = float(np.exp(rng.uniform(-0.1, 1.0))) if rng.random() < 0.6 else 1.0
    high = float(np.exp(rng.uniform(-0.1, 0.7))) if rng.random() < 0.6 else 1.0
    factors = torch.tensor([wide, wide, high])
    for name in ("centre", "half"):
        parts[name] *= factors
    parts["room_box"] *= factors.repeat(2)
    parts["room_lamp"][:, :3] *= factors
    parts["door"][:, :2] *= wide
    parts["bounds"] *= wide
    poses[:, :2] *= wide
    poses[:, 2] = 1.5 * float(np.exp(0.18 * rng.standard_normal()))
    if rng.random() < 0.5:
        poses[:, 4] += torch.from_numpy(0.15 * rng.standard_normal(len(poses)))
    if rng.random() < 0.7:
        count = len(parts["material_scale"])
        spans = parts["material_scale"] == 0  # pictures and doors stay what they are
        texture = torch.from_numpy(rng.integers(_NUM_TEXTURES, size=count))
        parts["material_texture"] = torch.where(spans, parts["material_texture"], texture)
        parts["material_scale"] *= torch.from_numpy(np.exp(rng.uniform(-0.8, 0.8, count))).float()
        changed = torch.from_numpy(rng.random(count) < 0.8)
        parts["material_colours"][changed] = _palettes(count, rng)[changed]
    if rng.random() < 0.5:
        parts["room_light"] *= torch.from_numpy(rng.uniform(0.5, 1.1, (len(parts["room_light"]), 1))).float()
        parts["room_lamp"][:, 3] *= float(rng.uniform(0.2, 2.0))
        parts["sky"] = torch.from_numpy(rng.random((3, 3))).float()
    return Scene(**parts), poses


def _palettes(count: int, rng: np.random.Generator) -> Tensor:
    """Three colours each (count, 3, 3): one of any hue, seldom a bright one, and others more or less like it."""
    base = rng.random((count, 1, 1)) ** 0.7 + rng.uniform(0, 0.35, (count, 1, 1)) * rng.standard_normal((count, 1, 3))
    others = base + rng.uniform(0, 0.4, (count, 1, 1)) * rng.standard_normal((count, 3, 3))
    return torch.from_numpy(others.clip(0, 1)).float()


def _developed(pictures: Tensor, depth: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures (S, V, 3, H, W), as another camera and another air would show those of each scene."""
    n, views = pictures.shape[:2]
    pictures, depth = pictures.flatten(0, 1), depth.flatten(0, 1)

    def some(share: float, values: np.ndarray, otherwise: float) -> Tensor:
        return each(np.where(rng.random(n) < share, values, otherwise))[:, None, None, None]

    def each(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).float().repeat_interleave(views, 0)

    def one(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, n)

    x = (pictures + 1) / 2
    haze = each(rng.random((n, 3)) * rng.integers(0, 2, (n, 1)))[:, :, None, None]  # dark, a half
    clear = (-depth[:, None] / some(0.3, np.exp(one(1.8, 4.0)), 1e6)).exp()
    x = haze + clear * (x - haze)
    grey = x.mean(1, keepdim=True)
    x = grey + some(0.6, one(0, 1.6), 1.0) * (x - grey)
    mixed = torch.eye(3) + each(0.25 * rng.standard_normal((n, 3, 3)) * (rng.random((n, 1, 1)) < 0.4))
    x = torch.einsum("nij,njhw->nihw", mixed, x)
    x = x.clamp(0, 1) ** some(0.7, np.exp(0.35 * rng.standard_normal(n)), 1.0)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + some(0.5, one(0.5, 1.5), 1.0) * (x - mean) + some(0.5, 0.1 * rng.standard_normal(n), 0.0)
    blurred = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    x = x + some(0.3, one(-0.8, 1.0), 0.0) * (blurred - x)
    x = x + some(0.5, one(0, 0.05), 0.0) * torch.from_numpy(rng.standard_normal(x.shape).astype(np.float32))
    return ((x.clamp(0, 1) * 255).round() / 127.5 - 1).unflatten(0, (n, views))


def depth_loss(found: Tensor, doubt: Tensor, true: Tensor) -> Tensor:
    """The mean error of log depth (..., H, W), with that of its differences between neighbours, near and further.

    The error counts less where `doubt`, the log of its expected size, says that it cannot be helped (a Laplace
    distribution's likelihood).
    """
    error = (found - true).clamp(-3, 3)
    error, doubt = error.flatten(0, -3), doubt.flatten(0, -3)
    loss = 0.5 * error.abs().mean() + 0.5 * (error.abs() * (-doubt).exp() + doubt).mean()
    for _ in range(3):
        loss = loss + 0.5 * sum(error.diff(dim=side).abs().mean() for side in (1, 2))
        error = F.avg_pool2d(error[:, None], 2)[:, 0]
    return loss


@torch.no_grad()
def _validate(network: FrameDepth, dataset: Dataset, count: int) -> float:
    """Median absolute error of log depth."""
    errors = []
    for number in range(count):
        batch = dataset[number]
        errors.append((network(**_given(batch))[0] - batch["log_depth"]).abs().flatten())
    return torch.cat(errors).median().item()


def train_frame_depth(
    out: str | Path = WEIGHTS,
    steps: int = 6000,
    workers: int = 1,
    seed: int = 0,
    learning_rate: float = 6e-4,
    init: str | Path | None = None,
    precision: str = "bfloat16",
    validation_batches: int = 8,
    quiet: bool = False,
) -> dict:
    """Train on `steps` batches of 64 views, and write the weights, a running mean of them, in half precision.

    Args:
        out: safetensors file.
        workers: processes that render; 0 for this one.
        seed: of the weights, and of which scenes are seen from where.
        learning_rate: the highest; it rises at first and falls as a cosine.
        init: a file of weights to begin with; None for random ones.
        precision: "bfloat16" or "float32".

    Returns the median errors of log depth on scenes of the validation split as they are, and on disguised views: of
    such scenes and of halls that training has not seen.

    Raises:
        ValueError: no steps, or `init` is no file of such weights.
    """
    check_integer("steps", steps, 1)
    check_integer("validation_batches", validation_batches, 1)
    torch.manual_seed(seed)
    network = FrameDepth() if init is None else load_frame_depth(init).train().requires_grad_(True)
    network = network.to(memory_format=torch.channels_last)
    mean = torch.optim.swa_utils.AveragedModel(network, avg_fn=_mean_of_late)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0.02)
    warmup = min(100, steps)

    def rate(step: int) -> float:
        return min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * min(step / steps, 1))) + 0.01)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    data = batches(DisguisedFrames(seed), range(steps), workers)
    held = {name: DisguisedFrames(seed, "validation", name == "disguised") for name in ("plain", "disguised")}
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    bar = tqdm(data, disable=quiet, desc="frame depth", unit="step")
    for step, batch in enumerate(bar, 1):
        # The fused attention's way back is slow where there are few tokens.
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"), sdpa_kernel(SDPBackend.MATH):
            found = network(**_given(batch))
        loss = depth_loss(*(part.float() for part in found), batch["log_depth"])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean.update_parameters(network)
        if step % 500 == 0 or step == steps:
            save_half(mean.module, out)
            bar.set_postfix({"loss": round(loss.item(), 3)} | _told(mean.module, held, 2))
    return {"out": str(out), "steps": steps, **_told(mean.module, held, validation_batches)}


def _given(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if name != "log_depth"}


def _mean_of_late(mean: Tensor, now: Tensor, count: Tensor) -> Tensor:
    """A running mean of weights over some hundreds of steps, and early on over the last tenth of all."""
    return mean + (now - mean) * max(0.003, 9 / (10 + int(count)))


def _told(network: FrameDepth, held: dict[str, Dataset], count: int) -> dict[str, float]:
    return {f"{name}_error": round(_validate(network, dataset, count), 3) for name, dataset in held.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=WEIGHTS, help="safetensors file")
    parser.add_argument("--steps", type=int, default=6000, help="batches of 64 views")
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=6e-4)
    parser.add_argument("--init", help="weights to begin with")
    arguments = vars(parser.parse_args())
    torch.set_num_threads(arguments.pop("threads"))
    print(json.dumps(train_frame_depth(**arguments)))


if __name__ == "__main__":
    main()
