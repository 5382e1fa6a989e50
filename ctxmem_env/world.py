"""The one transition: a batch of worlds that a generator paints view by view from what it remembers."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ctxmem_env.camera import along
from ctxmem_env.dynamics import Dynamics
from ctxmem_env.errors import check_integer
from ctxmem_env.examples import KeptExamples, add_stands, first_stand, no_stands
from ctxmem_env.feature_cache import FeatureCache, FeatureTable
from ctxmem_env.generator import Context, Generator, generate_along, traits_of
from ctxmem_env.memory import FrameMemory, SharedMemory
from ctxmem_env.memory_state import WorldState
from ctxmem_env.retrieval import RetrievalStrategy, forgets, select_context

# Of a world, besides its memory and random generators.
_STATE = ("poses", "fov", "prompts", "_newest", "_given", "_stands", "_unopened")
_AT_ONCE = 64  # frames that are encoded again


@dataclass
class Step:
    """What one step of B cameras made, with k context slots each: of one a world, unless cameras share worlds.

    frames (B, H, W, 3) uint8; depth (B, H, W) in metres; poses (B, 6); own_weight (B, H, W) in [0, 1], the
    share of a pixel that the generator painted itself. The context that was used: its indices (B, k) in
    memory before this step, its times (B, k) (the frame's number since reset), both -1 for an empty slot, its
    overlap (B, k) with the new view in [0, 1], and the context itself without its features. collided (B,) bool,
    whether a surface cut the motion short.
    """

    frames: Tensor
    depth: Tensor
    poses: Tensor
    own_weight: Tensor
    indices: Tensor
    times: Tensor
    overlap: Tensor
    context: Context
    collided: Tensor


class SceneWorld:
    """`num_worlds` independent worlds that move in step; each must be reset before the first `advance`.

    With `cameras` above 1 each world has so many, and one memory that they share. What holds a row a world otherwise
    (poses, fov, random generators, a step) then holds a row a camera, row = world * cameras + camera. In a step all
    look at once: the frames that they make do not see each other, and are remembered in the order of the cameras.

    Args:
        generator: paints new views; shared by all worlds, and it keeps no state of theirs. Where it paints several
            frames a step, along the way, all of them are remembered, and the last is what a step returns.
        num_worlds: batch size B.
        retrieval: a name from `ctxmem_env.retrieval.RETRIEVAL`, or a strategy.
        num_context: context slots k for each step.
        memory_capacity: frames that each world remembers, at least one a camera; None for no bound.
        eviction: which frame goes when a world is full; a name from `ctxmem_env.eviction.EVICTIONS`.
        num_steps: denoising steps; None for the generator's default.
        cached_frames: frames of each world whose features are kept, no more than it remembers; others are encoded again
            when needed.
        device: where memory and poses live. Elsewhere than on the CPU a step asks the device for nothing, if
            `memory_capacity` is at most `cached_frames`.
        dynamics: what stops the cameras; None: nothing.
        cameras: C, of each world.
    """

    def __init__(
        self,
        generator: Generator,
        num_worlds: int = 1,
        retrieval: str | RetrievalStrategy = "fov",
        num_context: int = 8,
        memory_capacity: int | None = None,
        num_steps: int | None = None,
        cached_frames: int = 1024,
        device: str | torch.device = "cpu",
        dynamics: Dynamics | None = None,
        eviction: str = "coverage",
        cameras: int = 1,
    ):
        self.cameras = check_integer("cameras", cameras, 1)
        self.dynamics = dynamics
        self.generator = generator
        self.retrieval = retrieval
        self.num_context = num_context
        self.num_steps = generator.default_num_steps if num_steps is None else num_steps
        self.device = torch.device(device)
        if memory_capacity is not None and memory_capacity < cameras:
            raise ValueError(
                f"memory_capacity={memory_capacity} is less than cameras={cameras}; expected room for the newest frame "
                "of each camera. Raise memory_capacity."
            )
        size = generator.height, generator.width
        self.memory = FrameMemory(num_worlds, *size, memory_capacity, self.device, eviction, newest=cameras)
        rows = num_worlds * cameras
        self.poses = torch.zeros(rows, 6, device=self.device)
        self.fov = torch.zeros(rows, device=self.device)
        self.prompts = [""] * rows
        # On the CPU whatever the device is, so that a seed means the same everywhere.
        self.generators = [torch.Generator() for _ in range(rows)]
        # The time of the newest frame of each camera; on the CPU, as lengths are.
        self._newest = torch.zeros(num_worlds, cameras, dtype=torch.int64)
        # How many frames opened each world: those of earlier times than that nobody painted.
        self._given = torch.zeros(num_worlds, dtype=torch.int64, device=self.device)
        kept = cached_frames if memory_capacity is None else min(cached_frames, memory_capacity)
        self._cache = FeatureCache(max(kept, num_context * cameras) * num_worlds)
        self._table = None
        if self.device.type != "cpu" and memory_capacity is not None and memory_capacity <= cached_frames:
            self._table = FeatureTable(num_worlds, memory_capacity)
        self._unopened = set(range(num_worlds))
        self._examples, self._stands = KeptExamples(), no_stands(num_worlds, self.device)
        traits = traits_of(generator)
        self._frames_per_step, self._attended = traits.frames_per_step, traits.num_attended

    @torch.no_grad()
    def reset(
        self,
        world: int,
        frames: Tensor,
        depth: Tensor,
        poses: Tensor,
        fov: float,
        seed: int,
        starts: Sequence[int] | None = None,
        prompt: str = "",
    ) -> None:
        """Start one world over: it remembers n frames, in order, and its camera stands at the last one.

        Args:
            world: index in the batch; the other worlds stay as they are.
            frames: uint8 (n, H, W, 3), n >= 1.
            depth: (n, H, W), metres.
            poses: (n, 6).
            fov: horizontal field of view of this world, degrees.
            seed: of all randomness in this world from here on; that of its camera c is seed + c.
            starts: which of the frames each camera stands at, C indices; None: all at the last.
            prompt: what the world is to show, in words, for a generator that takes text.

        Raises:
            ValueError: no frames, different numbers of them, a value that is not finite, or starts that are not
                theirs; the world is then as it was.
        """
        if not len(frames) == len(depth) == len(poses) > 0:
            raise ValueError(
                f"frames, depth and poses hold {len(frames)}, {len(depth)} and {len(poses)} entries; "
                f"expected the same number of each, at least one."
            )
        if not (depth.isfinite().all() and poses.isfinite().all()):
            raise ValueError("depth or poses hold NaN or infinity; expected finite metres and radians.")
        self.memory.check_entry(frames, depth, poses, len(frames))
        starts = [len(frames) - 1] * self.cameras if starts is None else list(starts)
        if len(starts) != self.cameras or not all(0 <= start < len(frames) for start in starts):
            raise ValueError(
                f"starts={starts}; expected the index of a frame for each camera, {self.cameras} in all, from 0 to "
                f"{len(frames) - 1}."
            )
        self.memory.clear([world], fov, seed)
        self._cache.drop(world)
        self._examples.clear()
        self._stands[world] = no_stands(1, self.device)[0]
        first = world * self.cameras
        own = slice(first, first + self.cameras)
        self.fov[own] = fov
        self.set_prompt(world, prompt)
        self._given[world] = len(frames)
        for i in range(len(frames)):
            self._remember(frames[i : i + 1], depth[i : i + 1], poses[i : i + 1], torch.tensor([first]))
        for camera, start in enumerate(starts):
            self.poses[first + camera] = poses[start].to(self.poses)
            self.generators[first + camera].manual_seed(seed + camera)
            self._newest[world, camera] = start
        if self._table is None and not self._cache.knows_shapes:
            # A generator may rely on the features' shapes even when a strategy selects nothing.
            newest = torch.full((len(self.poses), 1), -1, device=self.device)
            newest[first] = self.memory.lengths[world] - 1
            self._gather(newest)
        self._unopened.discard(world)

    def set_prompt(self, world: int, prompt: str) -> None:
        """Say in words what one world is to show from the next step on; what it remembers stays."""
        first = world * self.cameras
        self.prompts[first : first + self.cameras] = [prompt] * self.cameras

    @torch.no_grad()
    def advance(self, motion: Tensor, moving: Tensor | None = None) -> Step:
        """Move every camera by a body-frame motion (B, 4) and paint what it sees.

        A camera where `moving`, bool (B,), is False neither moves nor remembers nor draws random numbers, and its row
        of the step means nothing: shapes stay those of the batch. None: all move.

        Raises:
            ValueError: a world that was never reset; no world has moved then.
        """
        if self._unopened:
            raise ValueError(f"worlds {sorted(self._unopened)} hold no frame yet; reset each world before advance.")
        motion, collided = self._limit(motion)
        way, generators, rows = along(self.poses, motion, self._frames_per_step), self.generators, None
        if moving is not None:
            moving = moving.cpu()
            collided = collided & moving.to(self.device)
            way = way.where(moving[:, None, None].to(self.device), self.poses[:, None])
            rows = moving.nonzero().flatten()
            # Whoever stands still has its numbers drawn from a generator that is thrown away.
            pairs = zip(generators, moving.tolist(), strict=True)
            generators = [own if moves else torch.Generator() for own, moves in pairs]
        memory, poses = self._read, way[:, -1]
        selection = select_context(
            self.retrieval,
            memory.poses,
            memory.lengths,
            poses,
            self.num_context,
            self.fov,
            generators,
            index=memory.index,
            anchors=self._anchors,
            cameras=self.cameras,
        )
        context, times = self._gather(selection.indices)
        centre, remembers = first_stand(self._stands, poses), not forgets(self.retrieval)
        context.examples = self._examples.choose(self.memory, self._given, centre, remembers)
        views = generate_along(self.generator, way, context, self.fov, self.num_steps, generators)
        at, rows = (slice(None), torch.arange(len(way))) if rows is None else (rows.to(self.device), rows)
        for view, seen_from in zip(views, way.unbind(1), strict=True):
            self._remember(view.frames[at], view.depth[at], seen_from[at], rows)
        self.poses = poses
        return Step(
            view.frames,
            view.depth,
            poses,
            view.own_weight,
            selection.indices,
            times,
            selection.overlap,
            replace(context, features={}),
            collided,
        )

    def clone_state(self) -> WorldState:
        """This moment of all worlds, for `restore_state`; no frame is copied before another one takes its place."""
        parts = deepcopy({name: getattr(self, name) for name in _STATE})
        return WorldState(self.memory.clone_state(), [rng.get_state() for rng in self.generators], parts)

    @torch.no_grad()
    def restore_state(self, state: WorldState) -> None:
        """Go back to a moment of these worlds, as often as one likes; ValueError for a state of other ones."""
        if not isinstance(state, WorldState):
            raise ValueError(f"state is a {type(state).__name__}; expected what clone_state gave.")
        worlds, slots = self.memory.restore_state(state.memory)
        for rng, own in zip(self.generators, state.generators, strict=True):
            rng.set_state(own)
        self.__dict__.update(deepcopy(state.parts))
        self._examples.clear()
        if self._table is not None:
            for at in torch.arange(len(slots), device=self.device).split(_AT_ONCE):
                self._encode_again(worlds[at], slots[at])

    def _encode_again(self, worlds: Tensor, slots: Tensor) -> None:
        """Features of frames that were put back into `slots` (n,) of `worlds` (n,)."""
        frames, depth, poses = self.memory.at(worlds, slots)
        features = self.generator.encode(frames, depth, poses, self.fov[worlds * self.cameras])
        self._table.store(worlds, slots, features)

    @property
    def _read(self) -> FrameMemory | SharedMemory:
        """The memory with a row for each camera."""
        return self.memory if self.cameras == 1 else SharedMemory(self.memory, self.cameras)

    @property
    def _anchors(self) -> Tensor | None:
        """Where in memory the newest frame of each camera is, (B,); None where it is the newest of all.

        If that was forgotten, the last frame before it, or else the oldest.
        """
        if self.cameras == 1:
            return None
        times, lengths = self.memory.times[:, None], self.memory.lengths[:, None, None]
        remembered = torch.arange(times.shape[-1], device=self.device) < lengths
        no_later = remembered & (times <= self._newest.to(self.device)[..., None])
        return (no_later.sum(-1).flatten() - 1).clamp_min(0)

    def _limit(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """The part of motions (B, 4) that is free, and which were cut, bool (B,)."""
        # Asked before the motion goes to another device: half of all actions only turn.
        walks = self.dynamics is not None and bool(motion[:, :2].any())
        motion = motion.to(self.poses)
        if not walks:
            return motion, torch.zeros(len(motion), dtype=torch.bool, device=self.device)
        return self.dynamics.limit(self._read, self.poses, motion, self.fov)

    def _remember(self, frames: Tensor, depth: Tensor, poses: Tensor, rows: Tensor) -> None:
        """One more frame (n, ...) of each of the cameras `rows`, int64 (n,) on the CPU."""
        if len(rows) == 0:
            return
        if self.cameras == 1:
            slots = self.memory.append(frames, depth, poses, rows)
            add_stands(self._stands, rows, poses[:, :3].to(self.device))
        else:
            slots = self._remember_in_turn(frames, depth, poses, rows)
        if self._table is not None:
            rows = rows.to(self.device)
            frames, depth, poses = frames.to(self.device), depth.to(self.device), poses.to(self.device)
            # Depth as it is remembered: features must not depend on when they were computed.
            features = self.generator.encode(frames, depth.half().float(), poses, self.fov[rows])
            self._table.store(rows // self.cameras, slots, features)

    def _remember_in_turn(self, frames: Tensor, depth: Tensor, poses: Tensor, rows: Tensor) -> Tensor:
        """The slots (n,) of frames that the cameras of a world add one after the other."""
        slots = torch.zeros(len(rows), dtype=torch.int64, device=self.device)
        for camera in range(self.cameras):
            (own,) = (rows % self.cameras == camera).nonzero(as_tuple=True)
            if len(own):
                at, worlds = own.to(self.device), rows[own] // self.cameras
                slots[at] = self.memory.append(
                    frames[own.to(frames.device)], depth[own.to(depth.device)], poses[own.to(poses.device)], worlds
                )
                self._newest[worlds, camera] = self.memory.counts[worlds] - 1
                add_stands(self._stands, worlds, poses[own.to(poses.device), :3].to(self.device))
        return slots

    def _gather(self, indices: Tensor) -> tuple[Context, Tensor]:
        """The context at memory indices (B, k), with features of what the generator attends, and its times (B, k)."""
        frames, depth, poses, times, places, numbers = self._read.gather(indices)
        given = (indices >= 0) & (times < self._given.repeat_interleave(self.cameras)[:, None])
        places, numbers = places[:, : self._attended], numbers[:, : self._attended]
        if self._table is not None:
            features = self._table.gather(places.reshape(self.memory.num_worlds, -1))
            features = {name: value.reshape(*places.shape, *value.shape[2:]) for name, value in features.items()}
            return Context(frames, depth, poses, indices >= 0, features, tuple(self.prompts), given), times
        keys = [
            (row // self.cameras, number) if number >= 0 else None
            for row, numbers_of_row in enumerate(numbers.tolist())
            for number in numbers_of_row
        ]

        def encode(positions: list[int]) -> dict[str, Tensor]:
            at = torch.tensor(positions, device=self.device)
            row, slot = at // numbers.shape[1], at % numbers.shape[1]
            return self.generator.encode(frames[row, slot], depth[row, slot], poses[row, slot], self.fov[row])

        features = self._cache.gather(keys, encode)
        features = {name: value.unflatten(0, (len(indices), -1)) for name, value in features.items()}
        return Context(frames, depth, poses, indices >= 0, features, tuple(self.prompts), given), times
