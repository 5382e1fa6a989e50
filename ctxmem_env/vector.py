"""The vector environment: a face on a `SceneWorld` of many worlds; no mathematics of its own."""

import inspect
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from torch import Tensor

from ctxmem_env.batch import check_actions, check_options, check_seeds
from ctxmem_env.env import GenerativeSceneEnv
from ctxmem_env.errors import check_integer, check_names, keyword_names, unknown_name
from ctxmem_env.generator import Context
from ctxmem_env.opening import WithoutWeights, draw_opening, explain_full_memory, open_worlds
from ctxmem_env.recording import draw_panel
from ctxmem_env.scenes import Scene
from ctxmem_env.settings import check_prompt, check_settings, check_start, make_observation_space
from ctxmem_env.sight import Sight, make_view, map_tensors, observe, see_openings, see_step, to_numpy
from ctxmem_env.start import Start
from ctxmem_env.state import FaceState, WithStates
from ctxmem_env.track import Track
from ctxmem_env.world import SceneWorld

_MOST = 2**48  # worlds; NumPy counts no further

ARRAYS = ("numpy", "torch")


class GenerativeSceneVectorEnv(WithStates, WithoutWeights, gym.vector.VectorEnv):
    """Worlds of `GenerativeSceneEnv` in one batch: a step is one retrieval and one call of the generator for all.

    `gymnasium.make_vec("CtxMemScene-v0", num_envs=8)` gives it. Actions, observations, rewards, episodes and infos are
    those of `GenerativeSceneEnv`, batched as `gymnasium.vector.SyncVectorEnv` batches them: with the same seeds,
    options and actions both go the same way, through autoresets too, to the bit where the generator's arithmetic does
    not depend on the size of its batch. On a CPU the packaged model's frames are equal to 2 of 255 levels of colour but
    for one value in a thousand, where remembered frames are as good as each other and rounding decides between them
    (tests/test_vector.py); in coarser arithmetic walks may drift apart.

    Args:
        num_envs: worlds N, at least 1.
        max_episode_steps: steps after which a world is truncated; None, or -1 as in `gymnasium.make`: never.
        autoreset_mode: when a world whose episode has ended starts over, a `gymnasium.vector.AutoresetMode` or its
            value. "NextStep": in the next step, instead of its action. "SameStep": at once; infos hold `final_obs` and
            `final_info`. "Disabled": when `reset` is called with `options={"reset_mask": mask}`, bool (N,).
        array: "numpy", or "torch": observations, rewards, terminations, truncations and infos are tensors on the
            device of the worlds, and no frame is copied to the host. Actions may be either way.
        kwargs: those of `GenerativeSceneEnv`, with its defaults; `render_mode` is None or "rgb_array".

    `reset` takes a seed s, which means s + i, or a list of N seeds or None; and the options of `GenerativeSceneEnv` for
    all worlds, besides `reset_mask` and `worlds`, a list of N dicts of options (or None) for one world each, which go
    before those for all.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": GenerativeSceneEnv.metadata["render_fps"]}  # noqa: RUF012
    _own = ("_random", "_sight", "_context", "_elapsed", "_ended", "_tracks")

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        array: str = "numpy",
        **kwargs: Any,
    ):
        self.num_envs = num_envs = check_integer("num_envs", num_envs, 1, _MOST)
        endless = max_episode_steps is None or max_episode_steps == -1
        self._limit = np.inf if endless else check_integer("max_episode_steps", max_episode_steps, 1)
        modes = [mode.value for mode in AutoresetMode]
        if not isinstance(autoreset_mode, AutoresetMode) and autoreset_mode not in modes:
            raise unknown_name("autoreset_mode", autoreset_mode, modes)
        self._mode = AutoresetMode(autoreset_mode)
        if array not in ARRAYS:
            raise unknown_name("array", array, ARRAYS)
        self._array = array
        check_names("kwargs", kwargs, keyword_names(GenerativeSceneEnv, GenerativeSceneVectorEnv, type(self)))
        arguments = inspect.signature(GenerativeSceneEnv).bind(**kwargs)
        arguments.apply_defaults()
        self.settings = check_settings(**arguments.arguments, render_modes=self.metadata["render_modes"])
        self.render_mode = self.settings.render_mode
        self.metadata = self.metadata | {"autoreset_mode": self._mode}
        self.single_observation_space = make_observation_space(self.settings)
        self.single_action_space = self.settings.actions.space
        with explain_full_memory(self.settings, num_envs, torch.device("cpu")):
            self.observation_space = batch_space(self.single_observation_space, num_envs)
            self.action_space = batch_space(self.single_action_space, num_envs)
        self._world: SceneWorld | None = None
        self._sight: Sight | None = None
        self._context: Context | None = None  # of the last step
        self._random = [None] * num_envs  # of each world, the random generator and its seed
        self._elapsed = np.zeros(num_envs, np.int64)  # steps since reset
        self._ended = np.zeros(num_envs, bool)  # and not yet started over
        self._tracks = [Track() for _ in range(num_envs)]  # of their episodes, if panels are drawn

    def reset(self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None):
        """Open all worlds, or those of `reset_mask`. What is refused leaves every world as it is."""
        seeds = check_seeds(seed, self.num_envs)
        worlds, starts = check_options(self.settings, options, self.num_envs)
        if self._sight is None and len(worlds) < self.num_envs:
            raise ResetNeeded("options['reset_mask'] leaves out worlds that were never reset; reset all of them first.")
        if self._world is None:
            self._world = open_worlds(self.settings, self.num_envs)
        self._sight = self._start(worlds, starts, [seeds[world] for world in worlds], self._sight)
        opened = np.zeros(self.num_envs, bool)
        opened[worlds] = True
        return self._observe(self._sight), self._inform(self._sight, opened)

    def step(self, actions):
        """Move every camera and look. An action that is refused moves no world. Before a reset: ResetNeeded."""
        if self._mode == AutoresetMode.DISABLED and self._ended.any():
            ended = np.flatnonzero(self._ended).tolist()
            raise ResetNeeded(f"Episodes of worlds {ended} have ended; reset them with options['reset_mask'] first.")
        moving = ~self._ended
        motion = check_actions(self.settings, actions, moving)
        sight, rewards, terminations = self._advance(motion, moving)
        self._elapsed += moving
        truncations = moving & (self._elapsed >= self._limit)
        self._ended = to_numpy(terminations) | truncations
        infos, starting = {}, ~moving
        if self._mode == AutoresetMode.SAME_STEP:
            infos, starting = self._finish(sight, self._ended), self._ended.copy()
        if starting.any():
            worlds, start = np.flatnonzero(starting), check_start(self.settings, None)
            sight = self._start(worlds, [start] * len(worlds), [None] * len(worlds), sight)
        self._sight = sight
        infos |= self._inform(sight, np.ones_like(moving))
        rewards = self._put(rewards) if self._array == "torch" else to_numpy(rewards).astype(np.float64)
        ends = self._put(terminations), self._put(self._to_device(truncations))
        return self._observe(sight), rewards, *ends, infos

    def restore_state(self, state: FaceState):
        """Go back to a moment that `clone_state` kept, as often as one likes; observations and infos as they were."""
        self._put_back(state)
        return self._observe(self._sight), self._inform(self._sight, np.ones(self.num_envs, bool))

    def set_prompt(self, prompt: str | Sequence[str | None]) -> None:
        """Say in words what all worlds are to show from the next step on, or each one; None leaves a world as it is.

        ValueError where the model takes no text, and no world hears of it; before the first reset ResetNeeded.
        """
        prompts = [prompt] * self.num_envs if isinstance(prompt, str) else list(prompt)
        if len(prompts) != self.num_envs:
            raise ValueError(
                f"prompt holds {len(prompts)} texts; expected one, or one a world, {self.num_envs} in all."
            )
        world = self.world
        for i, text in enumerate(prompts):
            if text is not None:
                check_prompt(f"prompt[{i}]", text, self.settings)
        for i, text in enumerate(prompts):
            if text is not None:
                world.set_prompt(i, text)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """With "rgb_array" a panel for each world, uint8 (height, width, 3)."""
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; pass one to gymnasium.make_vec.")
            return None
        shown = self._sight, self._context
        return tuple(
            draw_panel(make_view(*shown, track, self.world.memory, self.world.fov, i, i))
            for i, track in enumerate(self._tracks)
        )

    @property
    def world(self) -> SceneWorld:
        """The worlds behind this environment; ResetNeeded before the first reset."""
        if self._sight is None:
            raise ResetNeeded("There are no worlds yet; call reset() before step() and render().")
        return self._world

    @property
    def np_random(self) -> tuple[np.random.Generator, ...]:
        """The random generator of each world."""
        return tuple(self._get_random(world)[0] for world in range(self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:
        """The seed that the random generator of each world began with."""
        return tuple(self._get_random(world)[1] for world in range(self.num_envs))

    def _advance(self, motion: Tensor, moving: np.ndarray) -> tuple[Sight, Tensor, Tensor]:
        """What is seen after worlds that are `moving`, bool (N,), have moved; rewards and terminations (N,)."""
        world, moves = self.world, self._to_device(moving)
        rewards, terminations = torch.zeros_like(moves, dtype=torch.float32), torch.zeros_like(moves)
        if not moving.any():
            return self._sight, rewards, terminations
        step = world.advance(motion, None if moving.all() else torch.from_numpy(moving))
        sight, reward, terminated = see_step(step, self.settings.task)
        self._context = step.context
        if self.render_mode is not None:
            for i in np.flatnonzero(moving):
                self._tracks[i].go(to_numpy(motion[i]), float(reward[i]))
        self._remember_path(sight, np.flatnonzero(moving))
        return sight, reward.where(moves, rewards), terminated & moves

    def _get_random(self, world: int) -> tuple[np.random.Generator, int]:
        if self._random[world] is None:
            self._random[world] = seeding.np_random()
        return self._random[world]

    def _start(
        self, worlds: np.ndarray, starts: Sequence[Start], seeds: Sequence[int | None], sight: Sight | None
    ) -> Sight:
        """Start these worlds over, all or, where one start is refused, none; `sight` with what they show now."""
        drawn = []
        for world, start, seed in zip(worlds, starts, seeds, strict=True):
            random = deepcopy(self._get_random(world)) if seed is None else seeding.np_random(seed)
            try:
                drawn.append((random, draw_opening(self.settings, self._world, start, random[0])))
            except ValueError as error:
                raise ValueError(f"world {world}: {error}") from None
        for world, (random, opening) in zip(worlds.tolist(), drawn, strict=True):
            self._random[world] = random
            opening.reset(self._world, self.settings.task, world)
            self._enter(opening.scenes, world)
            self._tracks[world] = Track()
        self._elapsed[worlds], self._ended[worlds] = 0, False
        openings = [opening for _, opening in drawn]
        rows = see_openings(openings, self._to_device(worlds), self.settings.num_context, self.settings.task)
        sight = rows if sight is None else sight.with_rows(self._to_device(worlds), rows)
        self._remember_path(sight, worlds)
        return sight

    def _remember_path(self, sight: Sight, worlds: np.ndarray) -> None:
        if self.render_mode is not None:
            poses = to_numpy(sight.poses)
            for world in worlds:
                self._tracks[world].arrive(poses[world])

    def _observe(self, sight: Sight) -> Any:
        return map_tensors(self._put, observe(self.settings, sight)[0])

    def _inform(self, sight: Sight, known: np.ndarray) -> dict[str, Any]:
        """Infos of the worlds where `known`, bool (N,), is True, zeros elsewhere, with their masks."""
        known, infos = self._to_device(known), {}
        for name, value in observe(self.settings, sight)[1].items():
            mask = known.view(-1, *[1] * (value.ndim - 1))
            value = value * mask
            if value.ndim == 1 and value.is_floating_point() and self._array == "numpy":
                value = value.double()  # as Gymnasium batches Python's floats
            infos |= {name: self._put(value), f"_{name}": self._put(known)}
        return infos

    def _finish(self, sight: Sight, ended: np.ndarray) -> dict[str, Any]:
        """Infos of episodes that have ended, before their worlds start over; empty where none has."""
        if not ended.any():
            return {}
        last = np.full(self.num_envs, None, dtype=object)
        for world in np.flatnonzero(ended):
            last[world] = self._observe(sight.rows(int(world)))
        infos = {"final_obs": last, "final_info": self._inform(sight, ended)}
        return infos | {f"_{name}": self._put(self._to_device(ended)) for name in infos}

    def _put(self, tensor: Tensor) -> Any:
        """As the caller wants it, apart from what the worlds hold."""
        return tensor.detach().clone() if self._array == "torch" else to_numpy(tensor)

    def _to_device(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self._world.device)

    def _enter(self, scenes: Scene | None, world: int) -> None:
        """Called with the scene, a batch of one, that the first frames of a world show. Here nothing of it is kept."""
