"""Cameras that share one world, as a `ParallelEnv` of PettingZoo: a face on a `SceneWorld`, without mathematics."""

import inspect
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from torch import Tensor

from ctxmem_env.actions import motion_of_one
from ctxmem_env.env import GenerativeSceneEnv
from ctxmem_env.errors import check_integer, check_names, keyword_names, unknown_name
from ctxmem_env.generator import Context
from ctxmem_env.opening import WithoutWeights, draw_openings, open_worlds, reset_shared
from ctxmem_env.recording import View, Window, draw_panel
from ctxmem_env.scenes import Scene
from ctxmem_env.settings import check_prompt, check_settings, check_start, make_observation_space
from ctxmem_env.sight import Sight, make_view, map_tensors, observe, see_openings, see_step, to_info, to_numpy
from ctxmem_env.start import OPTIONS, Start
from ctxmem_env.track import Track
from ctxmem_env.true_scene import TrueSceneGenerator, TrueScenes, with_the_scene, without_model
from ctxmem_env.world import SceneWorld

try:
    from pettingzoo import AECEnv, ParallelEnv
    from pettingzoo.utils.conversions import parallel_to_aec
except ImportError as error:
    raise ImportError(
        'ctxmem_env.parallel needs PettingZoo, which is not installed; run `pip install "ctxmem-env[pettingzoo]"`.'
    ) from error

MAX_CYCLES = 500  # as many steps as gymnasium.make gives an episode
_NO_KWARGS = {"max_episode_steps": "it is max_cycles that limits the steps of cameras"}


