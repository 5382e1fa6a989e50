"""How much detail frames have, beside the true ones, and what training asks of it."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from test_training import CONFIG, some_batches

from ctxmem_env.generator.flow import draw_times
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.training.texture import differences, texture_loss
from ctxmem_env.training.train import losses

KNOWN, MADE_UP = torch.zeros(2, 1, 64, 64), torch.ones(2, 1, 64, 64)


@pytest.fixture
def clean():
    """Two frames: stripes of 8 pixels in the left half, and of 16 in the right one."""
    x = torch.arange(64)
    stripes = torch.where(x < 32, x // 4 % 2, x // 8 % 2).float() - 0.5
    return stripes.expand(2, 3, 64, 64).clone()


def blurred(frames):
    return F.avg_pool2d(F.pad(frames, (2, 2, 2, 2), mode="replicate"), 5, stride=1)


@pytest.mark.parametrize("made_up", [KNOWN, MADE_UP])
def test_true_frames_are_right_and_blurred_ones_and_noisy_ones_are_not(clean, made_up):
    noise = 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    assert texture_loss(clean, clean, made_up) == 0
    assert texture_loss(blurred(clean), clean, made_up) > 0.02
    assert texture_loss(clean + noise, clean, made_up) > 0.02


def test_what_is_known_has_its_detail_where_the_true_frame_has_it(clean):
    """Mirrored, the fine stripes are where the coarse ones were; only of what is made up is that as good."""
    mirrored = clean.flip(-1)
    assert texture_loss(mirrored, clean, MADE_UP) < 1e-6
    assert texture_loss(mirrored, clean, KNOWN) > 0.02


def test_what_is_made_up_is_asked_frame_by_frame(clean):
    """One frame that is too sharp does not make up for another one that is too soft."""
    frames = torch.stack([0.5 * clean[0], 1.5 * clean[1]])
    assert differences(frames).mean() == pytest.approx(differences(clean).mean().item())
    assert texture_loss(frames, clean, MADE_UP) > 0.02


def test_noise_as_strong_as_fine_detail_does_not_pass_for_it():
    """Of noise and stripes that differ alike from pixel to pixel, less is left of the noise in larger pixels."""
    stripes = (torch.arange(64) // 4 % 2).float().expand(2, 3, 64, 64) - 0.5
    noise = torch.randn(stripes.shape, generator=torch.Generator().manual_seed(0))
    noise = noise * (differences(stripes).mean() / differences(noise).mean())
    assert differences(noise, 4).mean() < 0.5 * differences(stripes, 4).mean()
    assert texture_loss(noise, stripes, MADE_UP) > 0.02


def test_against_its_gradient_a_blurred_frame_becomes_sharper(clean):
    frames = blurred(clean).requires_grad_()
    (gradient,) = torch.autograd.grad(texture_loss(frames, clean, KNOWN), frames)
    sharper = frames - 1e3 * gradient
    assert differences(sharper).mean() > differences(frames).mean()


def test_frames_smaller_than_a_window_are_one():
    frames = torch.rand(1, 3, 16, 16)
    assert texture_loss(0.5 * frames, frames, torch.zeros(1, 1, 16, 16)) > 0


def test_the_loss_asks_for_detail_where_the_configuration_does():
    torch.manual_seed(0)
    model, batch = SceneTransformer(**CONFIG.model), some_batches()[1]

    def total(weight):
        config = dataclasses.replace(CONFIG, texture_weight=weight)
        loss, parts = losses(model, batch, config, torch.Generator().manual_seed(0))
        return loss.item(), parts

    plain, parts = total(0.0)
    assert "texture" not in parts
    more, parts = total(2.0)
    assert parts["texture"] > 0
    assert more == pytest.approx(plain + 2 * parts["texture"], rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_under_the_noise_is_the_true_frame_or_on_its_own_path_what_the_model_painted(share):
    """The true frame leaves no trace in what the model is given on its own path."""
    torch.manual_seed(0)
    model, batch = SceneTransformer(**CONFIG.model), some_batches()[1]
    config, noisy = dataclasses.replace(CONFIG, own_path=share), []
    model.register_forward_pre_hook(lambda _, arguments: noisy.append(arguments[0]))
    # Of the drawn times some are below 1, where there is more than noise.
    seed = next(s for s in range(100) if (draw_times((2, 2), torch.Generator().manual_seed(s)) < 1).all())
    for frames in (batch["frames"], 255 - batch["frames"]):
        losses(model, {**batch, "frames": frames}, config, torch.Generator().manual_seed(seed))
    first, second = noisy[len(noisy) // 2 - 1], noisy[-1]
    assert torch.equal(first, second) == (share == 1)
