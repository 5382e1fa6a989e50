"""Train a generator: one visible loop.

    ctxmem train configs/nano.yaml

Batches are rendered on the fly; a run may be cut off at any time and goes on from its last checkpoint. Several
processes can share it, see `ranks`.
"""

import dataclasses
import inspect
import io
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ctxmem_env.config import TrainConfig
from ctxmem_env.device import resolve_device
from ctxmem_env.errors import unknown_name
from ctxmem_env.generator.flow import add_noise, draw_times, loss_weight
from ctxmem_env.generator.locate import find_generator
from ctxmem_env.generator.lookup import MIN_DEPTH, UNKNOWN
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.store import read_generator, save_generator
from ctxmem_env.generator.transformer import SceneTransformer, beyond_borders
from ctxmem_env.training import ranks
from ctxmem_env.training.adversary import Adversary
from ctxmem_env.training.checkpoint import (
    flatten_optimizer,
    load_checkpoint,
    restore_optimizer,
    save_checkpoint,
)
from ctxmem_env.training.data import SceneBatches, batches, to_float
from ctxmem_env.training.validate import validate, validation_batch

_ARGUMENTS = list(inspect.signature(SceneTransformer.__init__).parameters)[1:]


def rate(step: int, config: TrainConfig) -> float:
    """The learning rate's factor: a short warm-up, a plateau, and a linear fall to zero over the last part."""
    decay_steps = max(1, int(config.num_steps * config.decay_fraction))
    return min(1.0, (step + 1) / config.warmup_steps, (config.num_steps - step) / decay_steps)


