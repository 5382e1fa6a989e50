"""How much detail frames have, beside the true ones, and what training asks of it."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from test_training import CONFIG, SIZE, some_batches

from ctxmem_env.generator.flow import draw_times
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.training.run import autocast
from ctxmem_env.training.targets import times_enlarged
from ctxmem_env.training.texture import differences, texture_loss
from ctxmem_env.training.train import losses

AS_NEAR = torch.ones(2, 1, 64, 64)


@pytest.fixture
def clean():
    """Two frames: stripes of 8 pixels in the left half, and of 16 in the right one."""
    x = torch.arange(64)
    stripes = torch.where(x < 32, x // 4 % 2, x // 8 % 2).float() - 0.5
    return stripes.expand(2, 3, 64, 64).clone()


def blurred(frames):
    return F.avg_pool2d(F.pad(frames, (2, 2, 2, 2), mode="replicate"), 5, stride=1)


def test_true_frames_are_right_and_blurred_ones_and_noisy_ones_are_not(clean):
    noise = 0.3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    assert texture_loss(clean, clean, AS_NEAR) == 0
    assert texture_loss(blurred(clean), clean, AS_NEAR) > 0.1
    assert texture_loss(clean + noise, clean, AS_NEAR) > 0.1


def test_detail_is_asked_for_where_it_is(clean):
    """Mirrored, the fine stripes are where the coarse ones were: as many differences, elsewhere."""
    mirrored = clean.flip(-1)
    assert differences(mirrored).mean() == pytest.approx(differences(clean).mean().item())
    assert texture_loss(mirrored, clean, AS_NEAR) > 0.1


def test_what_has_come_nearer_is_to_have_more_detail_and_a_plain_wall_still_none(clean):
    plain = torch.full_like(clean, 0.25)
    assert texture_loss(2 * clean, clean, 2 * AS_NEAR) < 1e-6 < texture_loss(clean, clean, 2 * AS_NEAR)
    assert texture_loss(plain, plain, 2 * AS_NEAR) == 0


def test_noise_as_strong_as_fine_detail_does_not_pass_for_it():
    """Of noise and stripes that differ alike from pixel to pixel, less is left of the noise in larger pixels."""
    stripes = (torch.arange(64) // 4 % 2).float().expand(2, 3, 64, 64) - 0.5
    noise = torch.randn(stripes.shape, generator=torch.Generator().manual_seed(0))
    noise = noise * (differences(stripes).mean() / differences(noise).mean())
    assert differences(noise, 4).mean() < 0.5 * differences(stripes, 4).mean()
    assert texture_loss(noise, stripes, AS_NEAR) > 0.1


def test_against_its_gradient_a_blurred_frame_becomes_sharper(clean):
    frames = blurred(clean).requires_grad_()
    (gradient,) = torch.autograd.grad(texture_loss(frames, clean, AS_NEAR), frames)
    sharper = frames - 1e3 * gradient
    assert differences(sharper).mean() > differences(frames).mean()


def test_frames_smaller_than_a_window_are_one():
    frames = torch.rand(1, 3, 16, 16)
    assert texture_loss(0.5 * frames, frames, torch.ones(1, 1, 16, 16)) > 0


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
    # With this seed all drawn times are below 1, where there is more than noise.
    seed = next(s for s in range(100) if (draw_times((2, 2), torch.Generator().manual_seed(s)) < 1).all())
    for frames in (batch["frames"], 255 - batch["frames"]):
        losses(model, {**batch, "frames": frames}, config, torch.Generator().manual_seed(seed))
    first, second = noisy[len(noisy) // 2 - 1], noisy[-1]
    assert torch.equal(first, second) == (share == 1)


def test_only_what_is_larger_than_in_any_remembered_frame_has_come_nearer():
    """Views of a wall that was seen from 4 m: from 5 m, from there, from 3, 2 and 0.5 m."""
    model, distances = SceneTransformer(**CONFIG.model), torch.tensor([5.0, 4.0, 3.0, 2.0, 0.5])
    poses = torch.zeros(1, 5, 6)
    poses[0, :, 0] = 4 - distances
    batch = {"context_depth": torch.full((1, 1, SIZE, SIZE), 4.0), "mask": torch.ones(1, 1, dtype=torch.bool)}
    frames, fov = torch.zeros(1, 1, 3, SIZE, SIZE), torch.tensor([90.0])
    seen = model.look(poses, fov, frames, batch["context_depth"], torch.zeros(1, 1, 6), batch["mask"])
    log_depth = distances.log()[None, :, None, None].expand(1, 5, SIZE, SIZE)
    times = times_enlarged(batch, seen, log_depth)
    for view, expected in enumerate((1.0, 1.0, 4 / 3, 2.0, 2.0)):  # eight times at last, but twice is the most
        torch.testing.assert_close(times[0, view], torch.full((SIZE, SIZE), expected), rtol=1e-3, atol=0)
    # Before the wall no frame shows anything; from 0.5 m that is within a tenth of its depth, and counts as the wall.
    before_the_wall = times_enlarged(batch, seen, log_depth - 1)[:, :4]
    assert (before_the_wall == 1).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_every_weight_learns_also_in_bfloat16_where_the_model_painted_under_the_noise(share):
    torch.manual_seed(0)
    model, batch = SceneTransformer(**CONFIG.model), some_batches()[1]
    config = dataclasses.replace(CONFIG, own_path=share, precision="bfloat16")
    with autocast(config, torch.device("cpu")):
        loss, _ = losses(model, batch, config, torch.Generator().manual_seed(0))
    loss.backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []
