"""The benchmarks on the command line: `ctxmem bench step` and its sisters."""

import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import arg, subcommand

from ctxmem_env.cli.command import TorchCommand

_NOT_MEASURED = ("debug", "json", "out", "plot")  # options that the measuring functions do not have


@dataclass(frozen=True, kw_only=True)
class Bench(TorchCommand):
    """What every benchmark has."""

    name: ClassVar[str]

    out: Annotated[Path | None, arg(metavar="FILE")] = None
    """JSON file to keep the results in; those of other benchmarks that it holds stay."""
    plot: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """Folder for a picture of the results, bench_NAME.png."""

    def measure(self) -> dict:
        raise NotImplementedError

    def run(self) -> dict:
        from ctxmem_env.bench.plots import check_plots, save_plot
        from ctxmem_env.bench.results import keep, read_benches

        # Before anything is measured, which may take minutes.
        if self.out is not None:
            read_benches(self.out)
        if self.plot is not None:
            check_plots()
        results = self.measure() | {"command": self.line()}
        if self.out is not None:
            keep(self.out, results)
        if self.plot is not None:
            results["plot"] = str(save_plot(results, self.plot))
        return results

    def options(self) -> dict:
        """The arguments of the function that measures."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _NOT_MEASURED}

    def line(self) -> str:
        """The command that gives these results."""
        words = ["ctxmem", "bench", self.name]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in (*_NOT_MEASURED, "quiet") or value == field.default:
                continue
            option = "--" + field.name.replace("_", "-")
            values = value if isinstance(value, tuple) else [] if value is True else [value]
            words += [option, *map(str, values)]
        return shlex.join(words)


@dataclass(frozen=True, kw_only=True)
class Repeated(Bench):
    """What every benchmark has that measures its cases again and again."""

    repeats: int = 5
    """Measurements of each case, taken in turn; the figures are medians."""


@dataclass(frozen=True, kw_only=True)
class ModelBench(Repeated):
    """What every benchmark has that steps a packaged generator."""

    model: str = "nano"
    """Packaged generator, folder or hub id."""
    num_context: int = 8
    """Number of context frames."""
    device: str = "auto"
    """Torch device; auto is CUDA where there is one."""
    compile: bool = False
    """Compile the network, which takes a minute for each batch size and pays on a GPU."""


@dataclass(frozen=True, kw_only=True)
class Step(ModelBench):
    """Milliseconds of a step of one environment, and of its parts, against the history and the context."""

    name: ClassVar[str] = "step"

    histories: tuple[int, ...] = (100, 1_000, 10_000, 100_000)
    """Numbers of frames in memory; the longest is compared with the shortest. 100,000 take 2 GB."""
    contexts: tuple[int, ...] = (1, 2, 4, 8, 16, 30)
    """Numbers of context frames, each measured after the first of --histories."""
    steps: int = 20
    """Steps in one measurement."""

    def measure(self) -> dict:
        from ctxmem_env.bench.step import bench_step

        return bench_step(**self.options())


@dataclass(frozen=True, kw_only=True)
class Retrieval(Repeated):
    """Milliseconds to choose the context of one world against what it remembers, and agreement with brute force."""

    name: ClassVar[str] = "retrieval"

    histories: tuple[int, ...] = (100, 1_000, 10_000, 100_000)
    """Numbers of frames in memory; the longest is compared with the shortest."""
    num_context: int = 8
    """Number of context frames."""
    queries: int = 20
    """Choices in one measurement."""
    checked: int = 5
    """How many of them are compared with brute force, which takes seconds for 100,000 frames."""
    device: str = "auto"
    """Torch device; auto is CUDA where there is one."""

    def measure(self) -> dict:
        from ctxmem_env.bench.retrieval import bench_retrieval

        return bench_retrieval(**self.options())


@dataclass(frozen=True, kw_only=True)
class Vector(ModelBench):
    """Env-steps a second, in all, of worlds that step in one batch, with random actions."""

    name: ClassVar[str] = "vector"

    num_envs: Annotated[tuple[int, ...] | None, arg(metavar="INT [INT ...]")] = None
    """Numbers of worlds. By default 1 to 64, on a GPU to 4,096."""
    steps: int = 20
    """Steps of all worlds in one measurement."""
    array: Literal["numpy", "torch"] = "numpy"
    """Observations as NumPy arrays, or as tensors that stay on the device."""
    sb3: bool = False
    """Measure PPO of Stable-Baselines3 on 8 worlds as well."""

    def measure(self) -> dict:
        from ctxmem_env.bench.vector import bench_vector

        return bench_vector(**self.options())


@dataclass(frozen=True, kw_only=True)
class Memory(Bench):
    """What a bounded memory loses of a place, what a remembered frame takes, and whether the process stays as small."""

    name: ClassVar[str] = "memory"

    model: str = "nano"
    """Packaged generator, folder or hub id."""
    capacity: int = 256
    """Frames that a bounded memory holds."""
    steps: int = 3000
    """Steps of each walk."""
    evictions: tuple[str, ...] = ("coverage", "reservoir", "oldest")
    """Policies that are compared with an unlimited memory; the first is that of the soak."""
    scenes: int = 2
    """Test scenes to walk in."""
    tour_frames: int = 12
    """True frames that are remembered first."""
    revisits: int = 60
    """Places of each walk that are looked at again."""
    num_context: int = 8
    """Number of context frames."""
    soak_steps: int = 20_000
    """Steps without the network, over which the process is weighed."""

    def measure(self) -> dict:
        from ctxmem_env.bench.memory import bench_memory

        return bench_memory(**self.options())


@dataclass(frozen=True, kw_only=True)
class Train(Repeated):
    """Targets a second of a training step, and of its parts. Batches are rendered before the clock runs."""

    name: ClassVar[str] = "train"

    config: Annotated[Path | None, arg(metavar="FILE")] = None
    """YAML file as for `ctxmem train`. By default the packaged model's shape and batch."""
    steps: int = 2
    """Steps in one measurement."""
    device: str = "auto"
    """Torch device; auto is CUDA where there is one."""

    def measure(self) -> dict:
        from ctxmem_env.bench.train import bench_train

        return bench_train(**self.options())


BENCHES = (
    Annotated[Step, subcommand("step")]
    | Annotated[Retrieval, subcommand("retrieval")]
    | Annotated[Vector, subcommand("vector")]
    | Annotated[Memory, subcommand("memory")]
    | Annotated[Train, subcommand("train")]
)
