"""`ctxmem bench train`: targets a second of a training step, and where its time goes. Batches are rendered before."""

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ctxmem_env.bench.machine import MatrixRates, achieved, describe
from ctxmem_env.bench.measure import Stopwatch, count_flops
from ctxmem_env.config import TrainConfig, load_config
from ctxmem_env.device import resolve_device
from ctxmem_env.errors import check_integer
from ctxmem_env.generator import load_generator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.training.adversary import Adversary
from ctxmem_env.training.data import SceneBatches
from ctxmem_env.training.run import autocast, optimizers, precision
from ctxmem_env.training.train import losses, repaint_context

PARTS = ("repainting", "forward", "backward", "update")
# What a step of a run may hold beside the loss of one batch: whether the context is repainted, whether a critic pulls.
CASES = {"plain": (False, False), "own frames as context": (True, False), "critic": (False, True)}
_SEED = 0


class Trainer:
    """A model at its beginning, and the step of `training.train` in parts that a stopwatch times."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.watch, self.config, self.device = Stopwatch(), config, device
        with torch.random.fork_rng():
            torch.manual_seed(_SEED)
            self.model = SceneTransformer(**config.model).to(device).to(memory_format=torch.channels_last)
            self.average = SceneTransformer(**config.model).to(device).requires_grad_(False)
            self.critic = Adversary(device)
        self.optimizers = optimizers(self.model, config)
        self._autocast = autocast(config, device)
        self._forward = torch.compile(self.model) if config.compile else self.model

    def step(self, batch: dict[str, Tensor], repaint: bool, critic: bool) -> np.ndarray:
        """Milliseconds of `PARTS`."""
        self.watch.seconds.clear()
        batch = {name: value.to(self.device, copy=True) for name, value in batch.items()}
        drawn = torch.Generator().manual_seed(_SEED)
        with self._autocast:
            if repaint:
                self.watch.timed("repainting", repaint_context)(self._forward, batch, drawn)
            adversary = self.critic if critic else None
            loss, _ = self.watch.timed("forward", losses)(self._forward, batch, self.config, drawn, adversary)
        self.watch.timed("backward", loss.backward)()
        self.watch.timed("update", self._update)()
        return 1000 * np.array([self.watch.seconds[part] for part in PARTS])

    def _update(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            weights = list(self.average.parameters()), list(self.model.parameters())
            torch._foreach_lerp_(*weights, 1 - self.config.ema_decay)

    def flops(self, batch: dict[str, Tensor]) -> int:
        """Floating-point operations of the loss of a batch and its gradient."""
        batch = {name: value.to(self.device) for name, value in batch.items()}

        def once() -> None:
            with self._autocast:
                loss, _ = losses(self.model, batch, self.config, torch.Generator().manual_seed(_SEED))
            loss.backward()

        flops = count_flops(once)
        self.model.zero_grad(set_to_none=True)
        return flops


def packaged_settings() -> TrainConfig:
    """Those of a run that would go on training the packaged model."""
    shape = load_generator("nano", "cpu").transformer.config
    return TrainConfig(model={name: value for name, value in shape.items() if not name.startswith("_")})


def bench_train(
    config: str | Path | None = None,
    repeats: int = 5,
    steps: int = 2,
    threads: int = 1,
    device: str = "auto",
    quiet: bool = False,
) -> dict:
    """Times `steps` training steps of each of `CASES`, in turn, `repeats` times.

    The figures of a case are those of its median round.

    Args:
        config: a YAML file as `ctxmem train` takes; None for the packaged model's shape and batch.

    Returns:
        config, its name; precision, parameters, targets of a batch, num_context, machine, matrix_gflops; cases, a list
        with case, targets_per_second, step_ms and the parts that it is the sum of, repainting_ms, forward_ms,
        backward_ms and update_ms; of the plain case network_gflop, what the network calculates forwards and
        backwards, and gflops and matrix_share, its rate in these two parts, in all and as a share of matrix_gflops;
        rendering_ms of one batch on the CPU, which training does in other processes.

    Raises:
        ValueError: a number below 1, an unknown device, or a configuration that is not one.
    """
    repeats, steps = check_integer("repeats", repeats, 1), check_integer("steps", steps, 1)
    torch.set_num_threads(check_integer("threads", threads, 1))
    place = resolve_device(device)
    settings = packaged_settings() if config is None else load_config(TrainConfig, config)
    trainer = Trainer(settings, place)
    shape = trainer.model.config
    dataset = SceneBatches(settings.data, _SEED, shape.height, shape.width)
    rates, flops = MatrixRates(place), trainer.flops(dataset[0])
    rounds, rendering = [], []
    for number in tqdm(range(repeats + 1), desc="bench train", unit="round", dynamic_ncols=True, disable=quiet):
        began = time.perf_counter()
        batch = dataset[number]
        rendering.append(1000 * (time.perf_counter() - began))
        rates.read()
        measured = [[trainer.step(batch, *case) for case in CASES.values()] for _ in range(steps)]
        rounds.append(np.mean(measured, axis=0))
    matrix_gflops, rounds = rates.medians(), np.array(rounds[1:])  # the first makes what later ones use
    targets = settings.data.scenes_per_batch * settings.data.targets_per_scene
    cases = []
    for name, measured in zip(CASES, rounds.swapaxes(0, 1), strict=True):
        parts = measured[np.argsort(measured.sum(1))[(repeats - 1) // 2]].tolist()
        case = {"case": name, "targets_per_second": round(1000 * targets / sum(parts), 2)}
        case |= {"step_ms": round(sum(parts), 2)}
        case |= {f"{part}_ms": round(value, 2) for part, value in zip(PARTS, parts, strict=True)}
        if name == "plain":
            case |= {"network_gflop": round(1e-9 * flops, 3)}
            case |= achieved(flops, (parts[1] + parts[2]) / 1000, matrix_gflops)
        cases.append(case)
    return {
        "bench": "train",
        "config": settings.name,
        "precision": str(precision(settings, place)).removeprefix("torch."),
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "targets": targets,
        "num_context": settings.data.num_context,
        "machine": describe(),
        "matrix_gflops": matrix_gflops,
        "cases": cases,
        "rendering_ms": round(float(np.median(rendering[1:])), 2),
    }
