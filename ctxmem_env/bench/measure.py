"""How the benchmarks measure: a clock for parts, generators that are timed, operations that are counted."""

import functools
import time
from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from ctxmem_env.bench.machine import synchronize
from ctxmem_env.generator import Context, Generator, generate_along, traits_of


class Stopwatch:
    """Seconds spent in each part. On a GPU the clock waits for the device, so that parts do not run into another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, part: str, function: Callable) -> Callable:
        """`function`, whose calls count as that part."""

        @functools.wraps(function)
        def call(*arguments, **options):
            synchronize()
            began = time.perf_counter()
            result = function(*arguments, **options)
            synchronize()
            self.seconds[part] += time.perf_counter() - began
            return result

        return call


class TimedGenerator:
    """A generator whose calls a stopwatch times; `num_encoded` counts the frames that it encoded."""

    def __init__(self, generator: Generator, watch: Stopwatch) -> None:
        self._generator = generator
        self._encode = watch.timed("encoding", generator.encode)
        self.generate = watch.timed("denoising", generator.generate)
        self.num_encoded = 0

    def encode(self, frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> dict[str, Tensor]:
        self.num_encoded += len(frames)
        return self._encode(frames, depth, poses, fov)

    def __getattr__(self, name: str):
        return getattr(self._generator, name)


def _attention(*shapes, **_) -> int:
    return sdpa_flop_count(*shapes[:3])


def _attention_backward(*shapes, **_) -> int:
    return sdpa_backward_flop_count(*shapes[:4])


# Of itself the counter knows the attention of GPUs only.
_ON_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def count_flops(function: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products, convolutions and attention in one call of `function`.

    A multiply and an add count as two. What is not one of these, such as a softmax, is not counted.
    """
    with FlopCounterMode(display=False, custom_mapping=_ON_CPU) as counter:
        function()
    return counter.get_total_flops()


def compiled(generator: Generator) -> Generator:
    """A copy of `generator` whose network is compiled; ValueError for one that cannot be."""
    if not hasattr(generator, "compile"):
        raise ValueError(f"compile=True, but a {type(generator).__name__} cannot be compiled; leave compile out.")
    return deepcopy(generator).compile()


class NetworkFlops(NamedTuple):
    """Floating-point operations to encode one frame, and to paint one view with all context slots in use."""

    encode: int
    generate: int


def network_flops(generator: Generator, num_context: int, device: torch.device) -> NetworkFlops:
    """What `generator` calculates for one frame that enters memory and for one view."""
    size = (num_context, generator.height, generator.width)
    frames = torch.zeros(*size, 3, dtype=torch.uint8, device=device)
    depth, poses = torch.full(size, 3.0, device=device), torch.zeros(num_context, 6, device=device)
    fov = torch.full((num_context,), 90.0, device=device)
    encode = count_flops(lambda: generator.encode(frames[:1], depth[:1], poses[:1], fov[:1]))
    features = {name: value[None] for name, value in generator.encode(frames, depth, poses, fov).items()}
    mask = torch.ones(1, num_context, dtype=torch.bool, device=device)
    context = Context(frames[None], depth[None], poses[None], mask, features)
    drawn = [torch.Generator().manual_seed(0)]
    way = poses[:1, None].expand(-1, traits_of(generator).frames_per_step, -1)
    rest = context, fov[:1], generator.default_num_steps, drawn
    return NetworkFlops(encode, count_flops(lambda: generate_along(generator, way, *rest)))
