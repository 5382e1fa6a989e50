"""What a fuzzer works on."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Target(NamedTuple):
    """seeds: inputs that pass; run: what is done with one; documented: exceptions that `run` may raise."""

    seeds: list[bytes]
    run: Callable[[bytes], Any]
    documented: tuple[type[Exception], ...] = (ValueError, OSError)
