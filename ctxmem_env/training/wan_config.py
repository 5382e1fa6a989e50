"""Configuration of a training run of a Wan adapter."""

import dataclasses
from pathlib import Path

from ctxmem_env.config import MAX_SEED, read_values
from ctxmem_env.errors import check_integer, unknown_name
from ctxmem_env.generator.wan.options import WanOptions, options_from

TRAINED = ("camera", "lora", "all")


@dataclasses.dataclass(frozen=True)
class WanTrainConfig:
    """A run of `ctxmem train` whose YAML says `backend: wan`. Values of the paper where it tells them."""

    backend: str = "wan"
    name: str = "wan"
    seed: int = 0
    base: str = ""  # folder or hub id; empty for random weights of the shape of `transformer` and `vae`
    train: str = "lora"  # beside the camera encoder: nothing more, LoRA, or all weights
    lora_rank: int = 64
    lora_alpha: int = 64
    num_steps: int = 10_000
    batch_size: int = 8  # clips of each process; the paper has 64 in all
    num_context: int = 20
    newest_only: float = 0.1  # share of clips whose context is the newest frame alone
    no_prompt: float = 0.1  # share of clips without text, for guidance
    learning_rate: float = 1e-4  # the paper's is not published
    weight_decay: float = 0.01
    warmup_steps: int = 100
    walk_length: int = 8  # steps of a walk, any of which may be painted
    tour: int = 12  # at most this many true frames are in memory before a walk begins
    step_length: float = 1.0  # metres of a step, over all of its frames
    turn_angle: float = 30.0  # degrees
    fov: float = 52.67  # degrees, that of the paper's cameras
    captures: list = dataclasses.field(default_factory=list)  # folders to train on in place of rendered scenes
    precision: str = "bf16"  # or "no", of accelerate
    checkpointing: bool = True  # compute blocks again for their gradients
    checkpoint_every: int = 250
    workers: int = 1  # processes that render ahead; 0 renders in the training process
    options: dict = dataclasses.field(default_factory=dict)  # of `WanOptions`
    transformer: dict = dataclasses.field(default_factory=dict)  # of `WanTransformer3DModel`, without a base
    vae: dict = dataclasses.field(default_factory=dict)  # of `AutoencoderKLWan`, without a base

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch_size", "num_context", "warmup_steps", "walk_length", "tour"):
            check_integer(name, getattr(self, name), 1)
        for name in ("lora_rank", "lora_alpha", "checkpoint_every"):
            check_integer(name, getattr(self, name), 1)
        check_integer("seed", self.seed, 0, MAX_SEED)
        check_integer("workers", self.workers, 0)
        for name in ("newest_only", "no_prompt"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is out of range; expected a number in [0, 1].")
        for name in ("learning_rate", "step_length", "turn_angle"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)}; expected a number above 0.")
        for name, known in (("train", TRAINED), ("precision", ("bf16", "no")), ("backend", ("wan",))):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        if bool(self.base) == bool(self.transformer and self.vae):
            raise ValueError(
                f"base={self.base!r} with transformer={self.transformer} and vae={self.vae}; expected either a base, "
                "or the shapes of one that gets random weights."
            )
        options_from(self.options, "options")

    @property
    def use(self) -> WanOptions:
        """How the adapter is to be used."""
        return WanOptions(**self.options)


def is_wan(path: Path) -> bool:
    """Whether the YAML file at `path` says `backend: wan`."""
    values = read_values(path)
    return isinstance(values, dict) and values.get("backend") == "wan"
