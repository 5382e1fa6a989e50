"""What a training run is at one moment: weights, their average, a critic, optimisers and the number of steps made."""

import dataclasses
import inspect
import time
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor

from ctxmem_env.config import TrainConfig
from ctxmem_env.device import fast_dtype
from ctxmem_env.generator.enlarge import enlarge, patch_ratio
from ctxmem_env.generator.locate import find_generator
from ctxmem_env.generator.prune import prune
from ctxmem_env.generator.store import read_generator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.training import ranks
from ctxmem_env.training.adversary import Adversary
from ctxmem_env.training.checkpoint import (
    flatten_optimizer,
    load_checkpoint,
    restore_optimizer,
    save_checkpoint,
)
from ctxmem_env.training.muon import Muon

ARGUMENTS = list(inspect.signature(SceneTransformer.__init__).parameters)[1:]
_OF_WEIGHTS = [name for name in ARGUMENTS if name != "num_attended"]  # those that weights must fit


def rate(step: int, config: TrainConfig) -> float:
    """The learning rate's factor: a short warm-up, a plateau, and a linear fall to zero over the last part."""
    decay_steps = max(1, int(config.num_steps * config.decay_fraction))
    return min(1.0, (step + 1) / config.warmup_steps, (config.num_steps - step) / decay_steps)


def precision(config: TrainConfig, device: torch.device) -> torch.dtype:
    """What `config` has matrices multiplied in on `device`."""
    return fast_dtype(device) if config.precision == "auto" else getattr(torch, config.precision)


def autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager:
    """What a forward pass runs under."""
    dtype = precision(config, device)
    # Some versions of PyTorch would keep weights that were cast without a gradient, as for what the model paints
    # itself, and train with these: they would learn nothing.
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32, cache_enabled=False)


def optimizers(model: SceneTransformer, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the transformer's blocks, AdamW for the rest."""
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        inside = "blocks." in name and parameter.ndim == 2 and "modulation" not in name
        (matrices if inside else rest).append(parameter)
    return [
        Muon(matrices, lr=config.learning_rate, weight_decay=config.weight_decay),
        torch.optim.AdamW(rest, lr=config.adam_learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay),
    ]


class Run:
    """A run of `config` in the folder `out`, from its last checkpoint or from the beginning.

    Attributes:
        model, ema: the network, and the running average of its weights.
        adversary: the critic.
        step: training steps made.
        log_bytes: how long the log was at the checkpoint; what stands behind will be written again.

    Raises:
        ValueError: weights to begin with, or a checkpoint, of another model; a broken checkpoint.
    """

    def __init__(self, config: TrainConfig, out: Path, device: torch.device) -> None:
        self.config, self.latest, self.step, self.log_bytes = config, out / "latest.safetensors", 0, 0
        torch.manual_seed(config.seed)  # of the initial weights; everything later draws from its own generator
        self.model = SceneTransformer(**config.model).to(device).to(memory_format=torch.channels_last)
        if config.init:
            self.model.load_state_dict(self._initial())
        self.ema = SceneTransformer(**config.model).to(device).requires_grad_(False)
        self.ema.load_state_dict(self.model.state_dict())
        self.adversary = Adversary(device)
        self.optimizers = [*optimizers(self.model, config), self.adversary.optimizer]
        self._began = time.monotonic()
        checkpoint = ranks.from_first(lambda: load_checkpoint(self.latest) if self.latest.exists() else None)
        if checkpoint is not None:
            self._restore(*checkpoint)

    @property
    def seconds(self) -> float:
        """That the run has taken, the parts before the checkpoint included."""
        return time.monotonic() - self._began

    def learn(self, loss: Tensor) -> float:
        """One step down the gradient of this rank's loss; the norm of the gradient.

        Raises:
            FloatingPointError: the gradient is not finite; the weights are as they were.
        """
        config = self.config
        (loss / ranks.size()).backward()
        ranks.sum_gradients(self.model.parameters())
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0).item()
        if not norm < float("inf"):
            raise FloatingPointError(
                f"the gradient at step {self.step} is not finite; the last checkpoint, {self.latest}, is intact: "
                "resume it with a smaller learning_rate"
            )
        for optimizer, base in zip(self.optimizers, (config.learning_rate, config.adam_learning_rate), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = base * rate(self.step, config)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        decay = min(config.ema_decay, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1 - decay)
        self.step += 1
        return norm

    def save(self, log_bytes: int) -> None:
        """Write the checkpoint."""
        tensors = {f"model.{n}": v for n, v in self.model.state_dict().items()}
        tensors |= {f"ema.{n}": v for n, v in self.ema.state_dict().items()}
        tensors |= {f"critic.{n}": v for n, v in self.adversary.critic.state_dict().items()}
        for i, optimizer in enumerate(self.optimizers):
            tensors |= flatten_optimizer(optimizer, f"optimizer{i}")
        facts = {"step": self.step, "seconds": self.seconds, "log_bytes": log_bytes, "model": dict(self.config.model)}
        save_checkpoint(self.latest, tensors, facts | {"config": dataclasses.asdict(self.config)})

    def _initial(self) -> dict[str, Tensor]:
        """The weights of `config.init`."""
        start = read_generator(find_generator(self.config.init)).transformer
        weights, small = prune(start.state_dict(), start.config, self.config.init_layers)
        small, large = ({name: each[name] for name in _OF_WEIGHTS} for each in (small, self.model.config))
        ratio = patch_ratio(small, large)
        if ratio is None:
            name = next(name for name in _OF_WEIGHTS if small[name] != large[name])
            raise ValueError(
                f"init={self.config.init!r} is a model with {name}={small[name]}, the config asks for {large[name]}; "
                "give both the same shape (init_layers keeps some layers of a deeper one), or height, width and "
                "patch_size that are all larger by one whole factor, or leave init out"
            )
        return enlarge(weights, small["patch_size"], ratio)

    def _restore(self, tensors: dict[str, Tensor], facts: dict) -> None:
        if facts["model"] != dict(self.config.model):
            raise ValueError(
                f"checkpoint: {self.latest} holds a model of {facts['model']}, the config asks for "
                f"{dict(self.config.model)}; use another output folder"
            )
        for prefix, module in (("model.", self.model), ("ema.", self.ema), ("critic.", self.adversary.critic)):
            module.load_state_dict({n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)})
        for i, optimizer in enumerate(self.optimizers):
            restore_optimizer(optimizer, tensors, f"optimizer{i}")
        self.step, self.log_bytes = facts["step"], facts.get("log_bytes")
        self._began -= facts["seconds"]
