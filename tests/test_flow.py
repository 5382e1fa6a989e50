"""Flow matching: the path from noise to frame, and the sampler that walks along it."""

import pytest
import torch

from ctxmem_env.generator.flow import add_noise, draw_times, loss_weight, sample, times

SHAPE = (2, 3, 3, 4, 4)  # B, S, 3, H, W


def draw(seed):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("num_steps", "last"), [(1, 1), (2, 1 / 2), (3, 1 / 3), (5, 1 / 5), (6, 1 / 5), (20, 1 / 5)])
def test_the_sampler_stands_at_evenly_spaced_times_from_noise_on_where_the_network_has_learned(num_steps, last):
    visited = []

    def denoise(noisy, time):
        assert time.shape == SHAPE[:2] and (time == time[0, 0]).all()
        visited.append(time[0, 0].item())
        return (torch.zeros_like(noisy),)

    sample(denoise, draw(0), num_steps)
    assert visited == pytest.approx(torch.linspace(1, last, num_steps).tolist())
    assert draw_times((10_000,), torch.Generator().manual_seed(0)).min() <= last + 1e-3
    assert times(num_steps).tolist() == pytest.approx([*visited, 0.0])


@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_a_denoiser_that_knows_the_frame_is_on_the_straight_path_and_arrives(num_steps):
    clean, noise = draw(0), draw(1)

    def oracle(noisy, time):
        torch.testing.assert_close(noisy, add_noise(clean, time, noise), atol=1e-5, rtol=1e-5)
        return clean, "what else the network says"

    predictions = sample(oracle, noise, num_steps)
    assert len(predictions) == num_steps
    frames, other = predictions[-1]
    assert torch.equal(frames, clean) and other == "what else the network says"


def test_every_prediction_is_returned_the_last_one_last():
    predictions = [torch.full(SHAPE, value) for value in (3.0, 1.0, 2.0)]
    left = list(predictions)
    made = sample(lambda noisy, time: (left.pop(0),), draw(0), 3)
    assert len(made) == 3 and all(one is prediction for (one,), prediction in zip(made, predictions, strict=True))


@pytest.mark.parametrize("num_steps", [0, -2])
def test_fewer_than_one_step_is_refused(num_steps):
    with pytest.raises(ValueError, match=f"num_steps must be at least 1, got {num_steps}"):
        sample(lambda noisy, time: (noisy,), draw(0), num_steps)


def test_noise_is_added_for_each_view_at_its_own_time():
    clean, noise = draw(0), draw(1)
    time = torch.tensor([[0.0, 1.0, 0.5], [0.25, 0.0, 1.0]])
    noisy = add_noise(clean, time, noise)
    assert torch.equal(noisy[0, 0], clean[0, 0]) and torch.equal(noisy[1, 1], clean[1, 1])
    assert torch.equal(noisy[0, 1], noise[0, 1]) and torch.equal(noisy[1, 2], noise[1, 2])
    torch.testing.assert_close(noisy[0, 2], (clean[0, 2] + noise[0, 2]) / 2)
    torch.testing.assert_close(noisy[1, 0], 0.75 * clean[1, 0] + 0.25 * noise[1, 0])


def test_training_visits_the_start_of_every_frame_and_all_noise_that_a_few_steps_meet():
    drawn = draw_times((200, 50), torch.Generator().manual_seed(0))
    at_noise = drawn == 1
    assert 0.3 < at_noise.float().mean() < 0.8
    others = drawn[~at_noise]
    assert others.min() > 0.01 and others.max() > 0.99
    # Four steps, the most that anyone takes, stand at 0.75, 0.5 and 0.25: each is visited as often as the others.
    visits = torch.stack([((others - t).abs() < 0.04).float().mean() for t in (0.25, 0.5, 0.75)])
    assert visits.min() > 0.07 and visits.max() < 1.2 * visits.min()
    assert torch.equal(drawn, draw_times((200, 50), torch.Generator().manual_seed(0)))


def test_the_weight_is_one_at_noise_and_bounded_near_the_frame():
    weight = loss_weight(torch.tensor([1.0, 0.5, 0.1, 0.0]))
    torch.testing.assert_close(weight, torch.tensor([1.0, 2.0, 4.0, 4.0]))
