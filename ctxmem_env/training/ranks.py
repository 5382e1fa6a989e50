"""A run of several processes, its ranks, that share every batch.

    torchrun --nproc-per-node 2 -m ctxmem_env train configs/nano.yaml

`torchrun` and `accelerate launch` start the processes and tell each who it is (RANK, WORLD_SIZE, LOCAL_RANK,
MASTER_ADDR, MASTER_PORT); torch.distributed adds up what they find, by gloo on CPUs and NCCL on GPUs. Scene i of a
batch belongs to rank i modulo their number, so that together they do what one process does, up to rounding. In a
process that was started alone there is no group, and every function here gives back what it got.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def rank() -> int:
    """The number of this process among the ranks, 0 for the first."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """The number of ranks."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def joined(device: torch.device, scenes: int) -> Iterator[torch.device]:
    """The processes that a launcher started are ranks of one run in here; gives the device of this one.

    ValueError, the same on every rank, unless they can share `scenes` evenly; also for "cuda" with a number, which
    would be the same GPU for all, and for more processes on a machine than it has GPUs.
    """
    number = int(os.environ.get("WORLD_SIZE", "1"))
    if number == 1:
        yield device
        return
    if scenes % number:
        raise ValueError(
            f"scenes_per_batch={scenes} cannot be shared evenly by {number} ranks; start as many as divide it, or "
            f"change it to a multiple of {number}."
        )
    if device.type == "cuda":
        device = _own_gpu(device)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def _own_gpu(device: torch.device) -> torch.device:
    local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if device.index is not None:
        raise ValueError(f"device='{device}' would be shared by all ranks; use 'cuda', which gives each its own GPU.")
    if local >= there:
        raise ValueError(
            f"{local + 1} ranks or more were started on a machine with {there} GPUs; expected one for each."
        )
    return torch.device("cuda", local)


def share(whole: Tensor) -> Tensor:
    """This rank's scenes of a tensor (B, ...) that holds those of all ranks."""
    return whole[rank() :: size()]


def total(value: Tensor) -> Tensor:
    """The sum of `value` over ranks, without a gradient."""
    if dist.is_initialized():
        value = value.detach().clone()
        dist.all_reduce(value)
    return value


def norm(value: Tensor) -> Tensor:
    """The Euclidean norm of what all ranks hold together."""
    return total(value.norm().square()).sqrt() if dist.is_initialized() else value.norm()


def means(parts: dict[str, float]) -> dict[str, float]:
    """The mean over ranks of every number."""
    if not dist.is_initialized():
        return parts
    sums = total(torch.tensor(list(parts.values()), dtype=torch.float64, device=_device()))
    return dict(zip(parts, (sums / size()).tolist(), strict=True))


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace gradients by their sums over ranks, in one message."""
    if not dist.is_initialized():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = total(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def from_first(read: Callable[[], Any]) -> Any:
    """What `read` returns or raises on the first rank, on every rank, so that only that one needs the files."""
    if not dist.is_initialized():
        return read()
    outcome: list = [None, None]
    if rank() == 0:
        try:
            outcome[0] = read()
        except (ValueError, OSError) as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome, device=_device())
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def _device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
