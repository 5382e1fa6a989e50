"""A network for larger frames that begins as a smaller one: tokens and pixels are what they were."""

import pytest
import torch

from ctxmem_env.generator.enlarge import enlarge, patch_ratio
from ctxmem_env.generator.transformer import SceneTransformer

SMALL = {"height": 16, "width": 24, "patch_size": 4, "dim": 32, "num_heads": 2, "num_layers": 2}
LARGE = SMALL | {"height": 32, "width": 48, "patch_size": 8}


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    small, large = SceneTransformer(**SMALL), SceneTransformer(**LARGE)
    large.load_state_dict(enlarge(small.state_dict(), SMALL["patch_size"], 2))
    return small, large


def test_a_frame_becomes_the_tokens_of_its_reduction(pair):
    small, large = pair
    frames = torch.randn(3, small.target_channels, 32, 48)
    reduced = torch.nn.functional.avg_pool2d(frames, 2)
    tokens = (network.embed_target(network._patches(x)) for network, x in ((large, frames), (small, reduced)))
    torch.testing.assert_close(*tokens, atol=1e-5, rtol=1e-5)
    context = torch.randn(3, 7, 32, 48)
    reduced = torch.nn.functional.avg_pool2d(context, 2)
    tokens = (network.embed_context(network._patches(x)) for network, x in ((large, context), (small, reduced)))
    torch.testing.assert_close(*tokens, atol=1e-5, rtol=1e-5)


def test_tokens_become_the_pixels_of_the_smaller_frame_each_twice_as_long(pair):
    tokens = torch.randn(3, 24, 32)
    few, many = (
        network._pixels(network.to_pixels(tokens)).flatten(3, 4).flatten(1, 2).movedim(3, 1) for network in pair
    )
    torch.testing.assert_close(many, few.repeat_interleave(2, 2).repeat_interleave(2, 3), atol=1e-6, rtol=1e-6)


def test_a_ratio_of_one_changes_nothing(pair):
    weights = pair[0].state_dict()
    same = enlarge(weights, SMALL["patch_size"], 1)
    assert weights.keys() == same.keys() and all(torch.equal(weights[name], same[name]) for name in weights)


@pytest.mark.parametrize(
    ("changes", "ratio"),
    [
        ({}, 2),
        ({"height": 16, "width": 24, "patch_size": 4}, 1),
        ({"width": 24}, None),
        ({"dim": 64}, None),
        ({"height": 24, "width": 36, "patch_size": 6}, None),
        ({"height": 8, "width": 12, "patch_size": 2}, None),
    ],
)
def test_only_whole_ratios_of_otherwise_equal_networks_fit(changes, ratio):
    assert patch_ratio(SMALL, LARGE | changes) == ratio
