"""`ctxmem bench step`: how long a step of one environment takes, and which part of it, as memory and context grow."""

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ctxmem_env.bench.machine import MatrixRates, achieved, describe
from ctxmem_env.bench.measure import NetworkFlops, Stopwatch, TimedGenerator, compiled, network_flops
from ctxmem_env.camera import DEFAULT_FOV, motion_between
from ctxmem_env.device import available_bytes, resolve_device
from ctxmem_env.env import GenerativeSceneEnv
from ctxmem_env.errors import check_integer
from ctxmem_env.generator import Generator, load_generator, traits_of
from ctxmem_env.retrieval import get_retrieval
from ctxmem_env.scenes import build_scene, random_walk

PARTS = ("step", "collision", "retrieval", "encoding", "denoising", "rest")
_WARM_UP = 15  # steps, after which most frames that a walk uses again are encoded
_FAR = 20.0  # metres; a depth at which what is remembered is in nobody's way
_SEED = 0


class Walk:
    """One environment that has `history` frames in memory and walks on.

    The poses are those of one walk through a scene, the same for every history; the pixels are one picture of noise,
    far away, whose cost is that of any other, so that only memory itself holds `history` frames.
    """

    def __init__(self, generator: Generator, num_context: int, history: int, poses: Tensor, device: str) -> None:
        self.watch = Stopwatch()
        self.generator = TimedGenerator(generator, self.watch)
        self.env = GenerativeSceneEnv(
            self.generator,
            actions="continuous",
            step_length=1.0,
            turn_angle=90.0,
            retrieval=self.watch.timed("retrieval", get_retrieval("fov")),
            num_context=num_context,
            tour=0,
            collisions=traits_of(generator).predicts_depth,
            device=device,
        )
        self.env.reset(seed=_SEED)
        dynamics = self.env.world.dynamics
        if dynamics is not None:
            dynamics.limit = self.watch.timed("collision", dynamics.limit)
        self.num_context, self.history = num_context, history
        self._frames_per_step = traits_of(generator).frames_per_step
        self._poses = poses.to(torch.float32)
        scale = np.array([1.0, 1.0, np.pi / 2, np.pi / 2])
        motions = motion_between(poses[:-1], poses[1:]).numpy()
        self._actions = (motions / scale).clip(-1, 1).astype(np.float32)
        self._grown: int | None = None  # frames beyond `history`

    def begin(self, start: int) -> None:
        """Stand at the pose number `start` - 1 of the walk with the `history` poses before `start` in memory.

        A memory that has grown by less than a hundredth goes on as it is, for to fill it takes long.
        """
        if self._grown is None or 100 * self._grown > self.history:
            world, size = self.env.world, (self.generator.height, self.generator.width)
            noise = torch.Generator().manual_seed(_SEED)
            frame = torch.randint(256, (1, *size, 3), generator=noise, dtype=torch.uint8)
            frames, depth = frame.expand(self.history, -1, -1, -1), torch.full((1, *size), _FAR)
            past = self._poses[start - self.history : start]
            world.reset(0, frames, depth.expand(self.history, -1, -1), past, DEFAULT_FOV, _SEED)
            self._grown = 0

    def step(self, number: int) -> np.ndarray:
        """Milliseconds of the step to that pose and of its parts, in the order of `PARTS`, and frames encoded in it."""
        self.watch.seconds.clear()
        world = self.env.world
        world.poses = self._poses[number - 1 : number].to(world.device)  # where a surface may have kept it from
        encoded, began = self.generator.num_encoded, time.perf_counter()
        self.env.step(self._actions[number - 1])
        total = time.perf_counter() - began
        self._grown += self._frames_per_step
        inside = [self.watch.seconds[part] for part in PARTS[1:-1]]
        return np.array(
            [*(1000 * np.array([total, *inside, total - sum(inside)])), self.generator.num_encoded - encoded]
        )