class GenerativeSceneParallelEnv(WithoutWeights, ParallelEnv):
    """Cameras that walk through one generated world and share one memory: what one has seen the other finds unchanged.

    Agents are "camera_0", "camera_1", ... In a step every camera moves, each chooses its context from all frames that
    any of them has made so far, one call of the generator paints all views, and all are remembered, in the order of the
    cameras. Frames of the same step do not see each other: where two cameras look for the first time at the same
    unseen place in the same step, each paints its own. Cameras have no bodies for each other, neither in the pictures
    nor in the way.

    Actions, observations and infos of each agent are those of `GenerativeSceneEnv`; `retrieved` counts the frames of
    the shared memory. Of the tasks, "explore" is cooperative: the cameras share the map of what was seen, and each gets
    the reward of the team. The others are each camera's own, with a goal of its own. A camera whose task has ended
    leaves the world, and the others go on.

    Args:
        num_cameras: C, at least 1.
        max_cycles: steps after which all cameras are truncated, by default as many as in `gymnasium.make`; None: never.
        kwargs: those of `GenerativeSceneEnv`, with its defaults. `memory_capacity` bounds the shared memory; the tour
            and the first frame of every camera must fit into it.

    `reset` takes the options of `GenerativeSceneEnv`. `pose` is that of the first camera; the others begin at free
    places of the same scene that are drawn, each with a tour of its own, or, in a photograph, where the first one does.
    An option that is not known is ignored with a warning, as PettingZoo asks that any may be given.

    `clone_state`, `restore_state`, `save` and `load` of the single environment are not there; `copy.deepcopy` and
    `pickle` give cameras that go on from the same moment.
    """

    metadata = {  # noqa: RUF012
        "name": "ctxmem_scene_v0",
        "render_modes": ["human", "rgb_array"],
        "render_fps": GenerativeSceneEnv.metadata["render_fps"],
        "is_parallelizable": True,
    }

    def __init__(self, num_cameras: int = 2, max_cycles: int | None = MAX_CYCLES, **kwargs: Any):
        self._cameras = check_integer("num_cameras", num_cameras, 1)
        self.max_cycles = None if max_cycles is None else check_integer("max_cycles", max_cycles, 1)
        known = keyword_names(GenerativeSceneEnv, GenerativeSceneParallelEnv, type(self))
        check_names("kwargs", kwargs, known, _NO_KWARGS)
        arguments = inspect.signature(GenerativeSceneEnv).bind(**kwargs)
        arguments.apply_defaults()
        self.settings = check_settings(**arguments.arguments, render_modes=self.metadata["render_modes"])
        self._check_room(self.settings.start.tour)
        self.render_mode = self.settings.render_mode
        self.possible_agents = [f"camera_{i}" for i in range(self._cameras)]
        self.agents: list[str] = []
        # Of each its own, for a space holds the random state of its samples.
        spaces = make_observation_space(self.settings), self.settings.actions.space
        self._observation_spaces, self._action_spaces = (
            {agent: deepcopy(space) for agent in self.possible_agents} for space in spaces
        )
        self._random: np.random.Generator | None = None
        self._world: SceneWorld | None = None
        self._opened = False
        self._elapsed = 0  # steps since reset
        # Of each camera, if panels are drawn: its episode, and what is to be seen of it.
        self._tracks: list[Track] = []
        self._views: list[View | None] = []
        self._window = Window()

    def observation_space(self, agent: str) -> gym.Space:
        """That of one camera, the same object at every call."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space:
        """That of one camera, the same object at every call."""
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Open a world for all cameras.

        Args:
            seed: at least 0; None: go on with the randomness of the episode before, or begin with fresh one.
            options: see the class.

        Returns:
            observations and infos, both by agent.

        Raises:
            ValueError: seed or options that do not fit; the present world stays as it is.
        """
        start = self._check_start(options)
        if seed is None:
            random = deepcopy(self._random) or seeding.np_random()[0]
        else:
            random = seeding.np_random(check_integer("seed", seed, 0))[0]
        if self._world is None:
            self._world = open_worlds(self.settings, 1, self._cameras)
        openings = draw_openings(self.settings, self._world, start, random)
        reset_shared(openings, self._world, self.settings.task)
        for camera, opening in enumerate(openings):
            self._enter(opening.scenes, camera)
        self._random, self._opened, self._elapsed = random, True, 0
        self.agents = self.possible_agents[:]
        self._tracks, self._views = [Track() for _ in self.agents], [None for _ in self.agents]
        rows = torch.arange(self._cameras, device=self._world.device)
        return self._see(see_openings(openings, rows, self.settings.num_context, self.settings.task), None)

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Move every camera and look.

        Args:
            actions: one for each of `agents`, and for no other.

        Returns:
            observations, rewards, terminations, truncations and infos of those agents; whoever has ended is not among
            `agents` any more.

        Raises:
            ValueError: an action that does not fit, is missing or is one too many; no camera moves.
            ResetNeeded: before the first reset, and when the episodes of all cameras have ended.
        """
        world, agents = self.world, self.agents
        if not agents:
            raise ResetNeeded("The episodes of all cameras have ended; call reset() before step().")
        motion = self._check_actions(actions)
        moving = torch.tensor([agent in agents for agent in self.possible_agents])
        step = world.advance(motion, None if moving.all() else moving)
        sight, reward, terminated = see_step(step, self.settings.task)
        self._elapsed += 1
        limit = self.max_cycles is not None and self._elapsed >= self.max_cycles
        for camera in moving.nonzero().flatten().tolist():
            self._tracks[camera].go(to_numpy(motion[camera]), float(reward[camera]))
        observations, infos = self._see(sight, step.context)
        rewards, terminations = (
            {agent: value for agent, value in zip(self.possible_agents, values, strict=True) if agent in agents}
            for values in (reward.tolist(), terminated.tolist())
        )
        self.agents = [agent for agent in agents if not (terminations[agent] or limit)]
        return observations, rewards, terminations, dict.fromkeys(agents, limit), infos

    def set_prompt(self, prompt: str) -> None:
        """As of `GenerativeSceneEnv`, for the world that the cameras share."""
        self.world.set_prompt(0, check_prompt("prompt", prompt, self.settings))

    def render(self) -> np.ndarray | None:
        """The panels of all cameras beside each other: with "rgb_array" uint8 (height, width, 3), else in a window."""
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; give one to the environment.")
            return None
        self.world  # noqa: B018  ResetNeeded
        panel = np.concatenate([draw_panel(view) for view in self._views], axis=1)
        if self.render_mode == "rgb_array":
            return panel
        self._window.show(panel, self.metadata["render_fps"])
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        self._window.close()

    @property
    def world(self) -> SceneWorld:
        """The world behind this environment; ResetNeeded before the first reset."""
        if not self._opened:
            raise ResetNeeded("There is no world yet; call reset() before step() and render().")
        return self._world

    def _see(self, sight: Sight, context: Context | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Observations and infos of the cameras that are there, which are kept for `render` as well."""
        observations, infos = {}, {}
        for camera, agent in enumerate(self.possible_agents):
            if agent not in self.agents:
                continue
            observation, info = observe(self.settings, sight.rows(camera))
            observations[agent], infos[agent] = map_tensors(to_numpy, observation), map_tensors(to_info, info)
            if self.render_mode is not None:
                track, world = self._tracks[camera], self.world
                track.arrive(infos[agent]["pose"])
                self._views[camera] = make_view(sight, context, track, world.memory, world.fov, camera)
        if self.render_mode == "human":
            self.render()
        return observations, infos

    def _check_start(self, options: Any) -> Start:
        if isinstance(options, dict):
            for name in options.keys() - set(OPTIONS):
                gym.logger.warn(f"{unknown_name('reset option', name, OPTIONS)} It is ignored.")
            options = {name: options[name] for name in options if name in OPTIONS}
        start = check_start(self.settings, options)
        self._check_room(start.tour)
        return start

    def _check_room(self, tour: int) -> None:
        capacity, cameras = self.settings.memory_capacity, self._cameras
        if capacity is not None and cameras * (tour + 1) > capacity:
            raise ValueError(
                f"tour={tour} frames and the first frame of each of num_cameras={cameras} do not fit into "
                f"memory_capacity={capacity}; lower tour or raise memory_capacity to at least {cameras * (tour + 1)}."
            )

    def _check_actions(self, actions: Any) -> Tensor:
        """Motions float32 (C, 4), zero for cameras that have left; ValueError unless all others have an action."""
        if not isinstance(actions, dict):
            raise ValueError(f"actions is a {type(actions).__name__}; expected a dict with the action of each agent.")
        expected = f"expected one action for each of {self.agents}. No camera has moved."
        for names, what in (
            ([agent for agent in actions if agent not in self.agents], "holds actions of"),
            ([agent for agent in self.agents if agent not in actions], "lacks those of"),
        ):
            if names:
                raise ValueError(f"actions {what} {names}; {expected}")
        motion = torch.zeros(self._cameras, 4)
        for agent, action in actions.items():
            try:
                own = motion_of_one(self.settings.actions, action)
            except ValueError as error:
                raise ValueError(f"{agent}: {error} No camera has moved.") from None
            motion[self.possible_agents.index(agent)] = own[0]
        return motion

    def _enter(self, scenes: Scene | None, world: int) -> None:
        """Called with the scene, a batch of one, that the first frames of a camera show. Here nothing of it is kept."""


