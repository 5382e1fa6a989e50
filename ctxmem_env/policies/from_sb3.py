"""Networks of this package inside the algorithms of Stable-Baselines3, and out of them again."""

from typing import Any

from gymnasium import spaces

from ctxmem_env.errors import unknown_name
from ctxmem_env.policies.network import IMAGES, NetworkPolicy, SceneEncoder

try:
    from stable_baselines3 import PPO
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
except ImportError as error:
    raise ImportError(
        "ctxmem_env.policies.from_sb3 needs Stable-Baselines3, which is not installed; "
        'run `pip install "ctxmem-env[agents]"`.'
    ) from error


class SceneFeatures(BaseFeaturesExtractor):
    """`SceneEncoder` as a `features_extractor_class`: of observations that are a `Dict`, for "MultiInputPolicy".

    Args:
        observation_space: of an environment of this package with observation="rgbd" or "dict", or with a goal.
        images: as in `SceneEncoder`.
        features_dim: width of the result.
    """

    def __init__(self, observation_space: spaces.Dict, images: list[str] | tuple[str, ...] = ("depth",),
                 features_dim: int = 128):  # fmt: skip
        super().__init__(observation_space, features_dim)
        self.arguments = encoder_arguments(observation_space, images, features_dim)
        self.encoder = SceneEncoder(**self.arguments)

    def forward(self, observations: dict[str, Any]) -> Any:
        return self.encoder(observations)


def encoder_arguments(space: spaces.Dict, images: list[str] | tuple[str, ...], features: int) -> dict[str, Any]:
    """The arguments of a `SceneEncoder` for that observation space; ValueError for images that are not there."""
    parts = space.spaces if isinstance(space, spaces.Dict) else {}
    for name in images:
        if name not in IMAGES:
            raise unknown_name("image", name, IMAGES)
        if name not in parts or len(parts[name].shape) != 3:
            raise ValueError(
                f"images={list(images)}, but the observation space has no image {name!r}: it is {space}; make the "
                "environment with observation='rgbd' for depth, and with a task that shows its goal for 'goal'."
            )
    goal = parts.get("goal")
    size = goal.shape[0] if goal is not None and len(goal.shape) == 1 else 0
    height, width = _size(parts[images[0]].shape, IMAGES[images[0]]) if images else (0, 0)
    return {
        "images": list(images), "goal_size": size, "features": features, "height": height, "width": width,
    }  # fmt: skip


def _size(shape: tuple[int, ...], channels: int) -> tuple[int, int]:
    """Height and width of a picture, whose channels Stable-Baselines3 puts first, and an environment last."""
    return shape[1:] if shape[0] == channels else shape[:2]


def export_policy(model: PPO, task: str, facts: dict[str, Any] | None = None) -> NetworkPolicy:
    """The policy of a `PPO` that was trained with `SceneFeatures` and discrete actions, without its critic.

    Raises:
        ValueError: another algorithm, action space or architecture.
    """
    extractor = getattr(model.policy, "features_extractor", None)
    if not isinstance(model, PPO) or not isinstance(extractor, SceneFeatures):
        raise ValueError(
            f"model is a {type(model).__name__} with a {type(extractor).__name__}; expected a PPO whose "
            "policy_kwargs have features_extractor_class=SceneFeatures."
        )
    if not isinstance(model.action_space, spaces.Discrete):
        raise ValueError(f"model has the action space {model.action_space}; only discrete actions can be exported.")
    trunk = model.policy.mlp_extractor.policy_net
    hidden = [layer.out_features for layer in trunk if hasattr(layer, "out_features")]
    policy = NetworkPolicy(task, extractor.arguments, hidden, facts=facts)
    policy.network["encoder"].load_state_dict(extractor.encoder.state_dict())
    policy.network["trunk"].load_state_dict(trunk.state_dict())
    policy.network["head"].load_state_dict(model.policy.action_net.state_dict())
    return policy
