"""Worlds as files: which facts and arrays of an environment's state a `ctxmem_env.world_file` holds.

Arrays, for n remembered frames of H x W pixels, oldest first, and k context slots:

- `memory.frames.I` uint8 (m, H, W, 3) and `memory.depth.I` float16 (m, H, W), metres: up to 256 frames, the I-th
  and those after it.
- `memory.poses` float32 (n, 6) and `memory.times` int64 (n,), see `ctxmem_env.memory`.
- `memory.slots` int64 (S,): where the frames lie, then the free slots; S is n where memory is unbounded.
- `world.poses` float32 (1, 6), `world.fov` float32 (1,) and what else `SceneWorld` keeps; `world.generators` uint8
  (1, 5056), the state of its `torch.Generator`.
- `task.NAME` and `eviction.NAME`: the tensors that the task and the eviction policy keep.
- `sight.frames` uint8 (1, H, W, 3), `sight.depth` float32 (1, H, W), `sight.times` int64 (1, k) and `sight.overlap`
  float32 (1, k): what is seen.
- `context.frames` uint8 (k, H, W, 3), `context.depth` float16 (k, H, W), `context.poses` float32 (k, 6) and
  `context.mask` bool (k,): of the last step, if there was one.
- `path` float32 (T, 6): poses since reset; `rewards` float32 (R,): of the steps since then; `motion` float32 (4,): what
  the last action asked for, zeros where there was none.

Facts: `package`, its version; `settings`, the arguments that must agree; `frame`, height and width; `generator`, its
name, and the SHA-256 of its weights file or null; `count`, frames that were ever remembered; the lengths `length` n,
`slots` S, `path` T and `rewards` R, and whether there is a `context`; `collided`; `prompts`, what is to be shown, in
words; `random`, the state of `np_random` and its seed; `task` and `eviction`, what these keep besides tensors.
"""

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.facts import dtype_name, join, random_generator, random_state, split, tensors_of, to_array
from ctxmem_env.generator import Context
from ctxmem_env.memory_state import MemoryState
from ctxmem_env.settings import Settings
from ctxmem_env.sight import Sight
from ctxmem_env.start import check_fov
from ctxmem_env.state import FaceState
from ctxmem_env.track import Track
from ctxmem_env.world import SceneWorld
from ctxmem_env.world_file import WorldFile, write_world_file

_BLOCK = 256  # frames that are packed together
_SIGHT = ("frames", "depth", "times", "overlap")
_CONTEXT = ("frames", "depth", "poses", "mask")

Spec = dict[str, tuple[str, tuple[int, ...]]]
"""dtype and shape of each array."""


def save_world(path: str | Path, settings: Settings, world: SceneWorld, state: FaceState) -> Path:
    """Write a moment of an environment, its present one; errors as of `write_world_file`.

    Raises:
        ValueError: a path that cannot be written to, or a task or an eviction policy that keeps something other than
            tensors, numbers, texts and random generators.
    """
    memory, own, track = state.world.memory, state.own, state.own["_track"]
    task, task_arrays = split("task", state.task)
    eviction, eviction_arrays = split("eviction", vars(memory.eviction) if memory.eviction else {})
    used = memory.slots.shape[1] if settings.memory_capacity is not None else int(memory.lengths[0])
    facts = {
        "package": version("ctxmem-env"),
        "settings": settings.of_worlds,
        "frame": [settings.height, settings.width],
        "generator": identify_generator(settings, world),
        "length": int(memory.lengths[0]),
        "count": int(memory.counts[0]),
        "slots": used,
        "path": len(track),
        "rewards": track.num_rewards,
        "context": own["_context"] is not None,
        "collided": bool(own["_sight"].collided[0]),
        "prompts": state.world.parts["prompts"],
        "random": {"state": random_state(own["_np_random"]), "seed": own["_np_random_seed"]},
        "task": task,
        "eviction": eviction,
    }

    def arrays() -> Iterator[tuple[str, np.ndarray]]:
        for first in range(0, facts["length"], _BLOCK):
            block = torch.arange(first, min(first + _BLOCK, facts["length"]))
            entries = world.memory.gather(block[None])
            yield f"memory.frames.{first}", to_array(entries.frames[0])
            yield f"memory.depth.{first}", to_array(entries.depth[0].half())
        for name, value in (("poses", memory.poses), ("times", memory.times), ("slots", memory.slots[:, :used])):
            yield f"memory.{name}", to_array(value[0])
        yield from ((f"world.{name}", to_array(part)) for name, part in tensors_of(state.world.parts).items())
        yield "world.generators", to_array(torch.stack(state.world.generators))
        yield from (task_arrays | eviction_arrays).items()
        yield from ((f"sight.{name}", to_array(getattr(own["_sight"], name))) for name in _SIGHT)
        if own["_context"] is not None:
            depth = own["_context"].depth.half()  # it came from memory, so that nothing is lost
            parts = replace(own["_context"], depth=depth)
            yield from ((f"context.{name}", to_array(getattr(parts, name)[0])) for name in _CONTEXT)
        yield "path", track.poses
        yield "rewards", track.rewards
        yield "motion", np.zeros(4, np.float32) if track.motion is None else track.motion

    return write_world_file(path, facts, arrays())


