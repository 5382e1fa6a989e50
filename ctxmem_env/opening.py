"""Opening the worlds behind a face: the model, the memory, and the first frames."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.device import available_bytes, resolve_device
from ctxmem_env.generator import load_generator
from ctxmem_env.place import OpenPlace, ScenePlace
from ctxmem_env.scenes import SPLITS, Scene
from ctxmem_env.settings import Settings
from ctxmem_env.start import Start, first_frames
from ctxmem_env.tasks import Beginning, Task
from ctxmem_env.world import SceneWorld

_BYTES_A_PIXEL = 5  # of a remembered frame: three of colour, two of depth
_MOST_SCENES = len(SPLITS["train"])  # from which one is drawn
# How torch says on a CPU that memory is full; there it has no type of its own for that.
_FULL = ("can't allocate memory", "not enough memory", "size calculation overflowed")


class Opening(NamedTuple):
    """What `SceneWorld.reset` and the task take, for one world; and the scene, a batch of one, if one was rendered.

    drawn: what the task drew for the episode; prompt: what the world is to show, in words.
    """

    frames: Tensor
    depth: Tensor
    poses: Tensor
    fov: float
    seed: int
    scenes: Scene | None
    beginning: Beginning
    drawn: Any
    prompt: str

    def reset(self, world: SceneWorld, task: Task, index: int) -> None:
        """Start one of the worlds over with it."""
        world.reset(index, self.frames, self.depth, self.poses, self.fov, self.seed, prompt=self.prompt)
        task.begin(index, self.beginning, self.drawn)


def open_worlds(settings: Settings, num_worlds: int, cameras: int = 1) -> SceneWorld:
    """Worlds without frames, over the model; ValueError when the device is not here or memory is full."""
    model, device = settings.model, resolve_device(settings.device)
    generator = load_generator(model, settings.device) if isinstance(model, str) else model
    with explain_full_memory(settings, num_worlds, device):
        settings.task.cameras = cameras
        settings.task.open(num_worlds * cameras, settings.height, settings.width, device)
        return SceneWorld(
            generator,
            num_worlds,
            retrieval=settings.retrieval,
            num_context=settings.num_context,
            memory_capacity=settings.memory_capacity,
            eviction=settings.eviction,
            num_steps=settings.num_steps,
            device=device,
            dynamics=settings.dynamics,
            cameras=cameras,
        )


def draw_openings(settings: Settings, world: SceneWorld, start: Start, rng: np.random.Generator) -> list[Opening]:
    """What each camera of a world begins with, the first one as `start` says.

    The others stand at free places of the same scene, each with a tour of its own; of a photograph all begin with the
    same frames. Errors as of `draw_opening`.
    """
    openings = [draw_opening(settings, world, start, rng)]
    for _ in range(1, world.cameras):
        first = openings[0]
        if first.scenes is None:
            drawn = settings.task.draw(first.beginning, start.goal, rng)
            openings.append(first._replace(drawn=drawn))
        else:
            scene = first.beginning.place.scene
            openings.append(draw_opening(settings, world, replace(start, pose=None), rng, scene))
    return openings


def reset_shared(openings: Sequence[Opening], world: SceneWorld, task: Task) -> None:
    """Start a single world over whose cameras begin with these openings, and remember each frame once."""
    first = openings[0]
    different = openings[:1] if first.scenes is None else openings
    frames, depth, poses = (torch.cat([opening[part] for opening in different]) for part in range(3))
    ends = [end - 1 for end in accumulate(len(opening.frames) for opening in different)]
    starts = [ends[min(camera, len(ends) - 1)] for camera in range(len(openings))]
    world.reset(0, frames, depth, poses, first.fov, first.seed, starts, first.prompt)
    for camera, opening in enumerate(openings):
        task.begin(camera, opening.beginning, opening.drawn)


def draw_opening(
    settings: Settings, world: SceneWorld, start: Start, rng: np.random.Generator, scene: Scene | None = None
) -> Opening:
    """The first frames of one world, which is not reset yet; ValueError when the pose is not in free space.

    scene: the one to begin in; None: the one that `start` asks for.
    """
    # Both are drawn whatever the options are, so that these do not shift the randomness that follows.
    scene_seed = start.seeds[int(rng.integers(_MOST_SCENES)) * len(start.seeds) // _MOST_SCENES]
    world_seed = int(rng.integers(2**31))
    size = settings.height, settings.width
    frames, depth, poses, scenes = first_frames(start, scene_seed, rng, *size, world.device, scene)
    known = None if depth is None or settings.seed_depth == "estimated" else depth > 0
    if known is None or not bool(known.all()):
        with torch.no_grad():
            fov = torch.full((len(frames),), start.fov, device=world.device)
            estimated = world.generator.estimate_depth(frames, poses, fov)
        if estimated.shape != frames.shape[:3] or not bool(estimated.isfinite().all()):
            raise ValueError(
                f"estimate_depth of the generator gave shape {tuple(estimated.shape)}, finite values "
                f"{bool(estimated.isfinite().all())}; expected finite metres of shape {tuple(frames.shape[:3])}."
            )
        depth = estimated if known is None else _fill(depth, known, estimated)
    if start.distance is not None:  # a picture alone has no scale
        depth = depth * (start.distance / depth.median())
    place = OpenPlace() if scenes is None else ScenePlace(scenes, settings.clearance, start.fov, *size)
    beginning = Beginning(frames, depth, poses, start.fov, place)
    drawn = settings.task.draw(beginning, start.goal, rng)
    return Opening(frames, depth, poses, start.fov, world_seed, scenes, beginning, drawn, start.prompt or "")


def _fill(depth: Tensor, known: Tensor, estimated: Tensor) -> Tensor:
    """Depth (n, H, W) with the estimate where none is known, in the scale of what each frame does know."""
    filled = []
    for own, there, guess in zip(depth, known, estimated, strict=True):
        scale = (own[there] / guess[there]).median() if bool(there.any()) else 1.0
        filled.append(torch.where(there, own, guess * scale))
    return torch.stack(filled)


@contextmanager
def explain_full_memory(settings: Settings, num_worlds: int, device: torch.device) -> Iterator[None]:
    """Turns an error for want of memory into a ValueError that names the numbers that would fit."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        full = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in _FULL)
        if not full:
            raise
        frame, free = _BYTES_A_PIXEL * settings.height * settings.width, available_bytes(device)
        room = "" if free is None else f", and the {free / 1e9:.1f} GB that are free hold {free // frame:,} of them"
        raise ValueError(
            f"{num_worlds:,} worlds do not fit into memory. A remembered frame of {settings.height} x {settings.width} "
            f"pixels takes {frame:,} bytes{room}; choose num_envs and memory_capacity (now "
            f"{settings.memory_capacity}) so that their product stays below that."
        ) from error


class WithoutWeights:
    """Copies and pickles of a face hold no weights that `load_generator` finds again: they would only swell a pickle.

    The face keeps its arguments in `settings` and its worlds in `_world`, None before the first reset.
    """

    settings: Settings
    _world: SceneWorld | None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if isinstance(self.settings.model, str) and self._world is not None:
            state["_world"] = copy(self._world)
            state["_world"].generator = None
            state["_weights_sha256"] = getattr(self._world.generator, "weights_sha256", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        sha256 = state.pop("_weights_sha256", None)
        self.__dict__.update(state)
        if self._world is not None and self._world.generator is None:
            self._world.generator = load_generator(self.settings.model, self.settings.device, sha256)
