"""The batch of worlds as a `VecEnv` of Stable-Baselines3, which takes no vector environments of Gymnasium."""

import os
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode

import ctxmem_env  # noqa: F401  registers the environments

try:
    from stable_baselines3.common.vec_env import VecEnv, VecMonitor
    from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn
except ImportError as error:
    raise ImportError(
        'ctxmem_env.sb3 needs Stable-Baselines3, which is not installed; run `pip install "ctxmem-env[agents]"`.'
    ) from error


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
        env_id: "CtxMemScene-v0" or "CtxMemTrueScene-v0".
        n_envs: worlds, at least 1.
        seed: world i begins with seed + i.
        monitor_dir: folder for a log of episodes, monitor.csv; None: no log.
        env_kwargs: of `GenerativeSceneVectorEnv`, besides `autoreset_mode` and `array`, which Stable-Baselines3
            settles; `render_mode` is "rgb_array" unless given.
        monitor_kwargs: of `stable_baselines3.common.vec_env.VecMonitor`.

    Raises:
        ValueError: arguments that do not fit.
    """
    arguments = {"render_mode": "rgb_array"} | (env_kwargs or {})
    envs = gym.make_vec(env_id, n_envs, autoreset_mode=AutoresetMode.SAME_STEP, array="numpy", **arguments)
    if monitor_dir is not None:
        os.makedirs(monitor_dir, exist_ok=True)
    vec_env = VecMonitor(SceneVecEnv(envs), monitor_dir, **(monitor_kwargs or {}))
    if seed is not None:
        vec_env.action_space.seed(seed)
    vec_env.seed(seed)
    return vec_env


class SceneVecEnv(VecEnv):
    """A vector environment of Gymnasium in autoreset mode "SameStep" as a `VecEnv`.

    `infos[i]` is the info of the step, also where it was the last of an episode; then it holds
    `terminal_observation` too, and `reset_infos[i]` the info of the episode that has begun. `set_options` takes what
    `GenerativeSceneEnv.reset` takes, for all worlds or in a list with a dict for each.
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
        self.reset_infos = self._split(infos)
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
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
        self.envs.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of the batch, once for each of the worlds asked for."""
        return [getattr(self.envs.unwrapped, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refused: worlds in a batch have no attributes of their own."""
        raise NotImplementedError(
            f"{attr_name!r} cannot be set: worlds in a batch are no objects; give it to make_vec."
        )

    def env_method(self, method_name: str, *method_args, indices: VecEnvIndices = None, **method_kwargs) -> list[Any]:
        """Refused: worlds in a batch have no methods of their own."""
        raise NotImplementedError(f"{method_name!r} cannot be called: worlds in a batch are no objects; see `envs`.")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """False for each of the worlds asked for: wrappers of single environments do not go around a batch."""
        return [False for _ in self._get_indices(indices)]

    def _split(self, infos: dict[str, Any]) -> list[dict[str, Any]]:
        """Batched infos as a dict for each world, of what the masks say that it has."""
        names = [name for name in infos if not name.startswith(("_", "final_"))]
        return [
            {name: infos[name][world] for name in names if infos[f"_{name}"][world]} for world in range(self.num_envs)
        ]
