"""What comes in for a batch of N worlds, checked: actions, seeds and reset options. Errors name the world."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctxmem_env.actions import map_actions
from ctxmem_env.errors import check_integer
from ctxmem_env.settings import Settings, check_start
from ctxmem_env.start import Start


def check_actions(settings: Settings, actions: Any, moving: np.ndarray) -> Tensor:
    """Motions float32 (N, 4), zero where `moving`, bool (N,), is False, whatever the action is there.

    Raises:
        ValueError: not one action a world, or one that is outside its space.
    """
    actions = map_actions(lambda part: part.detach().cpu().numpy() if isinstance(part, Tensor) else part, actions)
    for name, part in actions.items() if isinstance(actions, dict) else [(None, actions)]:
        count = _length(part)
        if count != len(moving):
            came = f"is a {type(part).__name__}" if count is None else f"holds {count} entries"
            which = "actions" if name is None else f"actions[{name!r}]"
            raise ValueError(f"{which} {came}; expected one action a world, {len(moving)} in all.")
    motion, worlds = torch.zeros(len(moving), 4), np.flatnonzero(moving)
    try:
        chosen = map_actions(lambda part: np.asarray(part)[worlds], actions)
        motion[torch.from_numpy(moving)] = settings.actions.to_motion(chosen)
    except ValueError:
        for world in worlds:
            try:
                settings.actions.to_motion(map_actions(lambda part, at=world: np.asarray(part[at])[None], actions))
            except ValueError as error:
                raise ValueError(f"world {world}: {error} No world has moved.") from None
        raise
    return motion


def check_seeds(seed: Any, num_worlds: int) -> list[int | None]:
    """A seed or None for each world, of None, one seed s for s + i, or a list of N; ValueError for anything else."""
    if seed is None:
        return [None] * num_worlds
    count = _length(seed)
    if count is None:
        first = check_integer("seed", seed, 0)
        return list(range(first, first + num_worlds))
    if count != num_worlds:
        raise ValueError(f"seed holds {count} entries; expected one a world, {num_worlds} in all, or a single integer.")
    return [None if one is None else check_integer(f"seed[{i}]", one, 0) for i, one in enumerate(seed)]


def check_options(settings: Settings, options: Any, num_worlds: int) -> tuple[np.ndarray, list[Start]]:
    """Worlds to reset, int64 (n,), and the start of each, as reset options ask for them; ValueError if they do not fit.

    Options are those of one world, for all, besides `reset_mask`, bool (N,), and `worlds`, a list of N dicts or None
    that go before those for all.
    """
    if options is not None and not isinstance(options, dict):
        raise ValueError(f"options={options!r} is a {type(options).__name__}; expected a dict or None.")
    shared = dict(options or {})
    mask, own = shared.pop("reset_mask", None), shared.pop("worlds", None)
    worlds = np.arange(num_worlds) if mask is None else np.flatnonzero(_check_mask(mask, num_worlds))
    if own is None:
        return worlds, [check_start(settings, shared)] * len(worlds)
    if _length(own) != num_worlds or not all(isinstance(one, dict | None) for one in own):
        raise ValueError(f"options['worlds']={own!r}; expected a list of {num_worlds} dicts or None, one a world.")
    starts = []
    for world in worlds:
        try:
            starts.append(check_start(settings, shared | (own[world] or {})))
        except ValueError as error:
            raise ValueError(f"world {world}: {error}") from None
    return worlds, starts


def _check_mask(mask: Any, num_worlds: int) -> np.ndarray:
    mask = mask.cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if mask.dtype != bool or mask.shape != (num_worlds,) or not mask.any():
        came = f"{mask.dtype} of shape {mask.shape} with {np.count_nonzero(mask)} worlds to reset"
        raise ValueError(f"options['reset_mask'] is {came}; expected bool of shape ({num_worlds},), at least one True.")
    return mask


def _length(value: Any) -> int | None:
    """How many entries a list, tuple or array has; None for anything else."""
    listed = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)
    return len(value) if listed else None
