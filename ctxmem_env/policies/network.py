"""Policies that were trained: small networks in one file of safetensors each, which run without any other library."""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ctxmem_env.actions import DiscreteActions
from ctxmem_env.atomic import open_whole
from ctxmem_env.errors import check_integer, unknown_name
from ctxmem_env.policies.policy import Observation, ScriptedPolicy

IMAGES = {"rgb": 3, "depth": 1, "goal": 3}  # parts of an observation that may be images, and their channels
SUFFIX = ".safetensors"
_FORMAT = "ctxmem-policy-1"
_PACKAGED = Path(__file__).parent.parent / "weights" / "policies"


class SceneEncoder(nn.Module):
    """Features (N, `features`) of a batch of observations: convolutions over images, and the numbers of a goal beside.

    Depth d goes in as 1 / (1 + d), for what is near matters; a goal of two numbers, distance r and bearing, as
    log(1 + r), min(r, 1), and sine and cosine of the bearing.

    Args:
        images: which of "rgb", "depth" and "goal" (where that is a picture) are looked at, at least one.
        goal_size: numbers of a goal that is none; 0 for no such goal.
        features: width of the result.
        height, width: of the images, in pixels, at least 36.
    """

    def __init__(
        self, images: Sequence[str] = ("depth",), goal_size: int = 0, features: int = 128, height: int = 64,
        width: int = 64,
    ):  # fmt: skip
        super().__init__()
        for name in images:
            if name not in IMAGES:
                raise unknown_name("image", name, IMAGES)
        if not images:
            raise ValueError(f"images is empty; expected at least one of {', '.join(map(repr, IMAGES))}.")
        self.images, self.size = tuple(images), (height, width)
        self.goal_size = check_integer("goal_size", goal_size, 0)
        self.convolutions = nn.Sequential(
            nn.Conv2d(sum(IMAGES[name] for name in images), 16, 8, 4), nn.ReLU(),
            nn.Conv2d(16, 32, 4, 2), nn.ReLU(),
            nn.Conv2d(32, 32, 3, 1), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        channels = self.convolutions[0].in_channels
        seen = self.convolutions(torch.zeros(1, channels, height, width)).shape[1]
        self.join = nn.Sequential(nn.Linear(seen + (4 if goal_size == 2 else goal_size), features), nn.ReLU())

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """Features of float observations: pictures (N, 3, H, W) in [0, 1], depth (N, H, W, 1), goal (N, size)."""
        images = [_nearness(observation[name]) if name == "depth" else observation[name] for name in self.images]
        features = self.convolutions(torch.cat(images, dim=1))
        if self.goal_size:
            goal = observation["goal"]
            features = torch.cat([features, _polar(goal) if self.goal_size == 2 else goal], dim=1)
        return self.join(features)


class NetworkPolicy(ScriptedPolicy):
    """A trained network that gives each discrete action a logit.

    Args:
        task: the task that it was trained for.
        encoder: arguments of `SceneEncoder`.
        hidden: widths of the layers (tanh) between the features and the logits.
        seed: of the actions that are drawn when `predict` is not asked to be deterministic.
        facts: how it was trained, JSON types, for whoever asks.
    """

    def __init__(
        self, task: str, encoder: dict[str, Any], hidden: Sequence[int] = (64,), seed: int = 0,
        facts: dict[str, Any] | None = None,
    ):  # fmt: skip
        self.tasks, self.facts = (task,), facts or {}
        self.encoder_arguments, self.hidden = dict(encoder), tuple(hidden)
        encode = SceneEncoder(**encoder)
        self.observation = "rgbd" if "depth" in encode.images else "rgb"
        widths = [encode.join[0].out_features, *hidden]
        trunk = [layer for size in itertools.pairwise(widths) for layer in (nn.Linear(*size), nn.Tanh())]
        parts = {"encoder": encode, "trunk": nn.Sequential(*trunk), "head": nn.Linear(widths[-1], _NUM_ACTIONS)}
        self.network = nn.ModuleDict(parts).eval()
        self._random = torch.Generator("cpu").manual_seed(check_integer("seed", seed, 0))

    @torch.no_grad()
    def logits(self, observation: Observation) -> Tensor:
        """float32 (N, actions) of a batch of observations, as environments give them.

        Raises:
            ValueError: an observation without what the network looks at, or images of another size.
        """
        encode = self.network["encoder"]
        names = [*encode.images, *(["goal"] if encode.goal_size else [])]
        if not isinstance(observation, dict) and names == ["rgb"]:
            observation = {"rgb": observation}
        found = dict(zip(names, self.read(observation, *names), strict=True))
        for name in encode.images:
            if found[name].shape[1:3] != encode.size:
                raise ValueError(
                    f"observation has {name!r} of {found[name].shape[1:3]} pixels (height, width), and this policy was "
                    f"made for {encode.size}; use a model with frames of that size, or train a policy for this one."
                )
        parts = {name: _tensor(values) for name, values in found.items()}
        return self.network["head"](self.network["trunk"](encode(parts)))

    def _predict(
        self,
        observation: Observation,
        state: Any,
        episode_start: np.ndarray | None,
        deterministic: bool,
    ) -> tuple[np.ndarray, None]:
        """See `Policy.predict`."""
        logits = self.logits(observation)
        if deterministic:
            return logits.argmax(1).numpy(), None
        return torch.multinomial(logits.softmax(1), 1, generator=self._random)[:, 0].numpy(), None


def packaged_policies() -> list[str]:
    """Names of the policies that come with the package."""
    return sorted(path.stem for path in _PACKAGED.glob(f"*{SUFFIX}"))


def find_policy(name: str | Path) -> Path:
    """Where the file of a trained policy lies, if there is one: at that path, or among those that are packaged."""
    return Path(name) if str(name).endswith(SUFFIX) else _PACKAGED / f"{name}{SUFFIX}"


def save_policy(policy: NetworkPolicy, path: str | Path) -> Path:
    """Write a policy in half precision to one file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    config = {"task": policy.tasks[0], "encoder": policy.encoder_arguments, "hidden": list(policy.hidden)}
    told = json.dumps(config | {"facts": policy.facts})
    weights = {name: value.half().contiguous() for name, value in policy.network.state_dict().items()}
    with open_whole(path) as file:
        file.write(save(weights, metadata={"format": _FORMAT, "policy": told, "sha256": _digest(told, weights)}))
    return path


def load_policy(name: str | Path, seed: int = 0) -> NetworkPolicy:
    """A packaged policy by its name, or one from the file at a path; `seed` as in `NetworkPolicy`.

    Raises:
        ValueError: there is none, or the file holds no whole policy.
    """
    check_integer("seed", seed, 0)
    path = find_policy(name)
    if not path.is_file():
        raise ValueError(
            f"policy={str(name)!r}: there is no file {path}; packaged are {', '.join(packaged_policies())}."
        )
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            if facts.get("format") != _FORMAT:
                raise ValueError(f"its format is {facts.get('format')!r}, expected {_FORMAT!r}")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _digest(facts["policy"], weights) != facts.get("sha256"):
            raise ValueError("it does not match its checksum, so it was altered")
        config = json.loads(facts["policy"])
        if len(config["hidden"]) > len(weights):
            raise ValueError(f"it tells of {len(config['hidden'])} layers and has {len(weights)} arrays")
        # Of the sizes that the file tells nothing is allocated: the weights, which must fit them, take their place.
        with torch.device("meta"):
            policy = NetworkPolicy(**config, seed=seed)
        policy.network.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    except (OSError, OverflowError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"policy={str(path)!r} holds no policy of this package: {error}") from error
    if not all(value.isfinite().all() for value in policy.network.state_dict().values()):
        raise ValueError(f"policy={str(path)!r} has weights that are not finite; fetch or train it again.")
    return policy


_NUM_ACTIONS = len(DiscreteActions.names)


def _digest(told: str, weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(told.encode())
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].numpy().tobytes())
    return digest.hexdigest()


def _tensor(values: np.ndarray) -> Tensor:
    """float32; pictures with their channels first, in [0, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.permute(0, 3, 1, 2) / 255 if tensor.dtype == torch.uint8 else tensor.float()


def _nearness(depth: Tensor) -> Tensor:
    return (1 / (1 + depth)).permute(0, 3, 1, 2)


def _polar(goal: Tensor) -> Tensor:
    distance, bearing = goal.unbind(1)
    return torch.stack([distance.log1p(), distance.clamp_max(1), bearing.sin(), bearing.cos()], dim=1)
