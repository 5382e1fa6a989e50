"""Weights of small networks that come with the package, in half precision, each in one file."""

from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from ctxmem_env.atomic import open_whole

Network = TypeVar("Network", bound=nn.Module)


def load_half(network: Network, path: str | Path, module: str) -> Network:
    """`network` with the weights at `path`, in single precision, to be used and not to learn.

    module: what `python -m` runs to write them, for the ValueError of a file that does not hold them.
    """
    try:
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{path} holds no weights of {type(network).__name__} ({type(error).__name__}); make it anew with "
            f"`python -m {module}`."
        ) from error
    return network.eval().requires_grad_(False)


def save_half(network: nn.Module, path: str | Path) -> None:
    """The weights of `network` as a file that is there whole or not at all."""
    with open_whole(path) as file:
        file.write(save({name: value.half().contiguous() for name, value in network.state_dict().items()}))
