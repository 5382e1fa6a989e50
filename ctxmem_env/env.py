"""The single environment: a face on a `SceneWorld` of one world; no mathematics of its own."""

from copy import copy
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from torch import Tensor

from ctxmem_env.actions import make_actions
from ctxmem_env.camera import DEFAULT_FOV, MAX_PITCH
from ctxmem_env.device import check_device, resolve_device
from ctxmem_env.errors import check_integer, unknown_name
from ctxmem_env.generator import Generator, load_generator
from ctxmem_env.generator.locate import frame_size
from ctxmem_env.recording import View, Window, draw_panel
from ctxmem_env.retrieval import get_retrieval
from ctxmem_env.scenes import SPLITS, Scene
from ctxmem_env.start import check_fov, first_frames, parse_start
from ctxmem_env.tasks import make_task
from ctxmem_env.world import SceneWorld, Step

OBSERVATIONS = ("rgb", "rgbd", "dict")
SEED_DEPTHS = ("exact", "estimated")
MAX_DEPTH = 100.0  # metres; the upper bound of observed depth
MAX_POSITION = 100_000.0  # metres; ten times as far as an episode may start


class GenerativeSceneEnv(gym.Env):
    """
    ## Description

    A camera walks through a world that a generative model paints frame by frame. Every frame is remembered
    together with the pose that it was seen from. An action moves the camera; the remembered frames whose
    field of view overlaps the new view are handed to the model as context, and the frame that it paints is
    the observation. The method is that of Context-as-Memory
    ([arXiv:2506.03141](https://arxiv.org/abs/2506.03141)).

    `CtxMemTrueScene-v0` has the same spaces, tasks and dynamics, and the exact renderer in place of the
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

    The translation comes first and ignores pitch, then the turn. An action outside the space raises
    `ValueError` and leaves the world as it was.

    ## Observation Space

    Height H and width W are those of the model (64 x 64 for "nano").

    | `observation` | Space                                                                             |
    |---------------|-----------------------------------------------------------------------------------|
    | rgb           | `Box(0, 255, (H, W, 3), uint8)`: the frame                                        |
    | rgbd          | `Dict` of `rgb` as above and `depth`, `Box(0, 100, (H, W, 1), float32)` in metres |
    | dict          | `rgb` and `depth` as above, and `pose`, `Box((6,), float32)`: x, y, z in metres, yaw, pitch, roll in radians |

    X points east, Y north and Z up; yaw 0 looks along X and grows to the left; positive pitch looks up. Depth
    is measured along the viewing axis. It is the model's own estimate (`CtxMemTrueScene-v0`: exact; of the
    first frame see `seed_depth`).

    `info` holds `pose` (float32, 6), and of the context slots `retrieved` (int64, k), the numbers of the
    frames that were used, counted from 0 for the first frame remembered after reset, -1 for an empty slot,
    and `overlap` (float32, k), the share of the new view that each covers, in [0, 1]. After reset all slots
    are empty.

    ## Rewards

    | `task` | Reward      |
    |--------|-------------|
    | roam   | 0 at every step |

    ## Starting State

    The model needs a first frame. `reset(options={...})` accepts:

    | Option  | Meaning                                                                                        |
    |---------|------------------------------------------------------------------------------------------------|
    | `scene` | int: seed of a rendered scene; str: a style, with a seed drawn at random. Its renderer paints the tour and the first frame (see `seed_depth`) and is not called again |
    | `image` | path, PIL image or uint8 array: the middle of this picture is the first frame; what it shows beside the middle is remembered too |
    | `tour`  | number of true frames, views around the start, that are remembered before the first frame      |
    | `pose`  | (x, y, z, yaw, pitch, roll) of the first frame. Default: a free place of the scene; (0, 0, 1.5, 0, 0, 0) for an image |
    | `fov`   | horizontal field of view of the frames, in degrees. Default: that of the environment. What a photograph has after it was cropped is `ctxmem_env.camera.cropped_fov` |

    Without `scene` and `image` a scene is drawn from the training split. All randomness comes from `seed`:
    the same seed, options and actions give the same frames.

    ## Episode End

    1. Termination: never for `roam`.
    2. Truncation: after 500 steps (`max_episode_steps` of `gymnasium.make`).

    ## Arguments

    | Parameter         | Type            | Default      | Description                                                   |
    |-------------------|-----------------|--------------|---------------------------------------------------------------|
    | `model`           | str             | `"nano"`     | A packaged model or a folder, loaded at the first reset, once for each process; or a `ctxmem_env.generator.Generator` |
    | `task`            | str             | `"roam"`     | See Rewards                                                   |
    | `actions`         | str             | `"discrete"` | See Action Space                                              |
    | `observation`     | str             | `"rgb"`      | See Observation Space                                         |
    | `retrieval`       | str             | `"fov"`      | How context is chosen: a name from `ctxmem_env.retrieval.RETRIEVAL` |
    | `num_context`     | int             | `8`          | Context slots k                                               |
    | `memory_capacity` | int or None     | `None`       | Frames that are remembered; None: all                         |
    | `num_steps`       | int or None     | `None`       | Denoising steps; None: the model's default                    |
    | `step_length`     | float           | `0.25`       | Metres                                                        |
    | `turn_angle`      | float           | `15.0`       | Degrees                                                       |
    | `fov`             | float           | `90.0`       | Horizontal field of view, degrees                             |
    | `tour`            | int             | `12`         | Default of the reset option                                   |
    | `seed_depth`      | str             | `"exact"`    | Depth of a scene's tour and first frame: `"exact"`, as from an RGB-D camera, or `"estimated"` by the model, as that of a photograph always is |
    | `device`          | str             | `"auto"`     | A torch device; auto: CUDA where there is one                 |
    | `render_mode`     | str or None     | `None`       | `"rgb_array"` or `"human"`: a panel of the frame, the retrieved frames and a map |

    ## Version History

    * v0: Initial version
    """  # noqa: E501

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 12}  # noqa: RUF012

    def __init__(
        self,
        model: str | Generator = "nano",
        task: str = "roam",
        actions: str = "discrete",
        observation: str = "rgb",
        retrieval: str = "fov",
        num_context: int = 8,
        memory_capacity: int | None = None,
        num_steps: int | None = None,
        step_length: float = 0.25,
        turn_angle: float = 15.0,
        fov: float = DEFAULT_FOV,
        tour: int = 12,
        seed_depth: str = "exact",
        device: str = "auto",
        render_mode: str | None = None,
    ):
        if observation not in OBSERVATIONS:
            raise unknown_name("observation", observation, OBSERVATIONS)
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise unknown_name("render_mode", render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self.observation = observation
        get_retrieval(retrieval)  # an unknown name is refused here and not at the first step
        self.retrieval = retrieval
        self.num_context = check_integer("num_context", num_context, 1)
        self.num_steps = None if num_steps is None else check_integer("num_steps", num_steps, 1)
        self.tour = check_integer("tour", tour, 0)
        if seed_depth not in SEED_DEPTHS:
            raise unknown_name("seed_depth", seed_depth, SEED_DEPTHS)
        self.seed_depth = seed_depth
        self.fov = check_fov("fov", fov)
        self.memory_capacity = None
        if memory_capacity is not None:
            self.memory_capacity = check_integer("memory_capacity", memory_capacity, 1)
            if self.num_context > self.memory_capacity:
                raise ValueError(
                    f"num_context={num_context} is larger than memory_capacity={memory_capacity}; expected "
                    f"at most as many context frames as are remembered. Lower num_context or raise "
                    "memory_capacity."
                )
            self._check_tour(self.tour)
        self._task = make_task(task)
        self._actions = make_actions(actions, step_length, turn_angle)
        self.action_space = self._actions.space
        self._model, self._device = model, check_device(device)
        self._height, self._width = _frame_size(model)
        self.observation_space = self._make_observation_space()
        self._world: SceneWorld | None = None
        self._frame: np.ndarray | None = None
        self._step: Step | None = None
        self._path: list[np.ndarray] = []  # poses since reset
        self._window = Window()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Open a world; see Starting State. Options that are refused leave the present world as it is."""
        start = parse_start(options, self._height, self._width, self.tour, self.fov)
        self._check_tour(start.tour)
        super().reset(seed=seed)
        if self._world is None:
            self._world = self._make_world()
        # Both are drawn whatever the options are, so that these do not shift the randomness that follows.
        scene_seed = SPLITS["train"][int(self.np_random.integers(len(SPLITS["train"])))]
        world_seed = int(self.np_random.integers(2**31))
        frames, depth, poses, scenes = first_frames(
            start, scene_seed, self.np_random, self._height, self._width, self._world.device
        )
        if scenes is not None:
            self._enter(scenes)
        if depth is None or self.seed_depth == "estimated":
            with torch.no_grad():
                fov = torch.full((len(frames),), start.fov, device=self._world.device)
                depth = self._world.generator.estimate_depth(frames, poses, fov)
        self._world.reset(0, frames, depth, poses, start.fov, world_seed)
        self._path = []
        return self._see(frames[-1], depth[-1], poses[-1], None)

    def step(self, action):
        """Move the camera and look; see Action Space. Before the first reset it raises ResetNeeded."""
        world = self.world
        motion = self._actions.to_motion(np.asarray(action)[None])
        step = world.advance(motion)
        reward, terminated = self._task.evaluate(step.poses, step.frames, step.depth)
        observation, info = self._see(step.frames[0], step.depth[0], step.poses[0], step)
        return observation, float(reward[0]), bool(terminated[0]), False, info

    def render(self) -> np.ndarray | None:
        """With "rgb_array" a panel, uint8 (height, width, 3); with "human" a window shows it."""
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; pass one to gymnasium.make.")
            return None
        panel = draw_panel(self._make_view())
        if self.render_mode == "rgb_array":
            return panel
        self._window.show(panel, self.metadata["render_fps"])
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        self._window.close()

    @property
    def world(self) -> SceneWorld:
        """The world behind this environment, a batch of one; ResetNeeded before the first reset."""
        if not self._path:
            raise ResetNeeded("There is no world yet; call reset() before step() and render().")
        return self._world

    def _see(self, frame: Tensor, depth: Tensor, pose: Tensor, step: Step | None):
        """Observation and info of a step, or of a reset when `step` is None; kept for `render` as well."""
        rgb, pose = _to_numpy(frame), _to_numpy(pose)
        self._frame, self._step = rgb.copy(), step
        self._path.append(pose.copy())
        info = {
            "pose": pose.copy(),
            "retrieved": np.full(self.num_context, -1) if step is None else _to_numpy(step.times[0]),
            "overlap": np.zeros(self.num_context, np.float32) if step is None else _to_numpy(step.overlap[0]),
        }
        if self.render_mode == "human":
            self.render()
        if self.observation == "rgb":
            return rgb, info
        observation = {"rgb": rgb, "depth": _to_numpy(depth.float().clamp(0, MAX_DEPTH))[..., None]}
        if self.observation == "dict":
            observation["pose"] = pose
        return observation, info

    def _make_view(self) -> View:
        fov, poses = float(self.world.fov[0]), np.stack(self._path)
        if self._step is None:
            nothing = np.zeros((0, *self._frame.shape), np.uint8), np.zeros((0, 6)), np.zeros(0)
            return View(self._frame, poses, fov, self.num_context, *nothing)
        context = self._step.context
        used = context.mask[0]
        parts = (context.frames[0][used], context.poses[0][used], self._step.overlap[0][used])
        return View(self._frame, poses, fov, self.num_context, *map(_to_numpy, parts))

    def _make_world(self) -> SceneWorld:
        generator = self._model
        if isinstance(generator, str):
            generator = load_generator(generator, self._device)
        return SceneWorld(
            generator,
            retrieval=self.retrieval,
            num_context=self.num_context,
            memory_capacity=self.memory_capacity,
            num_steps=self.num_steps,
            device=resolve_device(self._device),
        )

    def _enter(self, scenes: Scene) -> None:
        """Called with the scene, a batch of one, that the first frames show. Here nothing of it is kept."""

    def _make_observation_space(self) -> spaces.Space:
        size = (self._height, self._width)
        rgb = spaces.Box(0, 255, (*size, 3), np.uint8)
        if self.observation == "rgb":
            return rgb
        parts = {"rgb": rgb, "depth": spaces.Box(0.0, MAX_DEPTH, (*size, 1), np.float32)}
        if self.observation == "dict":
            high = np.array([MAX_POSITION] * 3 + [np.pi, MAX_PITCH, np.pi], np.float32)
            parts["pose"] = spaces.Box(-high, high, dtype=np.float32)
        return spaces.Dict(parts)

    def _check_tour(self, tour: int) -> None:
        if self.memory_capacity is not None and tour >= self.memory_capacity:
            raise ValueError(
                f"tour={tour} frames and the first frame do not fit into "
                f"memory_capacity={self.memory_capacity}; lower tour to at most {self.memory_capacity - 1} "
                "or raise memory_capacity."
            )

    def __getstate__(self) -> dict:
        """Everything but weights that `load_generator` finds again: they would only swell a pickle."""
        state = self.__dict__.copy()
        if isinstance(self._model, str) and self._world is not None:
            state["_world"] = copy(self._world)
            state["_world"].generator = None
        return state

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        if self._world is not None and self._world.generator is None:
            self._world.generator = load_generator(self._model, self._device)


def _frame_size(model: str | Generator) -> tuple[int, int]:
    """Height and width of a model's frames, without loading its weights."""
    if isinstance(model, str):
        return frame_size(model)
    if not isinstance(model, Generator):
        raise ValueError(
            f"model={model!r} is a {type(model).__name__}; expected the name of a packaged model, a folder, "
            f"or an object with the methods of ctxmem_env.generator.Generator."
        )
    return model.height, model.width


def _to_numpy(tensor: Tensor) -> np.ndarray:
    """A copy, so that nobody who writes to an observation writes to memory."""
    return tensor.detach().cpu().numpy().copy()
