"""The critic of painted pixels."""

import pytest
import torch

from ctxmem_env.training.adversary import Adversary


@pytest.fixture
def adversary():
    torch.manual_seed(0)
    return Adversary("cpu", learning_rate=3e-3)


def draw(n=4, size=32):
    generator = torch.Generator().manual_seed(1)
    clean = torch.rand(n, 3, size, size, generator=generator) * 2 - 1
    painted = torch.zeros(n, 1, size, size)
    painted[..., size // 2 :] = 1.0
    return clean, torch.zeros_like(clean), painted


def test_the_pull_is_confined_to_painted_pixels_and_as_strong_as_the_reconstruction(adversary):
    clean, frames, painted = draw()
    reconstruction = torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    pull = adversary.pull(frames, clean, painted, reconstruction)
    assert pull[..., :16].abs().max() == 0
    torch.testing.assert_close(pull.norm(), reconstruction[..., 16:].norm())


def test_the_critic_learns_to_tell_painted_from_true_and_its_pull_raises_the_score(adversary):
    clean, frames, painted = draw()
    for _ in range(60):
        adversary.step(frames, clean, painted)

    def score(x):
        return adversary.critic(painted * x + (1 - painted) * clean, painted)[..., 2:].mean()

    assert score(clean) > score(frames) + 0.5
    pull = adversary.pull(frames, clean, painted, torch.ones_like(frames))
    assert score(frames - 0.05 * pull) > score(frames)  # the optimiser goes against a gradient


def test_the_critic_has_a_say_in_detail_and_none_in_colours(adversary):
    """Averaged over what is larger than detail its wish is small, although it has learned that grey is too dark."""
    clean, frames, painted = draw(size=64)
    clean = 0.2 * clean + 0.7
    for _ in range(60):
        adversary.step(frames, clean, painted)
    pull = adversary.pull(frames, clean, painted, torch.ones_like(frames))[..., 32:]
    coarse = torch.nn.functional.avg_pool2d(pull, 16)
    assert coarse.square().mean() < 0.01 * pull.square().mean()


def test_what_was_not_painted_teaches_the_critic_nothing(adversary):
    clean, frames, painted = draw()
    before = [p.clone() for p in adversary.critic.parameters()]
    for group in adversary.optimizer.param_groups:
        group["weight_decay"] = 0.0
    adversary.step(frames, clean, 0 * painted)
    assert all(torch.equal(a, b) for a, b in zip(before, adversary.critic.parameters(), strict=True))
