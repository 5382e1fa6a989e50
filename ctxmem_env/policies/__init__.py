"""Policies: what chooses the actions in a world. Those that need no training and those that come trained, by name."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ctxmem_env.errors import unknown_name
from ctxmem_env.policies.frontier import FrontierExplorer
from ctxmem_env.policies.homing import VisualHoming
from ctxmem_env.policies.network import SUFFIX, NetworkPolicy, load_policy, packaged_policies
from ctxmem_env.policies.policy import Policy, ScriptedPolicy, check_policy, environment_arguments
from ctxmem_env.policies.random_actions import RandomActions
from ctxmem_env.policies.turn_and_go import TurnAndGo
from ctxmem_env.policies.wall_follower import WallFollower

__all__ = [
    "POLICIES",
    "FrontierExplorer",
    "NetworkPolicy",
    "Policy",
    "RandomActions",
    "ScriptedPolicy",
    "TurnAndGo",
    "VisualHoming",
    "WallFollower",
    "check_policy",
    "environment_arguments",
    "load_policy",
    "make_policy",
    "packaged_policies",
]

POLICIES: dict[str, Callable[..., Policy]] = {
    "random": RandomActions,
    "turn_and_go": TurnAndGo,
    "turn_and_avoid": partial(TurnAndGo, avoid=True),
    "wall_follower": WallFollower,
    "frontier": FrontierExplorer,
    "homing": VisualHoming,
}


def make_policy(name: str, **arguments: Any) -> Policy:
    """A policy by its name, or a trained one by its file, with the arguments of its class or of `load_policy`.

    Raises:
        ValueError: there is none, with the nearest name, or the file holds none.
    """
    if name in POLICIES:
        return POLICIES[name](**arguments)
    if name.endswith(SUFFIX) or name in packaged_policies():
        return load_policy(name, **arguments)
    raise unknown_name("policy", name, [*POLICIES, *packaged_policies()])
