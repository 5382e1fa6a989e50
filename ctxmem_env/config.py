"""Configuration: frozen dataclasses hold the defaults and their meaning, YAML files hold values only."""

import dataclasses
import reprlib
import sys
import typing
from pathlib import Path

import yaml

from ctxmem_env.errors import check_integer, unknown_name

PRECISIONS = ("auto", "bfloat16", "float32")
OVERLAPS = ("recomputed", "labels")
HISTORIES = ("whole", "packed")
MAX_SEED = 2**32 - 1  # PyTorch seeds with 64 bits: the upper half is the run's, the lower half tells the step
_LONGEST, _MOST_BRACKETS = 100_000, 500  # of a file


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value} is out of range; expected a number in [0, 1].")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What a training batch holds. Every batch is a function of the seed and its number alone."""

    scenes_per_batch: int = 6
    targets_per_scene: int = 4  # views that share one set of context frames: encoding the context is the larger cost
    num_context: int = 8
    retrieval: str = "fov"  # of contexts, by its name in `ctxmem_env.retrieval`
    history: str = "whole"  # or "packed": the frames of a context compressed into two, as FramePack does
    walk_length: int = 64
    tour: int = 12  # at most this many true frames are in memory before the walk begins
    shifted: float = 0.5  # share of walks as by continuous actions, which never repeat a pose exactly
    small_steps: float = 0.3  # share of walks in smaller steps, down to a tenth, as a filmed camera moves
    close_ups: float = 0.0  # share of scenes whose targets go straight up to what stands before the camera
    newest_only: float = 0.3  # share of scenes whose context is the newest frame alone (the paper: 0.1)
    outside: float = 0.3  # share of scenes whose newest frame comes from outside, so that its depth is not known
    nothing: float = 0.05  # share of scenes without any context
    thinned: float = 0.3  # share of scenes that lose each older context frame with probability 1/2
    corrupt: float = 0.8  # share of scenes whose context carries noise, blur and wrong depth, as its own frames do
    soft: float = 0.0  # share of scenes whose context is soft all over, as by walking up to what was seen from afar
    min_fov: float = 28.0
    max_fov: float = 100.0
    captures: list = dataclasses.field(default_factory=list)  # folders of captures to train on beside the scenes
    captured: float = 0.5  # share of batches that come from them, if there are any
    overlap: str = "recomputed"  # by our retrieval, or "labels": those of Context-as-Memory choose what is in a context
    workers: int = 1  # processes that render ahead; 0 renders in the training process

    def __post_init__(self) -> None:
        for name in ("scenes_per_batch", "targets_per_scene", "tour"):
            check_integer(name, getattr(self, name), 1)
        check_integer("num_context", self.num_context, 2)  # one half of the context is repainted from the other
        check_integer("walk_length", self.walk_length, self.targets_per_scene**2)  # targets are ever further apart
        check_integer("workers", self.workers, 0)
        shares = ("shifted", "small_steps", "close_ups", "newest_only", "outside", "nothing", "thinned", "corrupt")
        for name in (*shares, "soft", "captured"):
            _check_share(name, getattr(self, name))
        if self.overlap not in OVERLAPS:
            raise unknown_name("overlap", self.overlap, OVERLAPS)
        if self.history not in HISTORIES:
            raise unknown_name("history", self.history, HISTORIES)
        if self.history == "packed" and self.retrieval != "recent":
            raise ValueError(
                f"history='packed' with retrieval={self.retrieval!r}; what is compressed are the newest frames: choose "
                "retrieval='recent'."
            )
        for folder in self.captures:
            if not isinstance(folder, str):
                raise ValueError(f"captures={self.captures}; expected a list of paths of folders.")
        if not 0 < self.min_fov <= self.max_fov < 180:
            raise ValueError(
                f"min_fov={self.min_fov}, max_fov={self.max_fov}; expected 0 < min_fov <= max_fov < 180 degrees."
            )


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    name: str = "nano"
    seed: int = 0
    num_steps: int = 10_000
    warmup_steps: int = 100
    decay_fraction: float = 0.3  # the last part of the steps, over which the rate falls to zero
    learning_rate: float = 2e-3  # of Muon, for the matrices of the transformer
    adam_learning_rate: float = 1e-3  # of AdamW, for everything else
    weight_decay: float = 0.01
    ema_decay: float = 0.998
    depth_weight: float = 0.5
    own_weight: float = 0.3  # of the network's own pixels, so that it learns to paint where it could fetch
    self_context: float = 0.3  # share of steps whose context the model has first repainted from its other frames
    self_context_from: int = 1_000  # the step from which it does
    self_context_generations: int = 1  # copies of copies: at most so many, drawn for each such step
    own_walk_length: int = 0  # steps of walks over the model's own frames; every other training step learns from them
    own_walk_session: int = 100  # training steps in which such walks are walked, then others begin; see `OwnWalks`
    example_weight: float = 0.3  # of pixels beyond all borders, where an example stands for the truth
    adversarial_weight: float = 0.5  # of the critic's pull on such pixels, relative to the colour loss; 0 = no critic
    adversarial_from: int = 3_600  # the step from which it pulls
    own_path: float = 0.0  # share of frames that are noised from the model's first prediction, not from the true frame
    texture_weight: float = 0.0  # of how much less or more detail there is than there should be, see `texture_loss`
    init: str = ""  # a generator's name or folder, whose weights the run begins with; empty for random ones
    init_layers: dict = dataclasses.field(default_factory=dict)  # those of `init` to keep, see `generator.prune`
    precision: str = "auto"  # bfloat16 where the hardware multiplies in it, else float32
    compile: bool = False
    threads: int = 1
    validate_every: int = 500
    validation_scenes: int = 32
    checkpoint_every: int = 250
    model: dict = dataclasses.field(default_factory=dict)  # arguments of SceneTransformer
    data: DataConfig = DataConfig()

    def __post_init__(self) -> None:
        check_integer("seed", self.seed, 0, MAX_SEED)
        counts = ("num_steps", "warmup_steps", "threads", "validate_every", "validation_scenes", "checkpoint_every")
        for name in (*counts, "self_context_generations", "own_walk_session"):
            check_integer(name, getattr(self, name), 1)
        if check_integer("own_walk_length", self.own_walk_length, 0) and self.checkpoint_every % self.own_walk_session:
            raise ValueError(
                f"checkpoint_every={self.checkpoint_every} is not a multiple of own_walk_session="
                f"{self.own_walk_session}; walks that are under way are not kept, so a run could not go on as it was."
            )
        fewest = -(-self.own_walk_session // 2)  # every other training step learns from such a walk
        if 0 < self.own_walk_length < fewest:
            raise ValueError(
                f"own_walk_length={self.own_walk_length} is shorter than the {fewest} training steps that learn from "
                f"such a walk with own_walk_session={self.own_walk_session}, each of which goes on by a step at least. "
                "Raise the length or lower the session."
            )
        if self.data.history == "packed" and self.self_context:
            raise ValueError(
                f"self_context={self.self_context} with history='packed'; a frame that was painted anew would have all "
                "its pixels again. Set self_context to 0."
            )
        for name in ("decay_fraction", "ema_decay", "self_context", "own_path", "example_weight"):
            _check_share(name, getattr(self, name))
        for name, layers in self.init_layers.items():
            if not (isinstance(layers, list) and all(type(layer) is int for layer in layers)):
                raise ValueError(f"init_layers: {name}={reprlib.repr(layers)}; expected a list of numbers of layers.")
        if self.init_layers and not self.init:
            raise ValueError("init_layers says which layers of init to keep, and there is no init; give both or none.")
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)


