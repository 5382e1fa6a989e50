"""Validation while training: one view from true context on scenes of the validation split, and a sheet to look at."""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from ctxmem_env.config import TrainConfig
from ctxmem_env.evaluation.metrics import psnr
from ctxmem_env.evaluation.sheets import save_sheet
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.protocol import Context
from ctxmem_env.training.data import SceneBatches


def validation_batch(config: TrainConfig, height: int, width: int, device: str = "cpu") -> dict[str, Tensor]:
    """One view of each of `validation_scenes` scenes with the whole, clean context that `step` would select."""
    data = dataclasses.replace(
        config.data,
        scenes_per_batch=config.validation_scenes,
        targets_per_scene=1,
        shifted=1.0,
        corrupt=0.0,
        newest_only=0.0,
        nothing=0.0,
        thinned=0.0,
    )
    batch = SceneBatches(data, 0, height, width, split="validation")[0]
    return {name: value.to(device) for name, value in batch.items()}


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
    ratio = (view.depth / batch["depth"][:, 0] - 1).abs()
    figures["depth_median_error"] = ratio.median().item()
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
