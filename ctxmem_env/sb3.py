"""The batch of worlds as a `VecEnv` of Stable-Baselines3, which takes no vector environments of Gymnasium."""

import os
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

import ctxmem_env  # noqa: F401  registers the environments
from ctxmem_env.env import GenerativeSceneEnv
from ctxmem_env.errors import check_integer, check_names, keyword_names, unknown_name

try:
    from stable_baselines3.common.vec_env import VecEnv, VecMonitor
    from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn
except ImportError as error:
    raise ImportError(
        'ctxmem_env.sb3 needs Stable-Baselines3, which is not installed; run `pip install "ctxmem-env[agents]"`.'
    ) from error

_IDS = ("CtxMemScene-v0", "CtxMemTrueScene-v0")
# What is not chosen in env_kwargs or monitor_kwargs, and why.
_NO_ENV_KWARGS = {
    "num_envs": "n_envs says how many there are",
    "autoreset_mode": "Stable-Baselines3 needs worlds that start over in the step that ends their episode",
    "array": "Stable-Baselines3 needs NumPy arrays",
}
_NO_MONITOR_KWARGS = {"venv": "it is the worlds that are made here", "filename": "monitor_dir says where the log is"}
_OF_ONE = {"observation_space": "single_observation_space", "action_space": "single_action_space"}
_OF_EACH = ("np_random", "np_random_seed")  # attributes of the batch that hold an entry for each world
_OF_THE_BATCH = ("num_envs", *_OF_ONE.values())  # that a world does not have


def make_sb3_vec_env(
    env_id: str = "CtxMemScene-v0",
    n_envs: int = 8,
    seed: int | None = None,
    monitor_dir: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    monitor_kwargs: dict[str, Any] | None = None,
) -> VecEnv:
    """`n_envs` worlds in one batch, monitored; names as in `stable_baselines3.common.env_util.make_vec_env`.

    The worlds go the way of those that `make_vec_env` would make one by one.

    Args:
        env_id: "CtxMemScene-v0", "CtxMemTrueScene-v0", or an id of your own for the vector environment of one of them.
        n_envs: worlds, at least 1.
        seed: world i begins with seed + i, at least 0; None: at random.
        monitor_dir: folder for a log of episodes, monitor.csv; None: no log.
        env_kwargs: of `GenerativeSceneVectorEnv` or `TrueSceneVectorEnv`, besides `num_envs`, `autoreset_mode` and
            `array`, which Stable-Baselines3 settles; `render_mode` is "rgb_array" unless given. With
            `reset_options={"scene": "test"}` all episodes are in scenes of the test split, for an `EvalCallback`, say.
        monitor_kwargs: of `stable_baselines3.common.vec_env.VecMonitor`, besides `venv` and `filename`.

    Raises:
        ValueError: arguments that do not fit, with the one that does not.
    """
    scene, true_scene = (gym.spec(name).vector_entry_point for name in _IDS)
    batch = gym.registry[env_id].vector_entry_point if env_id in gym.registry else None
    if batch not in (scene, true_scene):
        raise unknown_name("env_id", env_id, _IDS)
    check_integer("n_envs", n_envs, 1)
    if seed is not None:
        seed = check_integer("seed", seed, 0)
    choice, monitoring = _as_dict("env_kwargs", env_kwargs), _as_dict("monitor_kwargs", monitor_kwargs)
    known = keyword_names(GenerativeSceneEnv) | {"max_episode_steps"}
    if batch == true_scene:
        known |= {"height", "width"}
    check_names("env_kwargs", choice, known, _NO_ENV_KWARGS)
    check_names("monitor_kwargs", monitoring, keyword_names(VecMonitor) - _NO_MONITOR_KWARGS.keys(), _NO_MONITOR_KWARGS)
    arguments = {"render_mode": "rgb_array"} | choice
    envs = gym.make_vec(env_id, n_envs, autoreset_mode=AutoresetMode.SAME_STEP, array="numpy", **arguments)
    worlds = SceneVecEnv(envs)
    if monitor_dir is not None:
        os.makedirs(monitor_dir, exist_ok=True)
    vec_env = VecMonitor(worlds, monitor_dir, **monitoring)
    vec_env.reset_infos = worlds.reset_infos  # wrappers have a list of their own, which nothing fills
    if seed is not None:
        vec_env.action_space.seed(seed)
    vec_env.seed(seed)
    return vec_env


def _as_dict(argument: str, given: Any) -> dict[str, Any]:
    if given is not None and not isinstance(given, dict):
        raise ValueError(f"{argument}={given!r} is a {type(given).__name__}; expected a dict or None.")
    return given or {}


