"""The single environment: a face on a `SceneWorld` of one world; no mathematics of its own."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding

from ctxmem_env.actions import STEP_LENGTH, TURN_ANGLE, motion_of_one
from ctxmem_env.camera import DEFAULT_FOV
from ctxmem_env.generator import Context, Generator
from ctxmem_env.opening import WithoutWeights, draw_opening, open_worlds
from ctxmem_env.recording import View, Window, draw_panel
from ctxmem_env.saving import load_world, save_world
from ctxmem_env.scenes import Scene
from ctxmem_env.settings import OBSERVATIONS, check_prompt, check_settings, check_start, make_observation_space
from ctxmem_env.sight import Sight, make_view, map_tensors, observe, see_openings, see_step, to_info, to_numpy
from ctxmem_env.state import FaceState, WithStates
from ctxmem_env.track import Track
from ctxmem_env.world import SceneWorld

__all__ = ["OBSERVATIONS", "GenerativeSceneEnv"]


class GenerativeSceneEnv(WithStates, WithoutWeights, gym.Env):
    """
    ## Description

    A camera walks through a world that a generative model paints frame by frame. Every frame is remembered
    together with the pose that it was seen from. An action moves the camera; the remembered frames whose
    field of view overlaps the new view are handed to the model as context, and the frame that it paints is
    the observation. The method is that of Context-as-Memory
    ([arXiv:2506.03141](https://arxiv.org/abs/2506.03141)).

    `CtxMemTrueScene-v0` has the same spaces and tasks, and the exact renderer in place of the
    model.

    ## Action Space

    With `actions="discrete"` the action is an integer of `Discrete(9)`. One step moves the camera by
    `step_length` metres or turns it by `turn_angle` degrees, in its own frame on the ground plane:

    | Num | Action       | Motion                                         |
    |-----|--------------|------------------------------------------------|
    | 0   | stay         | none                                           |
    | 1   | forward      | `step_length` ahead                            |
    | 2   | back         | `step_length` back                             |
    | 3   | strafe_left  | `step_length` to the left                      |
    | 4   | strafe_right | `step_length` to the right                     |
    | 5   | turn_left    | `turn_angle` to the left                       |
    | 6   | turn_right   | `turn_angle` to the right                      |
    | 7   | look_up      | `turn_angle` up, to at most 60 degrees         |
    | 8   | look_down    | `turn_angle` down, to at most 60 degrees       |

    With `actions="continuous"` the action is a `Box(-1, 1, (4,), float32)`:

    | Num | Action | Min | Max | Motion                          |
    |-----|--------|-----|-----|---------------------------------|
    | 0   | dx     | -1  | 1   | ahead, in units of `step_length` |
    | 1   | dy     | -1  | 1   | to the left, in units of `step_length` |
    | 2   | dyaw   | -1  | 1   | to the left, in units of `turn_angle` |
    | 3   | dpitch | -1  | 1   | up, in units of `turn_angle`    |

    With `actions="keyboard_mouse"` the action is a `Dict` of `keys`, `MultiDiscrete([3, 3, 4])`, and `mouse`,
    `Box(-1, 1, (2,), float32)`, as in GameFactory ([arXiv:2501.08325](https://arxiv.org/abs/2501.08325)).
    Stable-Baselines3 has no algorithm for actions that are a `Dict`.

    | Key     | Num | Action      | Values                                                                   |
    |---------|-----|-------------|--------------------------------------------------------------------------|
    | `keys`  | 0   | ws          | 0 none, 1 `step_length` ahead, 2 back                                    |
    | `keys`  | 1   | ad          | 0 none, 1 `step_length` to the left, 2 to the right; with ws across, no faster |
    | `keys`  | 2   | scs         | 0 none, 1 jump (moves nothing), 2 sneak (0.3 of the speed), 3 sprint (1.3 of it) |
    | `mouse` | 0   | pitch_delta | -1 to 1: down, in units of `turn_angle`                                  |
    | `mouse` | 1   | yaw_delta   | -1 to 1: to the right, in units of `turn_angle`                          |

    The translation comes first and ignores pitch, then the turn. An action outside the space raises
    `ValueError` and leaves the world as it was.

    The camera stands in an upright body of `body_radius` metres that does not walk through surfaces: where it
    would touch one, the translation ends 5 cm before, or, with `sliding`, goes on along it. Surfaces are those
    that remembered frames show by their depth (the model's own estimate), from 0.15 m above the ground, which
    is 1.5 m below the camera, to 0.25 m above the camera; what no frame has seen stops nobody. In
    `CtxMemTrueScene-v0` they are those of the scene. `collisions=False` lets the camera pass through
    everything, which a recorded camera path needs. Where the model predicts no depth (`wan:`), nothing stops
    the camera, and a warning says so. Where it paints several frames a step (`wan:`), they lie evenly along
    the way; all are remembered, and the last is observed.

    ## Observation Space

    Height H and width W are those of the model (64 x 64 for "nano").

    | `observation` | Space                                                                             |
    |---------------|-----------------------------------------------------------------------------------|
    | rgb           | `Box(0, 255, (H, W, 3), uint8)`: the frame                                        |
    | rgbd          | `Dict` of `rgb` as above and `depth`, `Box(0, 100, (H, W, 1), float32)` in metres |
    | dict          | `rgb` and `depth` as above, and `pose`, `Box((6,), float32)`: x, y, z in metres, yaw, pitch, roll in radians |

    A task that has a goal adds `goal` to the observation, which is then a `Dict` with `rgb` also for "rgb":

    | `task`     | `goal`                                                                                   |
    |------------|------------------------------------------------------------------------------------------|
    | point_goal | `Box((2,), float32)`: distance in metres, and bearing in radians from the heading, left positive |
    | image_goal | `Box(0, 255, (H, W, 3), uint8)`: the frame to be seen                                    |
    | look_back  | `Box(0, 1, (1,), float32)`: the share of the way out that is left; at 0 it is time to come back |

    X points east, Y north and Z up; yaw 0 looks along X and grows to the left; positive pitch looks up. Depth
    is measured along the viewing axis. It is the model's own estimate (`CtxMemTrueScene-v0`: exact; of the
    first frame see `seed_depth`).

    `info` holds `pose` (float32, 6), and of the context slots `retrieved` (int64, k), the numbers of the
    frames that were used, counted from 0 for the first frame remembered after reset, -1 for an empty slot,
    and `overlap` (float32, k), the share of the new view that each covers, in [0, 1]. After reset all slots
    are empty. `collision` (bool) tells whether a surface cut the step's motion short.
    Tasks with a goal tell `success` (bool), `spl` (float, the success weighted by path length: the shortest way
    over the longer of it and the way walked) and `distance_to_goal` (float, metres, straight on the ground);
    explore tells `new_area` and `seen_area` (float, square metres), and look_back `found_again` (float, the share
    of the first view's points within view that are seen where they were).

    ## Rewards

    The card of each task is the docstring of its class in `ctxmem_env.tasks`. Goals are drawn at reset, within
    what the remembered frames show. The shortest way, for `spl`, is that of the scene, also asked for at reset
    alone; of a photograph nobody knows it, and a straight line takes its place.

    | `task`     | Asks for                    | `reward="dense"`                          | `reward="sparse"` |
    |------------|-----------------------------|-------------------------------------------|-------------------|
    | roam       | nothing                     | 0                                         | 0                 |
    | point_goal | a place, within 0.3 m       | metres closer, - 0.01; + 2.5 on success   | 1 on success      |
    | image_goal | a pose, within 0.5 m and 30 degrees | the same, half a turn being a metre | 1 on success      |
    | explore    | ground not yet seen         | square metres seen for the first time     | 1 for each 10 of them |
    | look_back  | 20 steps away, then back to the first pose, where the first view must be seen again | out: metres farther, up to 1; back: as image_goal | 1 on success |

    ## Starting State

    The model needs a first frame. `reset(options={...})` accepts:

    | Option  | Meaning                                                                                        |
    |---------|------------------------------------------------------------------------------------------------|
    | `scene` | int: seed of a rendered scene, 0 to 999,999 (training), 1,000,000 to 1,000,999 (validation) or 2,000,000 to 2,000,999 (test), see `ctxmem_env.scenes.SPLITS`; `"train"`, `"validation"`, `"test"` or a list of seeds: one of these, drawn at random; another str: a style, one of `ctxmem_env.scenes.STYLES`, with a seed drawn from the training split. Its renderer paints the tour and the first frame (see `seed_depth`) and is not called again |
    | `image` | path, PIL image or uint8 array: the middle of this picture is the first frame; what it shows beside the middle is remembered too |
    | `capture` | path of a folder with posed pictures (`ctxmem_env.captures`): they are remembered with their poses, and their depth where the capture brings it; the camera stands at the last one. Positions without a known scale get a median distance of 1.5 m from their mean, which lies 1.5 m above the ground |
    | `distance` | of what an image shows, its median in metres, which sets the scale of the world. Default: as the model estimates it |
    | `tour`  | number of true frames, views around the start, that are remembered before the first frame; of a capture, frames spread evenly over it, by default all up to 256; of an image there are none |
    | `pose`  | (x, y, z, yaw, pitch, roll) of the first frame. Default: a free place of the scene; (0, 0, 1.5, 0, 0, 0) for an image. Of a capture, the frame nearest to it is the first in view |
    | `fov`   | horizontal field of view of the frames, in degrees. Default: that of the environment; of a capture the widest that all its pictures fill, which is also the most. What a photograph has after it was cropped is `ctxmem_env.camera.cropped_fov` |
    | `prompt` | what the world is to show, in words, where the model takes text (`wan:`); `set_prompt` says something else in mid-episode. The look of a scene is chosen by its style |
    | `goal`  | of point_goal, (x, y) in metres; of image_goal, the pose of a true frame of the scene. Default: drawn |

    Without `scene`, `image` and `capture` a scene is drawn from the training split. Options hold for one episode; the
    argument `reset_options` has those of every episode, for resets that are given none or others. All randomness comes
    from `seed`: the same seed, options and actions give the same frames.

    ## Episode End

    1. Termination: on success; for `look_back` also when the 20 steps led nowhere 1 m away. `roam` and
       `explore` never terminate.
    2. Truncation: after 500 steps (`max_episode_steps` of `gymnasium.make`).

    ## Arguments

    | Parameter         | Type            | Default      | Description                                                   |
    |-------------------|-----------------|--------------|---------------------------------------------------------------|
    | `model`           | str             | `"nano"`     | A packaged model, a folder, or `wan:` and a folder or hub id; loaded at the first reset, once for each process; or a `ctxmem_env.generator.Generator` |
    | `task`            | str or class    | `"roam"`     | See Rewards; or a subclass of `ctxmem_env.tasks.Task`          |
    | `reward`          | str             | `"dense"`    | `"dense"` or `"sparse"`; see Rewards                          |
    | `actions`         | str             | `"discrete"` | See Action Space                                              |
    | `observation`     | str             | `"rgb"`      | See Observation Space                                         |
    | `retrieval`       | str or callable | `"fov"`      | How context is chosen: `fov`, `fov_rays` (the paper's rule), `fov_random`, `fov_non_adjacent`, `fov_far`, `random`, `first_random`, `recent`, `first`, `none`, or a `ctxmem_env.retrieval.RetrievalStrategy` |
    | `num_context`     | int             | `8`          | Context slots k; each takes time, also one that stays empty   |
    | `memory_capacity` | int or None     | `None`       | Frames that are remembered; None: all                         |
    | `eviction`        | str             | `"coverage"` | Which frame is forgotten when one more comes than `memory_capacity`: `"coverage"`, the one whose view the others cover best; `"oldest"`; `"reservoir"`, one at random |
    | `num_steps`       | int or None     | `None`       | Denoising steps; None: the model's default                    |
    | `step_length`     | float           | `0.25`       | Metres                                                        |
    | `turn_angle`      | float           | `15.0`       | Degrees                                                       |
    | `collisions`      | bool            | `true`       | Whether surfaces stop the camera; see Action Space            |
    | `body_radius`     | float           | `0.15`       | Of the body around the camera, metres                         |
    | `sliding`         | bool            | `false`      | Go on along the surface that stops a motion                   |
    | `fov`             | float           | `90.0`       | Horizontal field of view, degrees                             |
    | `tour`            | int             | `12`         | Default of the reset option                                   |
    | `seed_depth`      | str             | `"exact"`    | Depth of a scene's tour and first frame: `"exact"`, as from an RGB-D camera, or `"estimated"` by the model, as that of a photograph always is |
    | `device`          | str             | `"auto"`     | A torch device; auto: CUDA where there is one                 |
    | `render_mode`     | str or None     | `None`       | `"rgb_array"` or `"human"`: a panel of the frame, the retrieved frames and a map |
    | `reset_options`   | dict or None    | `None`       | Options of every reset, those of autoresets too, as `{"scene": "test"}`; an option that a reset is given goes before its own, and a place of another kind (`scene`, `image`, `capture`) before all that these say of a place |

    ## Version History

    * v0: Initial version
    """  # noqa: E501

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 12}  # noqa: RUF012
    _own = ("_np_random", "_np_random_seed", "_sight", "_context", "_track")

    def __init__(
        self,
        model: str | Generator = "nano",
        task: str | type = "roam",
        reward: str = "dense",
        actions: str = "discrete",
        observation: str = "rgb",
        retrieval: str = "fov",
        num_context: int = 8,
        memory_capacity: int | None = None,
        eviction: str = "coverage",
        num_steps: int | None = None,
        step_length: float = STEP_LENGTH,
        turn_angle: float = TURN_ANGLE,
        collisions: bool = True,
        body_radius: float = 0.15,
        sliding: bool = False,
        fov: float = DEFAULT_FOV,
        tour: int = 12,
        seed_depth: str = "exact",
        device: str = "auto",
        render_mode: str | None = None,
        reset_options: dict[str, Any] | None = None,
    ):
        arguments = {name: value for name, value in locals().items() if name != "self"}
        self.settings = check_settings(**arguments, render_modes=self.metadata["render_modes"])
        self.render_mode = render_mode
        self._actions = self.settings.actions
        self.action_space = self._actions.space
        self.observation_space = make_observation_space(self.settings)
        self._world: SceneWorld | None = None
        self._sight: Sight | None = None
        self._context: Context | None = None  # of the last step
        self._track = Track()
        self._window = Window()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Open a world, see Starting State; ValueError for options that do not fit, and the present world stays."""
        start = check_start(self.settings, options)
        random = (deepcopy(self.np_random), self._np_random_seed) if seed is None else seeding.np_random(seed)
        if self._world is None:
            self._world = open_worlds(self.settings, 1)
        opening = draw_opening(self.settings, self._world, start, random[0])
        opening.reset(self._world, self.settings.task, 0)
        self._np_random, self._np_random_seed = random
        self._enter(opening.scenes, 0)
        self._track = Track()
        self._track.scenes = opening.scenes
        return self._see(
            see_openings([opening], torch.tensor([0]), self.settings.num_context, self.settings.task), None
        )

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Move the camera and look; ValueError for what is no action, ResetNeeded before the first reset."""
        world = self.world
        motion = motion_of_one(self._actions, action)
        step = world.advance(motion)
        sight, reward, terminated = see_step(step, self.settings.task)
        self._track.go(to_numpy(motion[0]), float(reward[0]))
        observation, info = self._see(sight, step.context)
        return observation, float(reward[0]), bool(terminated[0]), False, info

    def render(self) -> np.ndarray | None:
        """With "rgb_array" a panel, uint8 (height, width, 3), as notebooks show it; with "human" a window shows it."""
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; pass one to gymnasium.make.")
            return None
        panel = draw_panel(self.view())
        if self.render_mode == "rgb_array":
            return panel
        self._window.show(panel, self.metadata["render_fps"])
        return None

    def view(self, **extra: Any) -> View:
        """What `render` draws; `extra` is what else `ctxmem_env.recording.View` may have, such as a true frame."""
        return replace(make_view(self._sight, self._context, self._track, self.world.memory, self.world.fov), **extra)

    def restore_state(self, state: FaceState) -> tuple[Any, dict[str, Any]]:
        """Go back to a moment that `clone_state` kept, as often as one likes; observation and info as they were there.

        From there on all is as it would have been. Of wrappers `RecordEpisode` alone goes back: `TimeLimit` counts on.
        """
        self._put_back(state)
        return self._show()

    def set_prompt(self, prompt: str) -> None:
        """Say in words what the world is to show from the next step on; what was seen is remembered as it was.

        ValueError where the model takes no text, as for the option `prompt`; before the first reset ResetNeeded.
        """
        self.world.set_prompt(0, check_prompt("prompt", prompt, self.settings))

    def save(self, path: str | Path) -> Path:
        """Write the whole world to one file, by convention `NAME.ctxworld`, and return its path.

        What it holds is listed in `ctxmem_env.saving`. Missing folders are made, and a file of that name is replaced
        when the new one is complete. ValueError for a path that cannot be written to, OSError when writing fails half
        way, ResetNeeded before the first reset.
        """
        return save_world(path, self.settings, self.world, self.clone_state())

    def load(self, path: str | Path, any_generator: bool = False) -> tuple[Any, dict[str, Any]]:
        """Take up the world that `save` wrote, in this process or another; observation and info as `reset` gives them.

        From there on everything is as it would have been, to the bit on the same machine. Behind the wrappers of
        `gymnasium.make` call `reset` first. A world that another generator painted is refused unless `any_generator`,
        and so is one that was saved with other arguments, or a damaged file: ValueError, and the present world stays.
        """
        self._world = self._world or open_worlds(self.settings, 1)
        self._put_back(load_world(path, self.settings, self._world, any_generator))
        return self._show()

    def close(self) -> None:
        """Close the window, if there is one."""
        self._window.close()

    @property
    def world(self) -> SceneWorld:
        """The world behind this environment, a batch of one; ResetNeeded before the first reset."""
        if not len(self._track):
            raise ResetNeeded("There is no world yet; call reset() before step() and render().")
        return self._world

    def _see(self, sight: Sight, context: Context | None):
        """Observation and info; kept for `render` as well."""
        self._sight, self._context = sight, context
        self._track.arrive(to_numpy(sight.poses[0]))
        if self.render_mode == "human":
            self.render()
        return self._show()

    def _show(self):
        """Observation and info of what is seen."""
        observation, info = observe(self.settings, self._sight.rows(0))
        return map_tensors(to_numpy, observation), map_tensors(to_info, info)

    def _enter(self, scenes: Scene | None, world: int) -> None:
        """Called with the scene, a batch of one, that the first frames of a world show. Here nothing of it is kept."""
