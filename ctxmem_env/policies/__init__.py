"""Policies: what chooses the actions in a world. Those that need no training, by name."""

from typing import Any

from ctxmem_env.errors import unknown_name
from ctxmem_env.policies.policy import Policy, ScriptedPolicy, check_policy, environment_arguments
from ctxmem_env.policies.random_actions import RandomActions

__all__ = [
    "POLICIES",
    "Policy",
    "RandomActions",
    "ScriptedPolicy",
    "check_policy",
    "environment_arguments",
    "make_policy",
]

POLICIES: dict[str, type[Policy]] = {
    "random": RandomActions,
}


def make_policy(name: str, **arguments: Any) -> Policy:
    """A policy by name, with the arguments of its class; ValueError with the nearest name when there is none."""
    if name not in POLICIES:
        raise unknown_name("policy", name, POLICIES)
    return POLICIES[name](**arguments)
