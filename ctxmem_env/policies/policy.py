"""What a policy is, what it needs of an environment, and whether an environment has it."""

from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces

from ctxmem_env.settings import OBSERVATIONS

Observation = np.ndarray | dict[str, np.ndarray]


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

        Args:
            observation: a batch of N, an array (N, ...) or a dict of them.
            state: what the call before returned; None at first.
            episode_start: bool (N,), worlds whose episode begins with this observation; None: all at first, then none.
            deterministic: the likeliest action rather than one drawn, for policies that draw.

        Returns:
            int64 (N,) for discrete actions or float32 (N, 4) for continuous ones, and the state.
        """
        ...


class ScriptedPolicy:
    """What the policies of this package have that follow a rule: discrete actions, and the tasks that the rule serves.

    observation: the least that it needs, one of "rgb", "rgbd", "dict"; tasks: names, empty for any task.
    """

    observation: ClassVar[str] = "rgb"
    actions: str = "discrete"
    tasks: ClassVar[tuple[str, ...]] = ()

    def read(self, observation: Observation, *names: str) -> list[np.ndarray]:
        """Those parts of the observation; ValueError where one is missing."""
        found = set(observation) if isinstance(observation, dict) else set()
        missing = [name for name in names if name not in found]
        if missing:
            came = f"has {sorted(found)}" if found else "is an array"
            tasks = f" and task={' or '.join(map(repr, self.tasks))}" if self.tasks else ""
            raise ValueError(
                f"observation {came}; {type(self).__name__} needs {', '.join(map(repr, names))}: make the environment "
                f"with observation={self.observation!r}{tasks}."
            )
        return [np.asarray(observation[name]) for name in names]


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
