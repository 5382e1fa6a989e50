"""Muon: the optimiser of torch, in the precision that is fast."""

import pytest
import torch

from ctxmem_env.training.muon import Muon, orthogonal

SHAPES = ((8, 24), (24, 8), (16, 16))


def trained(optimizer: type, monkeypatch, dtype: torch.dtype, **arguments) -> list[torch.Tensor]:
    """Weights after four steps with gradients of many sizes."""
    monkeypatch.setattr("ctxmem_env.training.muon.fast_dtype", lambda device: dtype)
    drawn = torch.Generator().manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=drawn)) for shape in SHAPES]
    own = optimizer(weights, lr=0.1, weight_decay=0.05, **arguments)
    for _ in range(4):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=drawn) * 10 ** (4 * torch.rand((), generator=drawn) - 3)
        own.step()
    return [*weights, *(own.state[weight]["momentum_buffer"] for weight in weights)]


def test_in_single_precision_it_goes_where_that_of_torch_goes_up_to_rounding(monkeypatch):
    ours = trained(Muon, monkeypatch, torch.float32)
    theirs = trained(torch.optim.Muon, monkeypatch, torch.float32, adjust_lr_fn="match_rms_adamw")
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, atol=0.02, rtol=0.01)  # theirs is rounded to bfloat16
    assert not any(torch.equal(own, other) for own, other in zip(ours[:3], theirs[:3], strict=True))


def test_where_bfloat16_is_fast_it_is_that_of_torch(monkeypatch):
    ours = trained(Muon, monkeypatch, torch.bfloat16)
    theirs = trained(torch.optim.Muon, monkeypatch, torch.bfloat16, adjust_lr_fn="match_rms_adamw")
    assert all(torch.equal(own, other) for own, other in zip(ours, theirs, strict=True))


def test_a_weight_without_a_gradient_stays(monkeypatch):
    monkeypatch.setattr("ctxmem_env.training.muon.fast_dtype", lambda device: torch.float32)
    weight = torch.nn.Parameter(torch.ones(3, 4))
    Muon([weight], lr=0.1, weight_decay=0.1).step()
    assert (weight == 1).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_come_near_one_and_singular_vectors_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = orthogonal(matrix, (3.4445, -4.775, 2.0315), 5)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    values = left.mT @ found @ right.mT
    assert (values - values.diagonal().diag()).abs().max() < 1e-6
    assert values.diagonal().min() > 0.5 and values.diagonal().max() < 1.3
