"""Policies: what chooses the actions in a world. Those that need no training, by name."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ctxmem_env.errors import unknown_name
from ctxmem_env.policies.frontier import FrontierExplorer
from ctxmem_env.policies.policy import Policy, ScriptedPolicy, check_policy, environment_arguments
from ctxmem_env.policies.random_actions import RandomActions
from ctxmem_env.policies.turn_and_go import TurnAndGo
from ctxmem_env.policies.wall_follower import WallFollower

__all__ = [
    "POLICIES",
    "FrontierExplorer",
    "Policy",
    "RandomActions",
    "ScriptedPolicy",
    "TurnAndGo",
    "WallFollower",
    "check_policy",
    "environment_arguments",
    "make_policy",
]

POLICIES: dict[str, Callable[..., Policy]] = {
    "random": RandomActions,
    "turn_and_go": TurnAndGo,
    "turn_and_avoid": partial(TurnAndGo, avoid=True),
    "wall_follower": WallFollower,
    "frontier": FrontierExplorer,
}


def make_policy(name: str, **arguments: Any) -> Policy:
    """A policy by name, with the arguments of its class; ValueError with the nearest name when there is none."""
    if name not in POLICIES:
        raise unknown_name("policy", name, POLICIES)
    return POLICIES[name](**arguments)
