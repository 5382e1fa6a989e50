"""`ctxmem bench step`: how long a step of one environment takes, and which part of it, as memory grows."""

import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ctxmem_env.camera import DEFAULT_FOV, motion_between
from ctxmem_env.env import GenerativeSceneEnv
from ctxmem_env.errors import check_integer
from ctxmem_env.evaluation.run import describe_machine
from ctxmem_env.generator import Context, Generated, Generator, load_generator
from ctxmem_env.retrieval import Query, get_retrieval
from ctxmem_env.scenes import build_scene, random_walk

PARTS = ("step", "retrieval", "encoding", "denoising", "rest")
_WARM_UP = 15  # steps, after which most frames that a walk uses again are encoded
_SEED = 0


class Stopwatch:
    """Seconds spent in each part. On a GPU the clock waits for the device, so that parts do not run into another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def time(self, part: str, function, *arguments):
        self._finish()
        began = time.perf_counter()
        result = function(*arguments)
        self._finish()
        self.seconds[part] += time.perf_counter() - began
        return result

    def _finish(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()


class TimedGenerator:
    """A generator whose calls a stopwatch times."""

    def __init__(self, generator: Generator, watch: Stopwatch) -> None:
        self._generator, self._watch = generator, watch
        self.height, self.width = generator.height, generator.width
        self.default_num_steps = generator.default_num_steps

    def encode(self, frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> dict[str, Tensor]:
        return self._watch.time("encoding", self._generator.encode, frames, depth, poses, fov)

    def generate(
        self, poses: Tensor, context: Context, fov: Tensor, num_steps: int, generators: list[torch.Generator]
    ) -> Generated:
        return self._watch.time("denoising", self._generator.generate, poses, context, fov, num_steps, generators)

    def estimate_depth(self, frames: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
        return self._generator.estimate_depth(frames, poses, fov)


class Walk:
    """One environment that has `history` frames in memory and walks on.

    The poses are the last `history` of a walk through a scene, the same for every history up to its length; the
    pixels are noise, whose cost is that of any picture.
    """

    def __init__(self, generator: Generator, num_context: int, history: int, poses: Tensor, steps: int) -> None:
        self.watch = Stopwatch()
        choose = get_retrieval("fov")

        def retrieval(query: Query) -> Tensor:
            return self.watch.time("retrieval", choose, query)

        self.env = GenerativeSceneEnv(
            TimedGenerator(generator, self.watch),
            actions="continuous",
            step_length=1.0,
            turn_angle=90.0,
            retrieval=retrieval,
            num_context=num_context,
            tour=0,
        )
        self.env.reset(seed=_SEED)
        self.history = history
        self._past = poses[-steps - history : -steps].to(torch.float32)
        scale = np.array([1.0, 1.0, np.pi / 2, np.pi / 2])
        motions = motion_between(poses[-steps - 1 : -1], poses[-steps:]).numpy()
        self._actions = list((motions / scale).clip(-1, 1).astype(np.float32))

    def remember(self) -> None:
        """Starts over: `history` frames in memory, and none of them encoded but the newest."""
        world = self.env.world
        size = (self.history, world.generator.height, world.generator.width)
        noise = torch.Generator().manual_seed(_SEED)
        frames = torch.randint(256, (*size, 3), generator=noise, dtype=torch.uint8)
        world.reset(0, frames, torch.full(size, 3.0), self._past, DEFAULT_FOV, _SEED)

    def step(self, number: int) -> np.ndarray:
        """Milliseconds of that step of the walk and of its parts, in the order of `PARTS`."""
        self.watch.seconds.clear()
        began = time.perf_counter()
        self.env.step(self._actions[number])
        total = time.perf_counter() - began
        inside = [self.watch.seconds[part] for part in PARTS[1:-1]]
        return 1000 * np.array([total, *inside, total - sum(inside)])


def bench_step(
    model: str = "nano",
    num_context: int = 8,
    histories: list[int] | tuple[int, ...] = (100, 10_000),
    repeats: int = 5,
    steps: int = 20,
    threads: int = 1,
) -> dict:
    """Times `steps` steps after each of `histories` in turn, `repeats` times; figures are medians over the repeats.

    Returns:
        model, num_context, denoising_steps, machine; histories, a list with history, steps_per_second and the
        milliseconds step_ms, retrieval_ms (the choice of context), encoding_ms (of frames that enter memory or are
        needed again), denoising_ms, rest_ms; ratio, of the last history's step to the first's.

    Raises:
        ValueError: a number below 1, or an unknown model.
    """
    histories = [check_integer("histories", history, 1) for history in histories]
    repeats, steps = check_integer("repeats", repeats, 1), check_integer("steps", steps, 1)
    torch.set_num_threads(check_integer("threads", threads, 1))
    generator = load_generator(model, "auto")
    steps += _WARM_UP
    rng = np.random.default_rng(_SEED)
    poses = random_walk(build_scene(_SEED), max(histories) + steps, rng).double()
    walks = [Walk(generator, num_context, history, poses, steps) for history in histories]
    rounds = []
    for _ in tqdm(range(repeats), desc="bench step", unit="round", dynamic_ncols=True):
        for walk in walks:
            walk.remember()
        # Step by step in turn, so that what else the machine does falls on all alike.
        milliseconds = [[walk.step(number) for walk in walks] for number in range(steps)]
        rounds.append(np.mean(milliseconds[_WARM_UP:], axis=0))
    figures = []
    for history, medians in zip(histories, np.median(rounds, axis=0), strict=True):
        parts = {f"{part}_ms": round(float(value), 3) for part, value in zip(PARTS, medians, strict=True)}
        figures.append({"history": history, "steps_per_second": round(1000 / parts["step_ms"], 2), **parts})
    ratio = np.median([measured[-1, 0] / measured[0, 0] for measured in rounds])
    return {
        "model": model,
        "num_context": num_context,
        "denoising_steps": generator.default_num_steps,
        "machine": describe_machine() | {"bfloat16": _bfloat16_units()},
        "histories": figures,
        "ratio": round(float(ratio), 3),
    }


def _bfloat16_units() -> list[str]:
    """Instructions of this processor for bfloat16, as Linux names them."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    return sorted({"avx512_bf16", "amx_bf16"} & set(flags))