def load_world(path: str | Path, settings: Settings, world: SceneWorld, any_generator: bool) -> FaceState:
    """The state that a file holds, for `restore_state` of an environment with that one world.

    Raises:
        ValueError: a file that is not there, not intact, or not a saved world; or a world that was saved with other
            settings or, unless `any_generator`, by another generator. Each names the path.
    """
    with WorldFile(path) as file:
        _check_fit(file, settings, None if any_generator else identify_generator(settings, world))
        present = world.clone_state()
        spec = _specify(file, settings, world, present.memory)
        arrays = {name: torch.from_numpy(file.read(name)).to(world.device) for name in _match(file, spec)}
        try:
            return _build(file, arrays, settings, world)
        except (AttributeError, LookupError, OverflowError, RuntimeError, TypeError, ValueError) as error:
            file.refuse(f"holds something that no world has ({error})")


def _check_fit(file: WorldFile, settings: Settings, generator: dict[str, str | None] | None) -> None:
    facts = file.facts
    saved = facts.get("settings")
    if not isinstance(saved, dict) or not isinstance(facts.get("generator"), dict):
        file.refuse("has no settings or no generator, and is no world of this package")
    painter = facts["generator"]
    if facts.get("frame") != [settings.height, settings.width]:
        file.refuse(
            f"has frames of {facts.get('frame')} pixels (height, width), and those of this environment have "
            f"{[settings.height, settings.width]}; use the model that painted it, {painter.get('name')!r}"
        )
    for name, own in settings.of_worlds.items():
        if saved.get(name) != own:
            was = saved.get(name)
            file.refuse(
                f"was saved with {name}={was!r}, and this environment has {name}={own!r}; open it with {name}={was!r}"
            )
    same = generator is None or painter.get("sha256") == generator["sha256"]
    if not same or (generator and generator["sha256"] is None and painter.get("name") != generator["name"]):
        file.refuse(
            f"was painted by {tell_generator(painter)}, and this environment has {tell_generator(generator)}; open it "
            "with the first, or pass any_generator=True to go on with the second"
        )


def _specify(file: WorldFile, settings: Settings, world: SceneWorld, memory: MemoryState) -> Spec:
    """The arrays that a file with these facts must have."""

    def count(name: str, low: int, high: float = 2**40) -> int:
        value = file.facts.get(name)
        if type(value) is not int or not low <= value <= high:
            file.refuse(f"has {name}={value!r}; expected an integer of at least {low} that fits the memory")
        return value

    bound = settings.memory_capacity or 2**40
    length, path, rewards = count("length", 1, bound), count("path", 1), count("rewards", 0)
    count("count", length)
    slots = count("slots", length, bound if settings.memory_capacity else length)
    k, size = settings.num_context, (settings.height, settings.width)
    spec: Spec = {}
    for first in range(0, length, _BLOCK):
        if f"memory.frames.{first}" not in file.entries:
            file.refuse(f"lacks memory.frames.{first}, for it tells of {length:,} frames")
        block = min(_BLOCK, length - first)
        spec[f"memory.frames.{first}"] = ("uint8", (block, *size, 3))
        spec[f"memory.depth.{first}"] = ("float16", (block, *size))
    spec |= {"memory.poses": ("float32", (length, 6)), "memory.times": ("int64", (length,))}
    spec |= {"memory.slots": ("int64", (slots,)), "path": ("float32", (path, 6))}
    spec |= {"rewards": ("float32", (rewards,)), "motion": ("float32", (4,))}
    present = {"world": world.clone_state().parts, "task": vars(settings.task)}
    present["eviction"] = vars(memory.eviction) if memory.eviction else {}
    for prefix, own in present.items():
        for name, value in tensors_of(own).items():
            spec[f"{prefix}.{name}"] = (dtype_name(value), tuple(value.shape))
    spec["world.generators"] = ("uint8", (1, len(torch.Generator().get_state())))
    spec |= {"sight.frames": ("uint8", (1, *size, 3)), "sight.depth": ("float32", (1, *size))}
    spec |= {"sight.times": ("int64", (1, k)), "sight.overlap": ("float32", (1, k))}
    if file.facts.get("context"):
        spec |= {"context.frames": ("uint8", (k, *size, 3)), "context.depth": ("float16", (k, *size))}
        spec |= {"context.poses": ("float32", (k, 6)), "context.mask": ("bool", (k,))}
    return spec


