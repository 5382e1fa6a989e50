"""Train an adapter of Wan: one visible loop, under accelerate.

    ctxmem train configs/wan_tiny.yaml
    accelerate launch -m ctxmem_env train configs/wan_1_3b.yaml

What is trained is the camera encoder, and LoRA or all weights beside it. A run that was cut off goes on from its last
checkpoint. How many processes there are, and whether they shard the weights (FSDP 2, with `ContextBlock` as the class
to wrap and FULL_STATE_DICT), is accelerate's configuration; with FSDP a checkpoint holds no moments of the optimiser.
accelerate shards on accelerators alone: processes on CPUs each keep the whole.
"""

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from ctxmem_env.device import resolve_device
from ctxmem_env.generator.wan.folders import Base, Found, find_wan
from ctxmem_env.generator.wan.generator import WanGenerator
from ctxmem_env.generator.wan.options import TEMPORAL
from ctxmem_env.generator.wan.store import add_lora, build, check_base, is_adapter, make_base, save_adapter
from ctxmem_env.generator.wan.transformer import ContextTransformer, camera_numbers
from ctxmem_env.training.checkpoint import flatten_optimizer, load_checkpoint, restore_optimizer, save_checkpoint
from ctxmem_env.training.wan_config import WanTrainConfig
from ctxmem_env.training.wan_data import CaptureClips, SceneClips


def velocity_loss(generator: WanGenerator, model: torch.nn.Module, batch: dict, rng: torch.Generator) -> Tensor:
    """Mean squared error of the velocity, at times that are drawn as the sampler visits them.

    model: the transformer of `generator`, as accelerate has wrapped it.
    """
    clean = generator.to_latents(batch["frames"])
    context = generator.to_latents(batch["context_frames"].flatten(0, 1)[:, None])[:, :, 0]
    context = context.unflatten(0, batch["mask"].shape).transpose(1, 2)
    u, shift = torch.rand(len(clean), generator=rng).to(clean.device), generator.options.flow_shift
    t = shift * u / (1 + (shift - 1) * u)
    noise = torch.randn(clean.shape, generator=rng).to(clean.device)
    at = t.view(-1, 1, 1, 1, 1)
    cameras = camera_numbers(batch["poses"][:, ::TEMPORAL], batch["context_poses"]).to(clean.device)
    text = generator.prompts(batch["prompt"])
    velocity = model((1 - at) * clean + at * noise, t, text, cameras, context, batch["mask"].to(clean.device))
    return F.mse_loss(velocity, noise - clean)


