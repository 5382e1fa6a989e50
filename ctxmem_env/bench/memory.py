"""`ctxmem bench memory`: what a bounded memory loses of a place, what a frame takes, and what eviction costs.

Worlds roam test scenes, then look again from where they have been: once with an unlimited memory and once with every
policy of eviction, along the same poses.
"""

import gc
import time
import tracemalloc
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ctxmem_env.bench.machine import describe
from ctxmem_env.camera import DEFAULT_FOV, motion_between
from ctxmem_env.device import resident_mb
from ctxmem_env.errors import check_integer
from ctxmem_env.evaluation.metrics import psnr
from ctxmem_env.eviction import Coverage, check_eviction
from ctxmem_env.generator import Context, Generated, Generator, load_generator
from ctxmem_env.memory import FrameMemory
from ctxmem_env.scenes import SPLITS, Scene, build_scene, random_walk, render, split_seeds, stack_scenes, tour
from ctxmem_env.spatial_index import SpatialIndex
from ctxmem_env.world import SceneWorld

UNLIMITED = "unlimited"
_RECENT = 100  # steps before the end of a walk; what was seen since then is not what a memory loses
_APPENDED = 200  # frames whose arrival is timed
_SOAK_AT = (0.2, 0.6, 1.0)  # of the soak, when the process is weighed
_SEED = 0


class Roam:
    """Walks of `steps` steps through the first test scenes, and the poses (n, R, 6) that are visited again."""

    def __init__(self, scenes: int, steps: int, tour_frames: int, revisits: int):
        self.seeds = split_seeds("test", scenes)
        built = [build_scene(seed) for seed in self.seeds]
        walks, tours = [], []
        for scene, seed in zip(built, self.seeds, strict=True):
            rng = np.random.default_rng(seed)
            walks.append(random_walk(scene, steps + 1, rng))
            tours.append(tour(scene, tour_frames + 1, rng, walks[-1][0]))
        self.scenes: Scene = stack_scenes(built)
        self.walk, self.tour = torch.stack(walks).float(), torch.stack(tours).float()
        # In any order: one revisit tells nothing about the next.
        self.again = np.random.default_rng(_SEED).permutation(np.arange(1, steps - _RECENT + 1))[:revisits]

    def follow(self, world: SceneWorld, progress: tqdm) -> tuple[Tensor, Tensor]:
        """What the worlds painted first and later at the poses that are visited again, each (n, R, H, W, 3)."""
        height, width = world.generator.height, world.generator.width
        frames, depth = render(self.scenes, self.tour, DEFAULT_FOV, height, width)
        for i, seed in enumerate(self.seeds):
            world.reset(i, frames[i], depth[i], self.tour[i], DEFAULT_FOV, seed)
        first = {}
        for step in range(1, self.walk.shape[1]):
            painted = world.advance(motion_between(world.poses, self.walk[:, step].to(world.device)))
            first[step] = painted.frames.cpu()
            progress.update()
        later = [
            world.advance(motion_between(world.poses, self.walk[:, step].to(world.device))).frames.cpu()
            for step in self.again
        ]
        return torch.stack([first[step] for step in self.again], 1), torch.stack(later, 1)

    def truth(self, height: int, width: int) -> Tensor:
        """The scenes from the poses that are visited again, (n, R, H, W, 3)."""
        return render(self.scenes, self.walk[:, self.again], DEFAULT_FOV, height, width)[0]


