"""Validation while training: one view from true context on scenes of the validation split, and a sheet to look at."""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from ctxmem_env.config import DataConfig, TrainConfig
from ctxmem_env.evaluation.metrics import psnr
from ctxmem_env.evaluation.sheets import save_sheet
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.protocol import Context
from ctxmem_env.training.captures import CaptureBatches
from ctxmem_env.training.data import SceneBatches

_CAPTURED = 8  # views of captures; the depth of their contexts is estimated frame by frame


def validation_batch(config: TrainConfig, height: int, width: int, device: str = "cpu") -> dict[str, Tensor]:
    """One view of each of `validation_scenes` scenes with the whole, clean context that `step` would select."""
    batch = SceneBatches(_clean(config, config.validation_scenes), 0, height, width, split="validation")[0]
    return {name: value.to(device) for name, value in batch.items()}


def _clean(config: TrainConfig, scenes: int, **changes: float) -> DataConfig:
    shares = dict.fromkeys(("corrupt", "newest_only", "nothing", "thinned"), 0.0) | {"shifted": 1.0} | changes
    return dataclasses.replace(config.data, scenes_per_batch=scenes, targets_per_scene=1, **shares)


def validation_batches(config: TrainConfig, height: int, width: int, device: str = "cpu") -> dict[str, dict]:
    """Of scenes, and of the last tenth of captures where the config names some, by what their figures begin with."""
    found = {"": validation_batch(config, height, width, device)}
    if config.data.captures:
        batch = CaptureBatches(_clean(config, _CAPTURED, outside=0.0), 0, height, width, split="validation")[0]
        found["captured_"] = {name: value.to(device) for name, value in batch.items()}
    return found


def validate_all(generator: SceneGenerator, batches: dict[str, dict], sheet: Path) -> dict[str, float]:
    """What `validate` finds in each of the batches; the sheet is of the first one, and others have their name in it."""
    figures = {}
    for name, batch in batches.items():
        own = {"context_depth": estimated_depth(generator, batch)} if name else {}
        path = sheet.with_name(name + sheet.name)
        figures |= {name + figure: value for figure, value in validate(generator, batch | own, path).items()}
    return figures


@torch.no_grad()
def estimated_depth(generator: SceneGenerator, batch: dict[str, Tensor]) -> Tensor:
    """The depth of context frames, estimated as an environment does where a scene's frames come without."""
    depth = batch["context_depth"].clone()
    for frames, own, poses, mask, fov in zip(
        batch["context_frames"], depth, batch["context_poses"], batch["mask"], batch["fov"], strict=True
    ):
        slots = mask.nonzero()[:, 0].flip(0)
        if len(slots) and not bool((own[slots] > 0).any()):
            own[slots] = generator.estimate_depth(frames[slots], poses[slots], fov.expand(len(slots)))
    return depth


def validate(generator: SceneGenerator, batch: dict[str, Tensor], sheet: Path | None = None) -> dict[str, float]:
    """Mean PSNR in dB with 1, 2 and 4 steps and of two copies, and the median relative depth error."""
    context = Context(batch["context_frames"], batch["context_depth"], batch["context_poses"], batch["mask"])
    truth, figures = batch["frames"][:, 0], {}
    for num_steps in (1, 4, 2):
        generators = [torch.Generator().manual_seed(i) for i in range(len(truth))]
        view = generator.generate(batch["poses"][:, 0], context, batch["fov"], num_steps, generators)
        figures[f"psnr_{num_steps}_steps"] = psnr(view.frames, truth).mean().item()
    best = batch["overlap"].argmax(1)
    copies = context.frames[torch.arange(len(best)), best]
    figures["psnr_copy_newest"] = psnr(context.frames[:, 0], truth).mean().item()
    figures["psnr_copy_best"] = psnr(copies, truth).mean().item()
    known = batch["depth"][:, 0] > 0
    ratio = (view.depth / batch["depth"][:, 0] - 1).abs()
    if known.any():
        figures["depth_median_error"] = ratio[known].median().item()
    figures["own_share"] = view.own_weight.mean().item()
    if sheet is not None:
        rows = [
            copies,
            view.frames,
            truth,
            _grey(view.depth),
            _grey(batch["depth"][:, 0]),
            _grey(view.own_weight * 8),
        ]
        save_sheet(sheet, [row[:16].cpu() for row in rows])
    return figures


def _grey(depth: Tensor) -> Tensor:
    """Depth (N, H, W) as uint8 frames, 0 to 8 m from black to white."""
    return (depth / 8 * 255).clamp(0, 255).to(torch.uint8)[..., None].expand(-1, -1, -1, 3)