def from_dict(cls: type, values: dict, where: str) -> typing.Any:
    """An instance of the dataclass `cls`; unknown keys and wrong types raise ValueError naming `where`."""
    if not isinstance(values, dict):
        raise ValueError(f"{where}: expected a mapping of names to values, got {type(values).__name__}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    arguments = {}
    for key, value in values.items():
        if key not in fields:
            raise ValueError(f"{where}: {unknown_name('key', key, fields)}")
        kind = hints[key]
        if dataclasses.is_dataclass(kind):
            value = from_dict(kind, value, f"{where}: {key}")
        elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            if not abs(value) <= sys.float_info.max:  # NaN compares false
                raise ValueError(f"{where}: {key} must be a finite number, got {reprlib.repr(value)}")
            value = float(value)
        elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"{where}: {key} must be of type {kind.__name__}, got {reprlib.repr(value)}")
        arguments[key] = value
    try:
        return cls(**arguments)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _checked(text: str) -> str:
    """The text itself; ValueError for one that PyYAML, whose time grows with the square of brackets, chews for long."""
    if len(text) > _LONGEST or text.count("[") + text.count("{") > _MOST_BRACKETS:
        raise ValueError(f"more than {_LONGEST:,} characters, or than {_MOST_BRACKETS:,} brackets")
    return text


def load_config(cls: type, path: str | Path) -> typing.Any:
    """The dataclass `cls` with the values of the YAML file at `path`."""
    return from_dict(cls, read_values(path), str(path))


def read_values(path: str | Path) -> typing.Any:
    """What the YAML file at `path` holds, names and values where it is a configuration."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"config: no such file {str(path)!r}; expected a YAML file such as configs/nano.yaml")
    try:
        values = yaml.safe_load(_checked(path.read_text()))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: dates and numbers that are none
        raise ValueError(f"config: {path} is not valid YAML: {error}") from error
    return {} if values is None else values
