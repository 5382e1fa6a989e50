"""What a visitor may choose: a model, a style, a task, how context is chosen, and the number of a world."""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctxmem_env.errors import check_integer, unknown_name
from ctxmem_env.generator import load_generator
from ctxmem_env.generator.locate import read_traits
from ctxmem_env.retrieval import RETRIEVAL
from ctxmem_env.scenes import STYLES
from ctxmem_env.tasks import TASKS
from ctxmem_env.viewer.limits import UPLOAD_BYTES
from ctxmem_env.viewer.sharing import SharedGenerator

ANY_STYLE = "any"
_SEEDS = 1_000_000  # a number that a person can read out


@dataclass(frozen=True)
class Choice:
    """What a world is opened with; names are those of `GenerativeSceneEnv`, style those of its scenes or "any"."""

    model: str
    style: str
    task: str
    retrieval: str
    seed: int

    @property
    def options(self) -> dict[str, Any]:
        """Of `reset`."""
        return {} if self.style == ANY_STYLE else {"scene": self.style}


class Offer:
    """The models that the operator lists, each loaded once, when it is first asked for; and all that goes with them.

    Args:
        models: packaged names, or folders, which visitors know by their last part; the first is the default.
        device: where they compute.
        num_context: context slots.
        memory_capacity: frames that a world remembers.

    Raises:
        ValueError: no models, two of one name, or one that is not there.
    """

    def __init__(self, models: Sequence[str], device: str = "auto", num_context: int = 8, memory_capacity: int = 256):
        if not models:
            raise ValueError("models is empty; expected names of packaged models, or folders.")
        self._places = {Path(model).name: model for model in models}
        if len(self._places) < len(models):
            raise ValueError(f"models={list(models)} holds two of one name; expected one of each.")
        for model in models:
            read_traits(model)
        self.num_context = check_integer("num_context", num_context, 1, 32)
        self.memory_capacity = check_integer("memory_capacity", memory_capacity, 64, 4096)
        self.device = device
        self._generators: dict[str, SharedGenerator] = {}
        self._loading = threading.Lock()
        self._names = {
            "model": list(self._places),
            "style": [ANY_STYLE, *sorted(STYLES)],
            "task": list(TASKS),
            "retrieval": list(RETRIEVAL),
        }

    def describe(self) -> dict[str, Any]:
        """What there is to choose from, by the names of the fields of `Choice`, and what the page should know of it."""
        default = vars(self.choose({}))
        return {**self._names, "default": default, "num_context": self.num_context, "upload_bytes": UPLOAD_BYTES}

    def choose(self, asked: dict[str, Any], present: Choice | None = None) -> Choice:
        """The choice that a message asks for; where it is silent, that at present, and the number is drawn.

        ValueError for what there is not.
        """
        chosen = {name: known[0] for name, known in self._names.items()} | {"retrieval": "fov"}
        if present is not None:
            chosen |= {name: getattr(present, name) for name in self._names}
        for name, known in self._names.items():
            value = asked.get(name)
            if value is None:
                continue
            if not isinstance(value, str) or value not in known:
                raise unknown_name(name, value if isinstance(value, str) else type(value).__name__, known)
            chosen[name] = value
        seed = asked.get("seed")
        seed = secrets.randbelow(_SEEDS) if seed is None else check_integer("seed", seed, 0, 2**31 - 1)
        return Choice(**chosen, seed=seed)

    def generator(self, name: str) -> SharedGenerator:
        """The model of that name."""
        with self._loading:
            if name not in self._generators:
                self._generators[name] = SharedGenerator(load_generator(self._places[name], self.device), name)
            return self._generators[name]