class SceneVecEnv(VecEnv):
    """A vector environment of Gymnasium in autoreset mode "SameStep" as a `VecEnv`.

    `infos[i]` is the info of the step, also where it was the last of an episode; then it holds
    `terminal_observation` too, and `reset_infos[i]` the info of the episode that has begun; above wrappers other than
    that of `make_sb3_vec_env` it is `unwrapped.reset_infos`. `set_options` takes what `GenerativeSceneEnv.reset` takes,
    for all worlds or in a list with a dict for each.
    """

    def __init__(self, envs: gym.vector.VectorEnv):
        mode = envs.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(f"envs has autoreset_mode={mode}; expected SAME_STEP, as Stable-Baselines3 resets worlds.")
        if isinstance(envs.single_action_space, gym.spaces.Dict):
            raise ValueError(
                "actions='keyboard_mouse' are a Dict, for which Stable-Baselines3 has no algorithm; use 'discrete' or "
                "'continuous'."
            )
        self.envs = envs
        self.spec = envs.spec
        super().__init__(envs.num_envs, envs.single_observation_space, envs.single_action_space)
        self.metadata = dict(envs.metadata)  # with the rate of frames, for VecVideoRecorder
        self._actions: np.ndarray | None = None

    def reset(self) -> VecEnvObs:
        """Reset all worlds, with the seeds and options that `seed` and `set_options` have set for once."""
        options = {"worlds": self._options} if any(self._options) else None
        observations, infos = self.envs.reset(seed=list(self._seeds), options=options)
        self.reset_infos[:] = self._split(infos)  # the same list, for others may share it
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions, one a world, for `step_wait`, which refuses those that do not fit. No world moves yet."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step of `step_async` in all worlds; those whose episode ends start over at once.

        Returns:
            Observations (N, ...) or a dict of them, rewards float32 (N,), ends bool (N,), and a list of N infos.

        Raises:
            ValueError: actions outside their space, or not one a world; no world has moved.
            gymnasium.error.ResetNeeded: before the first `reset`.
        """
        observations, rewards, terminations, truncations, batched = self.envs.step(self._actions)
        infos, ended = self._split(batched), terminations | truncations
        last = self._split(batched["final_info"]) if ended.any() else infos
        for world in np.flatnonzero(ended):
            self.reset_infos[world] = infos[world]
            infos[world] = last[world] | {"terminal_observation": batched["final_obs"][world]}
        for info, terminated, truncated in zip(infos, terminations, truncations, strict=True):
            info["TimeLimit.truncated"] = bool(truncated and not terminated)
            if "success" in info:
                info["is_success"] = info["success"]  # the name by which Stable-Baselines3 logs it
        return observations, rewards.astype(np.float32), ended, infos

    def get_images(self) -> Sequence[np.ndarray | None]:
        """A panel for each world, uint8 (height, width, 3); None without a render_mode."""
        return self.envs.render() or [None] * self.num_envs

    def close(self) -> None:
        """Close the batch, with all of its worlds."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of each of the worlds asked for; of what all have in common, the batch's, once for each.

        Spaces are those of one world; `np_random` and `np_random_seed` are its own.

        Raises:
            AttributeError: worlds have none of that name.
            IndexError: there is no world of that index.
        """
        if attr_name in _OF_THE_BATCH:
            raise AttributeError(f"a world has no attribute {attr_name!r}; the batch has: `vec_env.unwrapped.envs`.")
        worlds = self._get_worlds(indices)
        value = getattr(self.envs.unwrapped, _OF_ONE.get(attr_name, attr_name))
        return [value[world] if attr_name in _OF_EACH else value for world in worlds]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refused, NotImplementedError: worlds in a batch have no attributes of their own."""
        raise NotImplementedError(
            f"{attr_name!r} cannot be set: worlds in a batch are no objects; give it in env_kwargs of make_sb3_vec_env."
        )

    def env_method(self, method_name: str, *method_args, indices: VecEnvIndices = None, **method_kwargs) -> list[Any]:
        """Refused, NotImplementedError: worlds in a batch have no methods of their own."""
        raise NotImplementedError(
            f"{method_name!r} cannot be called: worlds in a batch are no objects; methods for all worlds at once are "
            "those of `vec_env.unwrapped.envs.unwrapped`."
        )

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """False for each of the worlds asked for: wrappers of single environments do not go around a batch."""
        return [False for _ in self._get_worlds(indices)]

    def _get_worlds(self, indices: VecEnvIndices) -> list[int]:
        worlds = list(self._get_indices(indices))
        for world in worlds:
            if not -self.num_envs <= world < self.num_envs:
                raise IndexError(f"indices hold {world}; expected worlds from 0 to {self.num_envs - 1}.")
        return worlds

    def _split(self, infos: dict[str, Any]) -> list[dict[str, Any]]:
        """Batched infos as a dict for each world, of what the masks say that it has."""
        names = [name for name in infos if not name.startswith(("_", "final_"))]
        return [
            {name: infos[name][world] for name in names if infos[f"_{name}"][world]} for world in range(self.num_envs)
        ]