def _match(file: WorldFile, spec: Spec) -> Spec:
    found = {name: (entry.dtype, entry.shape) for name, entry in file.entries.items()}
    for name in sorted(spec.keys() | found.keys()):
        if found.get(name) != spec.get(name):
            file.refuse(f"has {name} of {found.get(name, 'none')}; expected {spec.get(name, 'none')}")
    return spec


def _build(file: WorldFile, arrays: dict[str, Tensor], settings: Settings, world: SceneWorld) -> FaceState:
    """The state of arrays whose shapes fit."""
    facts, present = file.facts, world.clone_state()
    length = facts["length"]
    frames, depth = (
        torch.cat([arrays[f"memory.{part}.{first}"] for first in range(0, length, _BLOCK)])
        for part in ("frames", "depth")
    )
    times, slots = arrays["memory.times"], arrays["memory.slots"]
    order = torch.arange(len(slots), device=slots.device)
    fits = torch.equal(slots.sort().values, order) and (
        settings.memory_capacity is not None or torch.equal(slots, order)
    )
    fits &= int(times[0]) >= 0 and int(times[-1]) == facts["count"] - 1 and bool((times.diff() > 0).all())
    finite = ("memory.poses", "world.poses", "world._stands", "path", "rewards", "motion")
    fits &= all(bool(arrays[name].isfinite().all()) for name in finite)
    if not fits or not bool(depth.isfinite().all()):
        raise ValueError("slots, times, poses or depth that do not fit each other")
    check_fov("fov", float(arrays["world.fov"][0]))
    eviction = present.memory.eviction
    if eviction is not None:
        eviction.__dict__.update(join("eviction", vars(eviction), facts["eviction"], arrays))
    rng = arrays["world.generators"].cpu()
    torch.Generator().set_state(rng[0])  # refuses what is none
    prompts = facts["prompts"]
    if not isinstance(prompts, list) or len(prompts) != 1 or not isinstance(prompts[0], str):
        raise ValueError(f"prompts={prompts!r}, not one text")
    parts = present.parts | {name: arrays[f"world.{name}"] for name in tensors_of(present.parts)}
    parts |= {"_unopened": set(), "prompts": prompts}
    memory = world.memory.state_from(
        frames, depth, arrays["memory.poses"], times, slots, count=facts["count"], eviction=eviction
    )
    task = copy(settings.task)
    task.__dict__ = join("task", vars(task), facts["task"], arrays)
    if task.cameras != settings.task.cameras:
        raise ValueError(f"task.cameras={task.cameras}, not {settings.task.cameras}")
    context = None
    if facts["context"]:
        frames, depth, poses, mask = (arrays[f"context.{name}"][None] for name in _CONTEXT)
        context = Context(frames, depth.float(), poses, mask)
    collided = torch.tensor([facts["collided"] is True], device=world.device)
    frames, depth, times, overlap = (arrays[f"sight.{name}"] for name in _SIGHT)
    goal = {name: value.clone() for name, value in task.observe().items()}
    seed = facts["random"]["seed"]
    track = Track(arrays["path"].cpu().numpy(), arrays["rewards"].cpu().numpy())
    track.motion = arrays["motion"].cpu().numpy() if facts["rewards"] else None
    own = {
        "_np_random": random_generator(facts["random"]["state"]),
        "_np_random_seed": seed if seed is None else int(seed),
        "_sight": Sight(frames, depth, parts["poses"].clone(), times, overlap, collided, goal, task.inform()),
        "_context": context,
        "_track": track,
    }
    return FaceState(replace(present, memory=memory, generators=[rng[0]], parts=parts), vars(task), own)


def identify_generator(settings: Settings, world: SceneWorld) -> dict[str, str | None]:
    """Name of the generator that paints a world, and the SHA-256 of its weights, None where it has none."""
    kind = type(world.generator)
    own = getattr(settings.model, "name", f"{kind.__module__}.{kind.__qualname__}")
    name = settings.model if isinstance(settings.model, str) else own
    return {"name": name, "sha256": getattr(world.generator, "weights_sha256", None)}


def tell_generator(generator: dict[str, Any]) -> str:
    """The same in words."""
    sha256 = generator.get("sha256")
    return f"{generator.get('name')!r}" + (f" (weights of SHA-256 {sha256[:12]})" if isinstance(sha256, str) else "")