def train_wan(config: WanTrainConfig, out: Path, device: str = "cpu", quiet: bool = False) -> dict:
    """Run `config` from the last checkpoint in the folder `out`, or from the beginning; returns the last figures.

    `out` gets latest.safetensors (the checkpoint), log.jsonl and adapter/, a folder for `model="wan:..."`; and base/,
    where the config names none.
    """
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise ImportError('training Wan needs accelerate; run `pip install "ctxmem-env[large]"`.') from error
    accelerator = Accelerator(mixed_precision=config.precision, cpu=resolve_device(device).type == "cpu")
    data = CaptureClips(config) if config.captures else SceneClips(config)
    out.mkdir(parents=True, exist_ok=True)
    with accelerator.main_process_first():
        base = open_base(config, out)
    check_base(base)
    generator = build(Found(base, None), accelerator.device)
    generator.options = config.use
    transformer = prepare(generator.transformer, config)
    learning = [p for p in transformer.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=config.learning_rate, weight_decay=config.weight_decay)
    latest, step, spent = out / "latest.safetensors", 0, 0.0
    if latest.exists():
        tensors, facts = load_checkpoint(latest)
        if facts["shape"] != _shape(config):
            raise ValueError(f"checkpoint: {latest} is of {facts['shape']}, not {_shape(config)}; use another folder.")
        transformer.load_state_dict({n[6:]: v for n, v in tensors.items() if n.startswith("model.")}, strict=False)
        step, spent = facts["step"], facts["seconds"]
    model, wrapped = accelerator.prepare(transformer, optimizer)
    parameters = [p for p in model.parameters() if p.requires_grad]  # shards, where FSDP made some
    sharded = accelerator.distributed_type.name == "FSDP"
    if step and not sharded:
        restore_optimizer(optimizer, tensors, "optimizer")
    began, loss = time.monotonic() - spent, None
    numbers = range(step * config.batch_size, config.num_steps * config.batch_size)
    mine = [n * accelerator.num_processes + accelerator.process_index for n in numbers]
    batches = DataLoader(
        data,
        config.batch_size,
        sampler=mine,
        num_workers=config.workers,
        multiprocessing_context="forkserver" if config.workers else None,
    )
    bar = tqdm(
        total=config.num_steps,
        initial=step,
        disable=quiet or not accelerator.is_main_process,
        desc=config.name,
        dynamic_ncols=True,
    )
    for batch in batches:
        # A last number above 0, for NumPy takes [seed, step, 0] as [seed, step], which draws a clip.
        own = np.random.default_rng([config.seed, step, 1 + accelerator.process_index])
        rng = torch.Generator().manual_seed(int(own.integers(2**62)))
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * min(1.0, (step + 1) / config.warmup_steps)
        if not base.takes_text:
            batch["prompt"] = [""] * len(batch["prompt"])
        with accelerator.autocast():
            loss = velocity_loss(generator, model, batch, rng)
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(parameters, 1.0)
        if not float(norm) < float("inf"):
            raise FloatingPointError(
                f"the gradient at step {step} is not finite; the last checkpoint, {latest}, is intact: resume it with "
                "a smaller learning_rate"
            )
        wrapped.step()
        wrapped.zero_grad(set_to_none=True)
        step += 1
        bar.update()
        bar.set_postfix(loss=f"{loss.item():.4f}")
        if step % config.checkpoint_every == 0 or step == config.num_steps:
            state = trained_tensors(accelerator.get_state_dict(model), config)
            if accelerator.is_main_process:
                seconds = time.monotonic() - began
                save(config, out, base, state)
                tensors = {f"model.{name}": value for name, value in state.items()}
                if not sharded:
                    tensors |= flatten_optimizer(optimizer, "optimizer")
                facts = {"step": step, "seconds": seconds, "shape": _shape(config)}
                save_checkpoint(latest, tensors, facts | {"config": dataclasses.asdict(config)})
                with (out / "log.jsonl").open("a") as log:
                    log.write(json.dumps({"step": step, "seconds": round(seconds, 1), "loss": loss.item()}) + "\n")
    bar.close()
    accelerator.wait_for_everyone()
    return {
        "steps": step,
        "seconds": round(time.monotonic() - began, 1),
        "loss": None if loss is None else loss.item(),
        "trained": sum(p.numel() for p in parameters),
        "model": f"wan:{out / 'adapter'}",
    }


def open_base(config: WanTrainConfig, out: Path) -> Base:
    """The base that the config names, or one with random weights in `out`."""
    if config.base:
        found = find_wan(f"wan:{config.base}")
        if found.adapter is not None:
            raise ValueError(f"base={config.base!r} is an adapter; expected a base.")
        return found.base
    if not (out / "base").exists():
        make_base(out / "base", config.transformer, config.vae, config.seed)
    return find_wan(f"wan:{out / 'base'}").base


def prepare(transformer: ContextTransformer, config: WanTrainConfig) -> ContextTransformer:
    """The transformer with gradients for what the config trains, and in single precision where it is trained."""
    if config.train == "lora":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            add_lora(transformer, config.lora_rank, config.lora_alpha)
    transformer.checkpointing = config.checkpointing
    for name, parameter in transformer.named_parameters():
        parameter.requires_grad_(config.train == "all" or is_adapter(name))
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return transformer.train()


def trained_tensors(state: dict[str, Tensor], config: WanTrainConfig) -> dict[str, Tensor]:
    """Those of a `ContextTransformer` that the config trains."""
    return {name: value for name, value in state.items() if config.train == "all" or is_adapter(name)}


def save(config: WanTrainConfig, out: Path, base: Base, state: dict[str, Tensor]) -> Path:
    """The adapter of a run."""
    lora = {"rank": config.lora_rank, "alpha": config.lora_alpha} if config.train == "lora" else None
    where = config.base or str((out / "base").resolve())
    trained = "all" if config.train == "all" else "adapter"
    return save_adapter(out / "adapter", state, where, base.architecture, config.use, lora, trained)


def _shape(config: WanTrainConfig) -> dict:
    """What a checkpoint must agree on with the run that takes it up."""
    return {name: getattr(config, name) for name in ("base", "train", "lora_rank", "options", "transformer", "vae")}