def bench_step(
    model: str = "nano",
    num_context: int = 8,
    histories: Sequence[int] = (100, 1_000, 10_000, 100_000),
    contexts: Sequence[int] = (1, 2, 4, 8, 16, 30),
    repeats: int = 5,
    steps: int = 20,
    threads: int = 1,
    device: str = "auto",
    compile: bool = False,
    quiet: bool = False,
) -> dict:
    """Times `steps` steps in every case, case by case in turn, `repeats` times.

    The cases are `num_context` context frames after each of `histories`, and each of `contexts` after the first of
    `histories`. The figures of a case are those of its median round. A frame in memory takes 5 bytes a pixel.

    Returns:
        model, num_context, num_attended (see `Traits`), denoising_steps, frames_per_step (frames that one step paints),
        compiled, machine; matrix_gflops, the rate of large matrix products in the same run; histories and contexts,
        lists with history, num_context, steps_per_second and the milliseconds step_ms, collision_ms (what stops the
        camera), retrieval_ms (the choice of context), encoding_ms (of frames that enter memory or are needed again),
        denoising_ms and rest_ms, which add up to the step; encoded_frames, a step's mean; network_gflop, what the
        network calculates in a step; gflops and matrix_share, its rate while it encodes and denoises, in all and as a
        share of matrix_gflops; ratio, of the longest history's step to the shortest's, the median over the rounds.

    Raises:
        ValueError: no histories, a number below 1, histories that do not fit into memory, an unknown model or device.
    """
    cases = _cases(num_context, histories, contexts)
    repeats, steps = check_integer("repeats", repeats, 1), check_integer("steps", steps, 1)
    torch.set_num_threads(check_integer("threads", threads, 1))
    place = resolve_device(device)
    generator = load_generator(model, device)
    check_memory([history for history, _ in cases], generator.height, generator.width, place)
    ahead = _WARM_UP + steps  # in one round
    longest = max(history for history, _ in cases)
    poses = random_walk(build_scene(_SEED), longest + repeats * ahead, np.random.default_rng(_SEED)).double()
    flops = {slots: network_flops(generator, slots, place) for _, slots in cases}
    if compile:
        generator = compiled(generator)
    walks = [Walk(generator, slots, history, poses, device) for history, slots in cases]
    rates, rounds = MatrixRates(place), []
    for number in tqdm(range(repeats), desc="bench step", unit="round", dynamic_ncols=True, disable=quiet):
        start = longest + number * ahead
        for walk in walks:
            walk.begin(start)
        rates.read()
        # Step by step in turn, so that what else the machine does falls on all alike.
        measured = [[walk.step(i) for walk in walks] for i in range(start, start + ahead)]
        rounds.append(np.mean(measured[_WARM_UP:], axis=0))
    matrix_gflops, rounds = rates.medians(), np.array(rounds)
    figures = {case: _figures(case, rounds[:, i], flops[case[1]], matrix_gflops) for i, case in enumerate(cases)}
    by_length = sorted(histories)
    long, short = (cases.index((history, num_context)) for history in (by_length[-1], by_length[0]))
    return {
        "bench": "step",
        "model": model,
        "num_context": num_context,
        "num_attended": traits_of(generator).num_attended,
        "denoising_steps": generator.default_num_steps,
        "frames_per_step": traits_of(generator).frames_per_step,
        "compiled": compile,
        "machine": describe(),
        "matrix_gflops": matrix_gflops,
        "histories": [figures[history, num_context] for history in histories],
        "contexts": [figures[histories[0], slots] for slots in contexts],
        "ratio": round(float(np.median(rounds[:, long, 0] / rounds[:, short, 0])), 3),
    }


def _cases(num_context: int, histories: Sequence[int], contexts: Sequence[int]) -> list[tuple[int, int]]:
    """Distinct pairs of a history and a number of context slots."""
    if len(histories) == 0:
        raise ValueError("histories is empty; expected numbers of frames in memory, at least one.")
    for history in histories:
        check_integer("histories", history, 1)
    for slots in contexts:
        check_integer("contexts", slots, 1)
    check_integer("num_context", num_context, 1)
    wanted = [(history, num_context) for history in histories] + [(histories[0], slots) for slots in contexts]
    return list(dict.fromkeys(wanted))


def check_memory(histories: Sequence[int], height: int, width: int, device: torch.device) -> None:
    """ValueError if worlds that remember so many frames do not fit into the memory that `device` has free."""
    frame = 5 * height * width  # three bytes of colour and two of depth a pixel
    slots = [max(64, 1 << (history - 1).bit_length()) for history in histories]  # storage doubles
    needed = frame * (sum(slots) + max(slots) // 2)  # and while it does, what it held is there twice
    available = available_bytes(device)
    if available is not None and needed > available:
        fitting = 1 << max(0, int(available / 1.5 / frame).bit_length() - 1)
        raise ValueError(
            f"histories={sorted(set(histories))} take {needed / 1e9:.1f} GB at {frame:,} bytes a frame, and "
            f"{available / 1e9:.1f} GB are free. Ask for shorter ones; one alone may have {fitting:,} frames."
        )


def _figures(case: tuple[int, int], rounds: np.ndarray, flops: NetworkFlops, matrix_gflops: dict) -> dict:
    """What was measured of one case, from its rounds (repeats, parts + 1)."""
    *milliseconds, encoded = rounds[np.argsort(rounds[:, 0])[(len(rounds) - 1) // 2]].tolist()
    parts = {f"{part}_ms": round(value, 3) for part, value in zip(PARTS, milliseconds, strict=True)}
    network = flops.generate + encoded * flops.encode
    seconds = sum(milliseconds[PARTS.index(part)] for part in ("encoding", "denoising")) / 1000
    return {
        "history": case[0],
        "num_context": case[1],
        "steps_per_second": round(1000 / milliseconds[0], 2),
        **parts,
        "encoded_frames": round(encoded, 2),
        "network_gflop": round(1e-9 * network, 3),
        **achieved(network, seconds, matrix_gflops),
    }
