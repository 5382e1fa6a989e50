"""`ctxmem bench retrieval`: how long one world takes to choose its context among ever more remembered frames."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ctxmem_env.bench.machine import describe, synchronize
from ctxmem_env.bench.paths import PATHS
from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.device import resolve_device
from ctxmem_env.errors import check_integer
from ctxmem_env.greedy import choose_among_all
from ctxmem_env.memory import FrameMemory
from ctxmem_env.retrieval import select_context


class Traveller:
    """One world that remembers the first `history` poses of a path and goes on. Its frames have one pixel."""

    def __init__(self, path: Tensor, history: int, num_context: int, device: torch.device) -> None:
        self.history, self.num_context, self._path = history, num_context, path.to(device)
        self.memory = FrameMemory(1, 1, 1, device=device)
        self._pixel = torch.zeros(1, 1, 1, 3, dtype=torch.uint8, device=device)
        self._depth = torch.ones(1, 1, 1, device=device)
        self._position = 0
        for _ in range(history):
            self.remember()

    @property
    def _next(self) -> Tensor:
        return self._path[self._position : self._position + 1]

    def remember(self) -> None:
        """Take the next pose of the path into memory."""
        self.memory.append(self._pixel, self._depth, self._next)
        self._position += 1

    def choose(self) -> list[int]:
        """The context for the next pose, as a step chooses it."""
        memory = self.memory
        view = memory.poses, memory.lengths, self._next, self.num_context, DEFAULT_FOV
        return select_context("fov", *view, index=memory.index).indices[0].tolist()

    def choose_by_force(self) -> list[int]:
        """The context for the next pose by a look at every remembered frame, in double precision."""
        poses = self.memory.poses.double()
        fov = torch.full((1,), DEFAULT_FOV, dtype=torch.float64, device=poses.device)
        view = poses, self.memory.lengths, self._next.double(), self.num_context, fov
        return choose_among_all(*view, most_compared=None)[0].tolist()


def bench_retrieval(
    histories: Sequence[int] = (100, 1_000, 10_000, 100_000),
    num_context: int = 8,
    queries: int = 20,
    checked: int = 5,
    repeats: int = 5,
    threads: int = 1,
    device: str = "auto",
    quiet: bool = False,
) -> dict:
    """Times `queries` choices after each of `histories` of two paths, history by history in turn, `repeats` times.

    After every choice the frame is remembered and the next pose asked for. The first `checked` choices of every
    measurement are compared with brute force, which takes seconds for 100,000 frames.

    Returns:
        num_context, machine; queries and checked, of each history in all; paths, a list with path and histories, of
        which each has history, query_ms and remember_ms, medians over the repeats, of one choice and of taking a frame
        of one pixel into memory, and agreement, the share of checked queries that chose the same frames as brute force
        does; ratio, of the longest history's query to the shortest's, the median over the repeats.

    Raises:
        ValueError: no histories, a number below 1, more checks than queries, an unknown device.
    """
    if len(histories) == 0:
        raise ValueError("histories is empty; expected numbers of frames in memory, at least one.")
    histories = [check_integer("histories", history, 1) for history in histories]
    num_context, queries = check_integer("num_context", num_context, 1), check_integer("queries", queries, 1)
    checked, repeats = check_integer("checked", checked, 1, queries), check_integer("repeats", repeats, 1)
    torch.set_num_threads(check_integer("threads", threads, 1))
    place = resolve_device(device)
    paths = []
    for name, poses in PATHS.items():
        path = poses(max(histories) + (repeats + 1) * queries)
        travellers = [Traveller(path, history, num_context, place) for history in histories]
        rounds, agreed = [], []
        told = {"desc": f"bench retrieval, {name}", "unit": "round", "dynamic_ncols": True}
        for _ in tqdm(range(repeats + 1), **told, disable=quiet):
            measured = []
            for number in range(queries):
                if number < checked:
                    agreed.append([traveller.choose() == traveller.choose_by_force() for traveller in travellers])
                measured.append([_query(traveller) for traveller in travellers])
            rounds.append(np.median(measured, axis=0))
        rounds = np.array(rounds[1:])  # the first makes what later ones use
        share = np.mean(agreed, axis=0)
        figures = [
            {
                "history": history,
                "query_ms": round(float(query), 4),
                "remember_ms": round(float(remember), 4),
                "agreement": round(float(same), 4),
            }
            for history, (query, remember), same in zip(histories, np.median(rounds, axis=0), share, strict=True)
        ]
        long, short = np.argmax(histories), np.argmin(histories)
        ratio = np.median(rounds[:, long, 0] / rounds[:, short, 0])
        paths.append({"path": name, "histories": figures, "ratio": round(float(ratio), 3)})
    return {
        "bench": "retrieval",
        "num_context": num_context,
        "queries": repeats * queries,
        "checked": len(agreed),
        "machine": describe(),
        "paths": paths,
    }


def _query(traveller: Traveller) -> tuple[float, float]:
    """Milliseconds to choose the context for the next pose, and to remember that pose."""
    return _milliseconds(traveller.choose), _milliseconds(traveller.remember)


def _milliseconds(function: Callable[[], object]) -> float:
    synchronize()
    began = time.perf_counter()
    function()
    synchronize()
    return 1000 * (time.perf_counter() - began)