def optimizers(model: SceneTransformer, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the transformer's blocks, AdamW for the rest."""
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        inside = "blocks." in name and parameter.ndim == 2 and "modulation" not in name
        (matrices if inside else rest).append(parameter)
    return [
        torch.optim.Muon(
            matrices,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(rest, lr=config.adam_learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay),
    ]


def losses(
    model: SceneTransformer,
    batch: dict[str, Tensor],
    config: TrainConfig,
    generator: torch.Generator,
    adversary: Adversary | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The training loss of one batch and its parts: colour, the network's own colour, log depth.

    Beyond the borders of all remembered frames there are many right answers, and their average is fog: there the
    example that `lookup.extend` gives stands for the truth, and the critic says what else is wrong with it.
    """
    clean = to_float(batch["frames"])
    whole = (ranks.size() * len(clean), *clean.shape[1:])  # drawn for the scenes of all ranks, whatever their number
    t = ranks.share(draw_times(whole[:2], generator)).to(clean.device)
    noise = ranks.share(torch.randn(whole, generator=generator)).to(clean.device)
    context = to_float(batch["context_frames"])
    memory = (
        batch["poses"],
        batch["fov"],
        context,
        batch["context_depth"],
        batch["context_poses"],
        batch["mask"],
    )
    seen = model.look(*memory)
    view = model(add_noise(clean, t, noise), t, *memory, seen=seen)
    weight = loss_weight(t)[..., None, None, None]
    target, target_depth = clean, batch["depth"].clamp(min=MIN_DEPTH).log()
    painted = torch.zeros_like(clean[:, :, :1])
    if seen.hints is not None:
        example, example_depth, beyond = seen.hints[:, :, 5:8], seen.hints[:, :, 8:9], beyond_borders(seen.hints)
        painted = beyond.to(clean)
        target = torch.where(beyond, example, clean)
        target_depth = torch.where((beyond & (example_depth > UNKNOWN))[:, :, 0], example_depth[:, :, 0], target_depth)
        weight = weight * (1 - (1 - config.example_weight) * painted)

    def colour(prediction: Tensor) -> Tensor:
        # Half squared and half absolute error: the first wants the right brightness, the second sharp edges.
        error = prediction - target
        return (weight * (error.square() + 0.2 * error.abs())).mean()

    depth = (view.log_depth - target_depth).abs().mean()
    parts = {"colour": colour(view.frames), "own": colour(view.own), "depth": depth}
    total = parts["colour"] + config.own_weight * parts["own"] + config.depth_weight * depth
    if adversary is not None:
        frames, truth, painted = view.frames.flatten(0, 1), clean.flatten(0, 1), painted.flatten(0, 1)
        (reconstruction,) = torch.autograd.grad(parts["colour"], view.frames, retain_graph=True)
        pull = adversary.pull(frames, truth, painted, reconstruction.flatten(0, 1))
        total = total + config.adversarial_weight * (frames * pull).sum()
        adversary.step(frames, truth, painted)
    return total, {name: value.item() for name, value in parts.items()}


@torch.no_grad()
def repaint_context(
    model: SceneTransformer, batch: dict[str, Tensor], generator: torch.Generator, generations: int = 1
) -> None:
    """Replace every other context frame by the model's own view of it, painted from the remaining ones.

    In further generations the halves take turns, so that copies are made of copies, as a rollout makes them. Only what
    was fetched is replaced: what the model made up is not the true scene, and a target that contradicts its context
    would teach it not to trust its memory.
    """
    for generation in range(generations):
        halves = slice(generation % 2, None, 2), slice((generation + 1) % 2, None, 2)
        _repaint_half(model, batch, generator, *halves)


def _repaint_half(
    model: SceneTransformer, batch: dict[str, Tensor], generator: torch.Generator, half: slice, rest: slice
) -> None:
    frames, poses = to_float(batch["context_frames"]), batch["context_poses"]
    shape = frames[:, half].shape
    noise = ranks.share(torch.randn(ranks.size() * shape[0], *shape[1:], generator=generator)).to(frames.device)
    view = model(
        noise,
        torch.ones(noise.shape[:2], device=noise.device),
        poses[:, half],
        batch["fov"],
        frames[:, rest],
        batch["context_depth"][:, rest],
        poses[:, rest],
        batch["mask"][:, rest],
    )
    fetched = (view.own_weight < 0.3) & (batch["context_depth"][:, half] > 0)  # a frame from outside stays as it came
    painted = ((view.frames + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(2, -1)
    old_frames, old_depth = batch["context_frames"][:, half], batch["context_depth"][:, half]
    batch["context_frames"][:, half] = torch.where(fetched[..., None], painted, old_frames)
    batch["context_depth"][:, half] = torch.where(fetched, view.log_depth.exp(), old_depth)


def train(config: TrainConfig, out: Path, device: str = "cpu", quiet: bool = False) -> dict:
    """Run `config` from the last checkpoint in the folder `out`, or from the beginning; returns the last figures.

    `out` gets latest.safetensors (the checkpoint), log.jsonl, sheet_<step>.png and generator/, the averaged weights of
    the last validation as a folder that `gym.make(..., model=folder)` takes. Of several ranks the first one writes,
    and their number may change when a run is resumed.
    """
    for name in config.model:
        if name not in _ARGUMENTS:
            raise unknown_name("config: model", name, _ARGUMENTS)
    with ranks.joined(resolve_device(device), config.data.scenes_per_batch) as own:
        return _train(config, out, own, quiet)


def _train(config: TrainConfig, out: Path, device: torch.device, quiet: bool) -> dict:
    first = ranks.rank() == 0
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)  # of the initial weights; everything later draws from its own generator
    model = SceneTransformer(**config.model).to(device).to(memory_format=torch.channels_last)
    height, width = model.config.height, model.config.width
    if config.init:
        start = read_generator(find_generator(config.init)).transformer
        for name in _ARGUMENTS:
            if start.config[name] != model.config[name]:
                raise ValueError(
                    f"init={config.init!r} is a model with {name}={start.config[name]}, the config asks for "
                    f"{model.config[name]}; give both the same shape, or leave init out"
                )
        model.load_state_dict(start.state_dict())
    ema = SceneTransformer(**config.model).to(device).requires_grad_(False)
    ema.load_state_dict(model.state_dict())
    adversary = Adversary(device)
    optims = [*optimizers(model, config), adversary.optimizer]
    latest, step, spent, log_bytes = out / "latest.safetensors", 0, 0.0, 0
    checkpoint = ranks.from_first(lambda: load_checkpoint(latest) if latest.exists() else None)
    if checkpoint is not None:
        tensors, facts = checkpoint
        if facts["model"] != dict(config.model):
            raise ValueError(
                f"checkpoint: {latest} holds a model of {facts['model']}, the config asks for {dict(config.model)}; "
                "use another output folder"
            )
        model.load_state_dict({n[6:]: v for n, v in tensors.items() if n.startswith("model.")})
        ema.load_state_dict({n[4:]: v for n, v in tensors.items() if n.startswith("ema.")})
        adversary.critic.load_state_dict({n[7:]: v for n, v in tensors.items() if n.startswith("critic.")})
        for i, optimizer in enumerate(optims):
            restore_optimizer(optimizer, tensors, f"optimizer{i}")
        step, spent, log_bytes = facts["step"], facts["seconds"], facts.get("log_bytes")
    forward = torch.compile(model) if config.compile else model
    validation = validation_batch(config, height, width, device) if first else None
    mine = slice(ranks.rank(), None, ranks.size())
    dataset = SceneBatches(config.data, config.seed, height, width, mine=mine)
    autocast = torch.autocast(device.type, torch.bfloat16) if config.precision == "bfloat16" else nullcontext()
    began, figures = time.monotonic() - spent, {}
    with (
        (out / "log.jsonl").open("a") if first else io.StringIO() as log,
        tqdm(
            total=config.num_steps, initial=step, disable=quiet or not first, desc=config.name, dynamic_ncols=True
        ) as bar,
    ):
        log.truncate(log_bytes)  # records after the checkpoint will be written again
        for batch in batches(dataset, step, config.num_steps, config.data.workers):
            batch = {name: value.to(device) for name, value in batch.items()}
            rng = torch.Generator().manual_seed(config.seed * 2**32 + step)
            for optimizer, base in zip(optims[:2], (config.learning_rate, config.adam_learning_rate), strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = base * rate(step, config)
            with autocast:
                if step >= config.self_context_from and torch.rand((), generator=rng) < config.self_context:
                    deepest = config.self_context_generations
                    repaint_context(forward, batch, rng, int(torch.randint(1, deepest + 1, (), generator=rng)))
                critic = adversary if config.adversarial_weight and step >= config.adversarial_from else None
                loss, parts = losses(forward, batch, config, rng, critic)
            (loss / ranks.size()).backward()
            ranks.sum_gradients(model.parameters())
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
            if not norm < float("inf"):
                raise FloatingPointError(
                    f"the gradient at step {step} is not finite; the last checkpoint, {latest}, is intact: "
                    "resume it with a smaller learning_rate"
                )
            for optimizer in optims[:2]:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            decay = min(config.ema_decay, (step + 1) / (step + 10))
            with torch.no_grad():
                torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)
            step += 1
            bar.update()
            last = step == config.num_steps
            seconds = time.monotonic() - began
            logs = step % 20 == 0 or last
            if logs:
                parts = ranks.means(parts)
            if not first:
                continue
            if logs:
                bar.set_postfix({name: f"{value:.4f}" for name, value in parts.items()})
                record = {"step": step, "seconds": round(seconds, 1), "norm": round(norm, 3), **parts}
                log.write(json.dumps(record) + "\n")
            if step % config.validate_every == 0 or last:
                generator = SceneGenerator(ema)
                save_generator(generator, out / "generator")
                figures = validate(generator, validation, out / f"sheet_{step:06d}.png")
                log.write(json.dumps({"step": step, "seconds": round(seconds, 1), "validation": figures}) + "\n")
                log.flush()
                note = f"step {step}: " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
                bar.write(note, file=sys.stderr)
            if step % config.checkpoint_every == 0 or last:
                tensors = {f"model.{n}": v for n, v in model.state_dict().items()}
                tensors |= {f"ema.{n}": v for n, v in ema.state_dict().items()}
                tensors |= {f"critic.{n}": v for n, v in adversary.critic.state_dict().items()}
                for i, optimizer in enumerate(optims):
                    tensors |= flatten_optimizer(optimizer, f"optimizer{i}")
                log.flush()
                facts = {"step": step, "seconds": seconds, "log_bytes": log.tell(), "model": dict(config.model)}
                save_checkpoint(latest, tensors, facts | {"config": dataclasses.asdict(config)})
    return ranks.from_first(lambda: {"steps": step, "seconds": round(time.monotonic() - began, 1), **figures})