class Stand:
    """In the place of a generator in a soak: features as large as the model's, and frames that cost nothing."""

    def __init__(self, generator: Generator, features: dict[str, Tensor]):
        self.height, self.width, self.default_num_steps = generator.height, generator.width, 1
        self._features = features

    def encode(self, frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> dict[str, Tensor]:
        return {name: value.expand(len(frames), *value.shape[1:]) for name, value in self._features.items()}

    def generate(
        self, poses: Tensor, context: Context, fov: Tensor, num_steps: int, generators: list[torch.Generator]
    ) -> Generated:
        shape = len(poses), self.height, self.width
        frames = torch.zeros(*shape, 3, dtype=torch.uint8, device=poses.device)
        depth = torch.full(shape, 3.0, device=poses.device)
        return Generated(frames, depth, torch.zeros_like(depth))

    def estimate_depth(self, frames: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
        return torch.full(frames.shape[:3], 3.0, device=frames.device)


def bench_memory(
    model: str = "nano",
    capacity: int = 256,
    steps: int = 3000,
    evictions: Sequence[str] = ("coverage", "reservoir", "oldest"),
    scenes: int = 2,
    tour_frames: int = 12,
    revisits: int = 60,
    num_context: int = 8,
    soak_steps: int = 20_000,
    threads: int = 1,
    quiet: bool = False,
) -> dict:
    """Roams `scenes` test scenes for `steps` steps, and looks again from `revisits` places of each, not recent ones.

    Worlds start from a tour of true frames. The soak walks on through one scene, with the first of `evictions`; in it
    the network is left out.

    Returns:
        model, capacity, steps, scenes (split and seeds), revisits, num_context, denoising_steps, machine; memories, a
        list of the unlimited memory and every policy with eviction; first_db, PSNR of the frames first painted at
        the places that are visited again, against the true ones; revisit_db, that of the frames painted there later;
        loss_db, how much lower it is than with unlimited memory; repeat_db, PSNR of later against first frames, 78.1
        where these are equal; by_scene_db, revisit_db of each scene; append_ms, what it takes to remember a frame, the
        median, and of the policies eviction_ms, how much longer than with unlimited memory; bytes_a_frame, of a
        remembered frame: frame, depth, pose (with its number and slot), index (on a CPU), coverage (with that policy)
        and features (of at most `SceneWorld`'s cached_frames); soak: steps, capacity, eviction, resident_mb, those of
        the process after 20, 60 and 100 % of the steps (None where Linux is not at hand), step_ms.

    Raises:
        ValueError: a number that is too small, a capacity below `num_context` or the tour, an unknown model or policy.
    """
    capacity = check_integer("capacity", capacity, max(num_context, tour_frames + 1))
    steps, soak_steps = check_integer("steps", steps, _RECENT + 1), check_integer("soak_steps", soak_steps, 5)
    revisits = check_integer("revisits", revisits, 1, steps - _RECENT)
    if len(evictions) == 0:
        raise ValueError(f"evictions={evictions!r} is empty; expected names of policies, at least one.")
    evictions = [check_eviction(eviction) for eviction in evictions]
    roam = Roam(check_integer("scenes", scenes, 1, len(SPLITS["test"])), steps, tour_frames, revisits)
    torch.set_num_threads(check_integer("threads", threads, 1))
    generator = load_generator(model, "auto")
    device = getattr(generator, "device", "cpu")
    truth = roam.truth(generator.height, generator.width)
    memories, unlimited = [], None
    total = steps * (1 + len(evictions))
    with tqdm(total=total, desc="bench memory", unit="step", dynamic_ncols=True, disable=quiet) as progress:
        for eviction in (UNLIMITED, *evictions):
            bound = {} if eviction == UNLIMITED else {"memory_capacity": capacity, "eviction": eviction}
            world = SceneWorld(generator, len(roam.seeds), num_context=num_context, device=device, **bound)
            first, later = roam.follow(world, progress)
            revisit = psnr(later, truth)
            figures = {"eviction": eviction, "append_ms": _append_ms(generator, steps, **bound)}
            unlimited = unlimited or figures | {"revisit": revisit.mean().item()}
            if bound:
                figures["eviction_ms"] = figures["append_ms"] - unlimited["append_ms"]
            figures |= {"first_db": psnr(first, truth).mean().item(), "revisit_db": revisit.mean().item()}
            figures |= {"loss_db": unlimited["revisit"] - revisit.mean().item()}
            figures |= {"repeat_db": psnr(later, first).mean().item()}
            figures = {name: value if name == "eviction" else round(value, 3) for name, value in figures.items()}
            memories.append(figures | {"by_scene_db": [round(value, 2) for value in revisit.mean(1).tolist()]})
    features = _features(generator, device)
    return {
        "bench": "memory",
        "model": model,
        "capacity": capacity,
        "steps": steps,
        "scenes": {"split": "test", "seeds": roam.seeds},
        "revisits": revisits,
        "num_context": num_context,
        "denoising_steps": generator.default_num_steps,
        "machine": describe(),
        "memories": memories,
        "bytes_a_frame": _bytes_a_frame(generator, capacity, features),
        "soak": _soak(Stand(generator, features), capacity, evictions[0], soak_steps, device, quiet),
    }


def _append_ms(generator: Generator, steps: int, memory_capacity: int | None = None, eviction: str = "oldest") -> float:
    """Median milliseconds to remember one frame of one world on the CPU after `steps` of them."""
    height, width = generator.height, generator.width
    memory = FrameMemory(1, height, width, memory_capacity, eviction=eviction)
    frame, depth = torch.zeros(1, height, width, 3, dtype=torch.uint8), torch.ones(1, height, width)
    poses = random_walk(build_scene(_SEED), steps + _APPENDED, np.random.default_rng(_SEED))
    seconds = []
    for pose in poses:
        began = time.perf_counter()
        memory.append(frame, depth, pose[None])
        seconds.append(time.perf_counter() - began)
    return 1000 * float(np.median(seconds[steps:]))


def _features(generator: Generator, device: torch.device | str) -> dict[str, Tensor]:
    """Those of one frame, (1, ...)."""
    size = 1, generator.height, generator.width
    frame, depth = torch.zeros(*size, 3, dtype=torch.uint8, device=device), torch.ones(size, device=device)
    return generator.encode(frame, depth, torch.zeros(1, 6, device=device), torch.full((1,), DEFAULT_FOV).to(device))


def _bytes_a_frame(generator: Generator, capacity: int, features: dict[str, Tensor]) -> dict[str, int]:
    pixels = generator.height * generator.width
    poses = random_walk(build_scene(_SEED), 4096, np.random.default_rng(_SEED)).tolist()
    tracemalloc.start()
    index, before = SpatialIndex(1), tracemalloc.get_traced_memory()[0]
    for slot, pose in enumerate(poses):
        index.append(0, slot, pose)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    coverage = vars(Coverage(1, capacity, torch.device("cpu"))).values()
    return {
        "frame": 3 * pixels,
        "depth": 2 * pixels,
        "pose": 6 * 4 + 8 + 8,
        "index": round(taken / len(poses)),
        "coverage": round(_bytes(coverage) / capacity),
        "features": _bytes(features.values()),
    }


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _soak(stand: Stand, capacity: int, eviction: str, steps: int, device: torch.device | str, quiet: bool) -> dict:
    """One world walks on with a bounded memory; see `bench_memory`."""
    poses = random_walk(build_scene(_SEED), steps + 1, np.random.default_rng(_SEED))
    world = SceneWorld(stand, memory_capacity=capacity, eviction=eviction, device=device)
    size = 1, stand.height, stand.width
    world.reset(0, torch.zeros(*size, 3, dtype=torch.uint8), torch.ones(size), poses[:1], DEFAULT_FOV, _SEED)
    weigh_at, resident = {round(share * steps) for share in _SOAK_AT}, []
    began = time.perf_counter()
    for step in tqdm(range(1, steps + 1), desc="bench memory, soak", unit="step", dynamic_ncols=True, disable=quiet):
        world.advance(motion_between(world.poses, poses[step : step + 1].to(device)))
        if step in weigh_at:
            gc.collect()
            resident.append(resident_mb())
    seconds = time.perf_counter() - began
    figures = {"steps": steps, "capacity": capacity, "eviction": eviction, "resident_mb": resident}
    return figures | {"step_ms": round(1000 * seconds / steps, 3)}
