"""Muon (Jordan et al. 2024), as torch has it, in the precision that is fast where it runs."""

import torch
from torch import Tensor

from ctxmem_env.device import fast_dtype


class Muon(torch.optim.Muon):
    """`torch.optim.Muon`, which orthogonalises in bfloat16, and with `adjust_lr_fn="match_rms_adamw"` alone.

    On a CPU without units for bfloat16 that takes four fifths of a training step. There it is float32 here; elsewhere,
    and in what a checkpoint holds, nothing differs.
    """

    def __init__(self, params: list[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure=None):
        """One step, as of any optimiser."""
        device = self.param_groups[0]["params"][0].device
        if closure is not None or fast_dtype(device) == torch.bfloat16:
            return super().step(closure)
        for group in self.param_groups:
            momentum, rate = group["momentum"], group["lr"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter.grad)
                average = state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
                update = orthogonal(parameter.grad.lerp(average, momentum), group["ns_coefficients"], group["ns_steps"])
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(update, alpha=-0.2 * rate * max(parameter.shape) ** 0.5)
        return None


def orthogonal(matrix: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """A matrix (m, n) with about the same singular vectors, and singular values near 1: Newton-Schulz iterations."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
