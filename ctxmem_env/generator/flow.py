"""Flow matching with x-prediction: the straight path from noise to frame, its training loss and its sampler.

x_t = (1 - t) x + t e, t from 1 (noise) to 0 (frame). The network predicts x itself (JiT, arXiv:2511.13720).
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

LEAST = 0.2  # time before 0; the network learns, and is asked, from no less noise than that


def times(num_steps: int, device: torch.device | str = "cpu") -> Tensor:
    """The num_steps + 1 times from 1 to 0 at which the sampler stands.

    They are evenly spaced, so that none is wasted, down to 0 or, where that would ask the network from less noise than
    it has learned from, to `LEAST`.
    """
    if num_steps * LEAST <= 1:
        return torch.linspace(1.0, 0.0, num_steps + 1, device=device)
    return torch.cat([torch.linspace(1.0, LEAST, num_steps, device=device), torch.zeros(1, device=device)])


def draw_times(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Training times: 0.6 of them exactly 1, where every frame begins, the others uniform in [LEAST, 1)."""
    t = LEAST + (1 - LEAST) * torch.rand(shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < 0.6, torch.ones(()), t)


def add_noise(clean: Tensor, time: Tensor, noise: Tensor) -> Tensor:
    """x_t for clean and noise (B, S, 3, H, W) and time (B, S)."""
    time = time[..., None, None, None]
    return (1 - time) * clean + time * noise


def loss_weight(time: Tensor) -> Tensor:
    """Weight of the x-error at time t: between the x-loss (1) and the velocity loss (1 / t^2), bounded near t = 0."""
    return 1.0 / time.clamp(min=0.25)


def sample(denoise: Callable[[Tensor, Tensor], tuple], noise: Tensor, num_steps: int) -> list[tuple]:
    """Euler steps from noise (B, S, 3, H, W): `denoise(x_t, t (B, S))` returns a tuple whose first entry predicts x.

    Returns what each call returned: at t = 0 the path has arrived at the prediction of the last.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    x, grid, predictions = noise, times(num_steps).tolist(), []
    for t, t_next in itertools.pairwise(grid):
        predictions.append(denoise(x, x.new_full(x.shape[:2], t)))
        clean = predictions[-1][0]
        x = clean + (t_next / t) * (x - clean)
    return predictions