class TrueSceneParallelEnv(TrueScenes, GenerativeSceneParallelEnv):
    """`GenerativeSceneParallelEnv` over the exact renderer; differs as `TrueSceneEnv` does from `GenerativeSceneEnv`.

    No function of the module makes it; `parallel_to_aec(TrueSceneParallelEnv(num_cameras=2))` is the `AECEnv`.

    Args:
        num_cameras, max_cycles: as there.
        height, width: of a frame in pixels, from 8 to 8192.
        kwargs: as there, without `model` and `num_steps`; ValueError where one of them is given.
    """

    metadata = GenerativeSceneParallelEnv.metadata | {"name": "ctxmem_true_scene_v0"}

    def __init__(
        self,
        num_cameras: int = 2,
        max_cycles: int | None = MAX_CYCLES,
        height: int = 64,
        width: int = 64,
        **kwargs: Any,
    ):
        super().__init__(num_cameras, max_cycles, model=TrueSceneGenerator(height, width), **without_model(kwargs))
        self.settings = with_the_scene(self.settings)


def parallel_env(
    *, num_cameras: int = 2, max_cycles: int | None = MAX_CYCLES, **kwargs: Any
) -> GenerativeSceneParallelEnv:
    """`GenerativeSceneParallelEnv` under the name that modules of PettingZoo give it.

    Args:
        num_cameras, max_cycles: as there.
        kwargs: those of `GenerativeSceneEnv`, such as `model`, `task`, `actions`, `observation` and `render_mode`.

    Raises:
        ValueError: arguments that do not fit.
    """
    return GenerativeSceneParallelEnv(num_cameras, max_cycles, **kwargs)


def env(*, num_cameras: int = 2, max_cycles: int | None = MAX_CYCLES, **kwargs: Any) -> AECEnv:
    """`parallel_env` as an `AECEnv`: cameras act in turn, and move together when the last one has acted.

    Arguments and errors are those of `parallel_env`.
    """
    return parallel_to_aec(parallel_env(num_cameras=num_cameras, max_cycles=max_cycles, **kwargs))
