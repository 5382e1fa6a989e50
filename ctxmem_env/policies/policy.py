"""What a policy is, what it needs of an environment, and whether an environment has it."""

from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces

from ctxmem_env.actions import map_actions
from ctxmem_env.settings import OBSERVATIONS

Observation = np.ndarray | dict[str, np.ndarray]

# Shapes of the parts of observations of N worlds, by their axes; goals are numbers or pictures.
_SHAPES = {
    "rgb": {4: "(N, H, W, 3)"},
    "depth": {4: "(N, H, W, 1)"},
    "pose": {2: "(N, 6)"},
    "goal": {2: "(N, numbers)", 4: "(N, H, W, 3)"},
}


@runtime_checkable
class Policy(Protocol):
    """Anything that acts as the algorithms of Stable-Baselines3 do; each of those is one.

    What a policy needs of an environment is read from its attributes, where it has them: `observation` and `actions`,
    as in `GenerativeSceneEnv`, and `tasks`, names; otherwise from `observation_space` and `action_space`, each for one
    world.
    """

    def predict(
        self,
        observation: Observation,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, Any]:
        """Actions of N worlds, and the state for the next call.

        The policies of this package, as those of Stable-Baselines3, take one observation as well, without the axis of
        worlds, and give one action without it; the state is that of a batch of one.

        Args:
            observation: a batch of N, an array (N, ...) or a dict of them.
            state: what the call before returned; None at first.
            episode_start: bool (N,), worlds whose episode begins with this observation; None: all at first, then none.
                With one observation bool or (1,).
            deterministic: the likeliest action rather than one drawn, for policies that draw.

        Returns:
            int64 (N,) for discrete actions or float32 (N, 4) for continuous ones, and the state.
        """
        ...


class ScriptedPolicy:
    """What the policies of this package have that follow a rule: discrete actions, and the tasks that the rule serves.

    observation: the least that it needs, one of "rgb", "rgbd", "dict"; tasks: names, empty for any task. Those derived
    from it have `_predict`, `Policy.predict` for batches alone.
    """

    observation: ClassVar[str] = "rgb"
    actions: str = "discrete"
    tasks: ClassVar[tuple[str, ...]] = ()

    def predict(
        self,
        observation: Observation,
        state: Any = None,
        episode_start: np.ndarray | bool | None = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """See `Policy.predict`. Of one observation: one action, as the action space samples it.

        Raises:
            ValueError: an observation without what the policy needs, or some parts of one world and some of a batch.
        """
        if not _is_one(observation):
            return self._predict(observation, state, episode_start, deterministic)
        if episode_start is not None:
            episode_start = np.asarray(episode_start, bool).reshape(-1)
            if len(episode_start) != 1:
                raise ValueError(
                    f"episode_start holds {len(episode_start)} entries; expected 1, as observation is one."
                )
        if isinstance(observation, dict):
            batch = {name: np.asarray(part)[None] for name, part in observation.items()}
        else:
            batch = np.asarray(observation)[None]
        actions, state = self._predict(batch, state, episode_start, deterministic)
        return map_actions(lambda part: part[0], actions), state

    def _predict(
        self, observation: Observation, state: Any, episode_start: np.ndarray | None, deterministic: bool
    ) -> tuple[Any, Any]:
        raise NotImplementedError(f"{type(self).__name__} has no `_predict`; give it one, or a `predict`.")

    def read(self, observation: Observation, *names: str) -> list[np.ndarray]:
        """Those parts of a batch of observations; ValueError where one is missing or has another shape."""
        found = set(observation) if isinstance(observation, dict) else set()
        missing = [name for name in names if name not in found]
        if missing:
            came = f"has {sorted(found)}" if found else "is an array"
            tasks = f" and task={' or '.join(map(repr, self.tasks))}" if self.tasks else ""
            raise ValueError(
                f"observation {came}; {type(self).__name__} needs {', '.join(map(repr, names))}: make the environment "
                f"with observation={self.observation!r}{tasks}."
            )
        parts = [np.asarray(observation[name]) for name in names]
        for name, part in zip(names, parts, strict=True):
            if name in _SHAPES and part.ndim not in _SHAPES[name]:
                raise ValueError(
                    f"observation has {name!r} of shape {part.shape}, worlds first; {type(self).__name__} expects "
                    f"{' or '.join(_SHAPES[name].values())} of N worlds."
                )
        return parts


def _is_one(observation: Observation) -> bool:
    """Whether the observation is that of one world, not a batch, by the number of its axes."""
    parts = observation if isinstance(observation, dict) else {"rgb": observation}
    # A goal of a task from elsewhere may have any shape, so it decides only where nothing else is seen.
    known = sorted(parts.keys() & {"rgb", "depth", "pose"} or parts.keys() & {"goal"})
    ones = [name for name in known if np.ndim(parts[name]) + 1 in _SHAPES[name]]
    if ones and len(ones) < len(known):
        came = ", ".join(f"{name!r} {np.shape(parts[name])}" for name in known)
        raise ValueError(
            f"observation has parts of these shapes: {came}; expected all parts of one world, or all of a batch."
        )
    return bool(ones)


def environment_arguments(policy: Policy) -> dict[str, str]:
    """The arguments `observation` and `actions` of an environment that fits the policy."""
    space = getattr(policy, "observation_space", None)
    parts = set(space) if isinstance(space, spaces.Dict) else set()
    observation = "dict" if "pose" in parts else "rgbd" if "depth" in parts else "rgb"
    actions = "continuous" if isinstance(getattr(policy, "action_space", None), spaces.Box) else "discrete"
    return {
        "observation": getattr(policy, "observation", observation),
        "actions": getattr(policy, "actions", actions),
    }


def check_policy(
    policy: Policy,
    task: str,
    observation: str,
    actions: str,
    observation_space: spaces.Space,
    action_space: spaces.Space,
) -> None:
    """ValueError unless the policy can act in an environment made with these arguments, whose spaces these are."""
    name, needed = type(policy).__name__, environment_arguments(policy)
    tasks = getattr(policy, "tasks", ())
    if tasks and task not in tasks:
        raise ValueError(f"task={task!r}, but {name} serves {', '.join(map(repr, tasks))}; choose one of these.")
    for argument, own, given in (
        ("observation_space", getattr(policy, "observation_space", None), observation_space),
        ("action_space", getattr(policy, "action_space", None), action_space),
    ):
        if own is not None and not _same(own, given):
            raise ValueError(
                f"the environment has {argument} {_show(given)}, but {name} was made for {_show(own)}; give the "
                "environment the arguments that the policy was trained with."
            )
    if needed["actions"] != actions:
        raise ValueError(f"actions={actions!r}, but {name} has {needed['actions']} actions; leave 'actions' out.")
    if OBSERVATIONS.index(observation) < OBSERVATIONS.index(needed["observation"]):
        raise ValueError(
            f"observation={observation!r}, but {name} needs {needed['observation']!r}; leave 'observation' out."
        )


def _show(space: spaces.Space) -> str:
    return " ".join(str(space).split())


def _same(own: spaces.Space, given: spaces.Space) -> bool:
    """Whether spaces are equal, or would be if images had their channels first, as Stable-Baselines3 keeps them."""
    if isinstance(own, spaces.Dict) and isinstance(given, spaces.Dict):
        return own.keys() == given.keys() and all(_same(own[name], given[name]) for name in own)
    if isinstance(own, spaces.Box) and isinstance(given, spaces.Box) and own.dtype == given.dtype == np.uint8:
        height, width, channels = given.shape if len(given.shape) == 3 else (0, 0, 0)
        return own.shape in (given.shape, (channels, height, width))
    return own == given
