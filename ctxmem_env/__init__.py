"""A Gymnasium environment whose world a generative model paints and whose memory is the frames already seen.

Importing the package registers the environments and loads no torch:

    import gymnasium as gym, ctxmem_env
    env = gym.make("CtxMemScene-v0")
    envs = gym.make_vec("CtxMemScene-v0", num_envs=8)
"""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import gymnasium as gym

if TYPE_CHECKING:
    from ctxmem_env.env import GenerativeSceneEnv
    from ctxmem_env.true_scene import TrueSceneEnv, TrueSceneVectorEnv
    from ctxmem_env.vector import GenerativeSceneVectorEnv
    from ctxmem_env.world import SceneWorld

__version__ = version("ctxmem-env")
__all__ = [
    "GenerativeSceneEnv",
    "GenerativeSceneVectorEnv",
    "SceneWorld",
    "TrueSceneEnv",
    "TrueSceneVectorEnv",
    "__version__",
]

_HOMES = {
    "GenerativeSceneEnv": "ctxmem_env.env",
    "GenerativeSceneVectorEnv": "ctxmem_env.vector",
    "SceneWorld": "ctxmem_env.world",
    "TrueSceneEnv": "ctxmem_env.true_scene",
    "TrueSceneVectorEnv": "ctxmem_env.true_scene",
}

gym.register(
    "CtxMemScene-v0",
    entry_point="ctxmem_env.env:GenerativeSceneEnv",
    vector_entry_point="ctxmem_env.vector:GenerativeSceneVectorEnv",
    max_episode_steps=500,
)
gym.register(
    "CtxMemTrueScene-v0",
    entry_point="ctxmem_env.true_scene:TrueSceneEnv",
    vector_entry_point="ctxmem_env.true_scene:TrueSceneVectorEnv",
    max_episode_steps=500,
)


def __getattr__(name: str) -> Any:
    # PEP 562: these classes need torch, which takes a second to load, so they are imported when first used.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ctxmem_env' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
