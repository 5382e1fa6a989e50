"""What an object keeps, as facts (JSON types) and arrays: tensors, plain values and NumPy's random generators."""

from typing import Any

import numpy as np
from torch import Tensor

from ctxmem_env.world_file import DTYPES

_BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
_PLAIN = bool | int | float | str | None


def to_array(tensor: Tensor) -> np.ndarray:
    """The values of a tensor on the CPU."""
    return tensor.detach().cpu().numpy()


def dtype_name(tensor: Tensor) -> str:
    """NumPy's name of the type of a tensor."""
    return str(tensor.dtype).removeprefix("torch.")


def tensors_of(values: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors among the values."""
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def split(owner: str, values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Facts and arrays of what the `owner` keeps by name; ValueError for what no file can hold."""
    facts, tensors = {}, {name: value for name, value in tensors_of(values).items() if dtype_name(value) in DTYPES}
    for name, value in values.items():
        if isinstance(value, list) and all(isinstance(part, np.random.Generator) for part in value):
            facts[name] = [random_state(rng) for rng in value]
        elif isinstance(value, _PLAIN):
            facts[name] = value
        elif name not in tensors:
            raise ValueError(
                f"the {owner} keeps {name}, a {type(value).__name__}, which no file can hold; expected tensors of "
                f"{', '.join(DTYPES)}, numbers, texts, or lists of NumPy's random generators."
            )
    return facts, {f"{owner}.{name}": to_array(value) for name, value in tensors.items()}


def join(owner: str, present: dict[str, Any], facts: dict[str, Any], arrays: dict[str, Tensor]) -> dict[str, Any]:
    """What the `owner` is to keep, by the names and types of what it keeps at present; ValueError for anything else."""
    if facts.keys() != present.keys() - tensors_of(present).keys():
        raise ValueError(
            f"a {owner} with {sorted(facts)}, and not {sorted(present.keys() - tensors_of(present).keys())}"
        )
    joined = {name: arrays[f"{owner}.{name}"] for name in tensors_of(present)}
    for name, value in facts.items():
        if isinstance(present[name], list):
            if not isinstance(value, list) or len(value) != len(present[name]):
                raise ValueError(f"{owner}.{name} that is no list of {len(present[name])} random generators")
            value = [random_generator(state) for state in value]
        elif None not in (value, present[name]) and type(value) is not type(present[name]):
            raise ValueError(f"{owner}.{name}={value!r}, a {type(value).__name__}")
        joined[name] = value
    return joined


def random_state(rng: np.random.Generator) -> dict[str, Any]:
    """What `random_generator` makes the same generator of, as JSON types."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(part) for name, part in value.items()}
        return value.tolist() if isinstance(value, np.ndarray) else value

    return plain(rng.bit_generator.state)


def random_generator(state: dict[str, Any]) -> np.random.Generator:
    """The generator in that state; ValueError, TypeError or LookupError for what is none."""
    name = state["bit_generator"]
    if name not in _BIT_GENERATORS:
        raise ValueError(f"the random generator {name!r}")
    # NumPy reads its next number at this place of an array without a look at whether it is one.
    if name == "MT19937":
        place, last = state["state"]["pos"], 624
    else:
        place, last = state.get("buffer_pos", 0), 4  # of Philox alone
    if type(place) is not int or not 0 <= place <= last:
        raise ValueError(f"the random generator {name!r} at place {place!r}, not 0 to {last}")
    bits = getattr(np.random, name)()
    bits.state = state
    return np.random.Generator(bits)
