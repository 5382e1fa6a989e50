"""The weights of a network with fewer layers, begun from those of a deeper one."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ctxmem_env.errors import check_integer, unknown_name

STACKS = {"blocks": "num_layers", "context_blocks": "num_context_layers"}


def prune(
    weights: dict[str, Tensor], arguments: Mapping[str, Any], layers: Mapping[str, Sequence[int]]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and arguments of a `SceneTransformer` of which some layers alone are kept, numbered anew.

    Args:
        weights: of a deeper one.
        arguments: of that one.
        layers: which ones to keep of `blocks` and of `context_blocks`, in order; all where one is not named.

    Raises:
        ValueError: a stack or layer that is not there, or one that would read remembered frames where it did not.
    """
    fewer, every = dict(arguments), arguments["remember_every"]
    for stack, kept in layers.items():
        if stack not in STACKS:
            raise unknown_name("init_layers", stack, STACKS)
        depth = arguments[STACKS[stack]]
        kept = [check_integer(f"init_layers: {stack}", layer, 0, depth - 1) for layer in kept]
        alike = stack != "blocks" or all((old % every == 0) == (new % every == 0) for new, old in enumerate(kept))
        if kept != sorted(set(kept)) or not alike:
            raise ValueError(
                f"init_layers: {stack}={kept}; expected different layers in their order, and of blocks such that every "
                f"remember_every={every}th is still one that reads remembered frames."
            )
        fewer[STACKS[stack]] = len(kept)
        weights = _renumbered(weights, stack, kept)
    return weights, fewer


def _renumbered(weights: dict[str, Tensor], stack: str, kept: list[int]) -> dict[str, Tensor]:
    result = {}
    for name, value in weights.items():
        owner, _, rest = name.partition(".")
        if owner == stack:
            layer, _, rest = rest.partition(".")
            if int(layer) not in kept:
                continue
            name = f"{stack}.{kept.index(int(layer))}.{rest}"
        result[name] = value
    return result
