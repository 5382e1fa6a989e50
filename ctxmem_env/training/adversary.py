"""A critic of painted pixels: what no frame has seen has many right answers, and their average is a blur.

The critic compares true frames with frames whose painted pixels are the generator's and whose other pixels are true,
so that it can only speak of what was painted and how that meets its surroundings. Hinge loss, as in SAGAN
(arXiv:1805.08318); its pull on the generator is scaled to that of the reconstruction loss, as in VQGAN
(arXiv:2012.09841).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ctxmem_env.training import ranks

_DETAIL = 9  # pixels; what is larger than this the critic has no say in


class Critic(nn.Module):
    """Scores (N, 1, H / 8, W / 8) of frames (N, 3, H, W) in [-1, 1] and of the share (N, 1, H, W) that was painted."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        sizes = [(4, channels), (channels, 2 * channels), (2 * channels, 4 * channels)]
        self.down = nn.ModuleList(spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in sizes)
        self.score = spectral_norm(nn.Conv2d(4 * channels, 1, 3, padding=1))

    def forward(self, frames: Tensor, painted: Tensor) -> Tensor:
        x = torch.cat([frames, painted], dim=1)
        for layer in self.down:
            x = F.leaky_relu(layer(x), 0.2)
        return self.score(x)


class Adversary:
    """A critic and its optimiser."""

    def __init__(self, device: str, learning_rate: float = 3e-4) -> None:
        self.critic = Critic().to(device)
        self.optimizer = torch.optim.AdamW(self.critic.parameters(), lr=learning_rate, betas=(0.0, 0.99))

    def step(self, frames: Tensor, clean: Tensor, painted: Tensor) -> None:
        """Train the critic on generated and true frames (N, 3, H, W) and painted shares (N, 1, H, W)."""
        mixed = painted * frames.detach() + (1 - painted) * clean
        fake, real = self.critic(mixed, painted), self.critic(clean, painted)
        # Where nothing was painted the two are the same frame: there is nothing to learn.
        weight = F.avg_pool2d(painted, 8)
        loss = weight * (F.relu(1 + fake) + F.relu(1 - real))
        (loss.sum() / ranks.total(weight.sum()).clamp(min=1)).backward()
        ranks.sum_gradients(self.critic.parameters())
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def pull(self, frames: Tensor, clean: Tensor, painted: Tensor, reconstruction: Tensor) -> Tensor:
        """The critic's wish as a gradient at `frames`, as strong as `reconstruction`, the gradient of that loss."""
        frames = frames.detach().requires_grad_()
        score = self.critic(painted * frames + (1 - painted) * clean, painted)
        weight = F.avg_pool2d(painted, 8)
        (gradient,) = torch.autograd.grad(-(weight * score).sum(), frames)
        # Detail alone: colours, which the reconstruction knows, would drift a little with every copy of a copy.
        around, share = (F.avg_pool2d(part, _DETAIL, stride=1, padding=_DETAIL // 2) for part in (gradient, painted))
        gradient = gradient - painted * around / share.clamp(min=1e-6)
        size = ranks.norm(painted * reconstruction) / ranks.norm(gradient).clamp(min=1e-8)
        return gradient * size
