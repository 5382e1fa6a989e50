"""Helpers for error messages: which argument, what came, what was expected, what to do."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping

from gymnasium import logger


def unknown_name(argument: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that is not among the known ones; names the nearest one.

    >>> unknown_name("task", "raom", ["roam"])
    ValueError("task='raom' is unknown. Did you mean 'roam'? Known: 'roam'.")
    """
    known = sorted(known)
    nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return ValueError(f"{argument}={name!r} is unknown.{hint} Known: {', '.join(map(repr, known))}.")


def keyword_names(*functions: Callable) -> set[str]:
    """Names of what the functions, or classes, take by name; of `**kwargs` nothing."""
    parameters = [each for function in functions for each in inspect.signature(function).parameters.values()]
    return {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}


def check_names(
    argument: str, names: Iterable[str], known: Iterable[str], settled: Mapping[str, str] | None = None
) -> None:
    """ValueError for a name that is unknown, or in `settled`, which tells for each why it is not chosen.

    argument: what has such names, "kwargs" for instance.
    """
    for name in names:
        if settled is not None and name in settled:
            raise ValueError(f"{argument} has {name!r}, but {settled[name]}; leave it out.")
        if name not in known:
            raise unknown_name(f"{argument} key", name, known)


def check_free_name(argument: str, name: str, new: object, known: Mapping[str, object]) -> None:
    """ValueError where the name is taken, unless `new` is another definition of the function or class that has it.

    A cell of a notebook that is run again, and a module that is loaded again, define the same once more; of that a
    warning tells. What the package itself brings is never replaced.
    """
    if name not in known:
        return
    (module, of), given = (
        (getattr(one, "__module__", None), getattr(one, "__qualname__", None)) for one in (known[name], new)
    )
    again = known[name] is not new and of is not None and (module, of) == given
    if not again or str(module).startswith("ctxmem_env."):
        raise ValueError(f"{argument}={name!r} is already registered; choose another name.")
    logger.warn(f"{argument}={name!r} was registered before; the new definition of {of} takes its place.")


def check_integer(argument: str, value: object, low: int, high: int | None = None) -> int:
    """`value` as an int in [low, high]; ValueError otherwise (bool is not an integer here)."""
    expected = f"an integer of at least {low}" if high is None else f"an integer in [{low}, {high}]"
    # numpy integers implement __index__; so does bool, which is hardly ever meant as a number here.
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(f"{argument}={value!r} is a {type(value).__name__}; expected {expected}.")
    number = value.__index__()
    if number < low or (high is not None and number > high):
        raise ValueError(f"{argument}={number} is out of range; expected {expected}.")
    return number
