"""What no frame shows at all: beyond the borders of all remembered frames, and in wide holes within them."""

import math

import pytest
import torch

from ctxmem_env.generator.extend import Hints, beyond_memory
from ctxmem_env.generator.transformer import SceneTransformer

SIZE = 80  # a hole is wide from 9 pixels on


def hints(covered: torch.Tensor, moved: float = 0.0) -> Hints:
    """Those of one view, of which only cover (H, W) and the way beyond all borders are read."""
    covered = covered[None, None, None]
    nothing = torch.zeros_like(covered)
    return Hints(nothing, nothing, covered, nothing, nothing, torch.full_like(covered, moved))


def hole(rows: slice, columns: slice) -> torch.Tensor:
    covered = torch.ones(SIZE, SIZE)
    covered[rows, columns] = 0
    return covered


@pytest.mark.parametrize("across", [9, 20, 80])
def test_a_wide_hole_within_the_borders_is_beyond_memory_but_for_its_rim(across):
    covered = hole(slice(0, across), slice(5, 5 + across))
    inside = torch.zeros_like(covered)
    inside[: across - 1 if across < SIZE else SIZE, 6 : 4 + across if 5 + across < SIZE else SIZE] = 1
    assert torch.equal(beyond_memory(hints(covered))[0, 0, 0], inside > 0)


@pytest.mark.parametrize("hidden", [hole(slice(None), slice(10, 18)), hole(slice(3, 9), slice(None))])
def test_a_gap_beside_an_edge_is_not(hidden):
    assert not beyond_memory(hints(hidden)).any()


def test_what_is_remembered_never_is_and_what_lies_beyond_the_borders_always():
    gap = hole(slice(None), slice(10, 12))
    assert not beyond_memory(hints(torch.ones(SIZE, SIZE), moved=0.5)).any()
    assert torch.equal(beyond_memory(hints(gap, moved=0.5))[0, 0, 0], gap == 0)


def test_without_any_remembered_frame_there_is_no_example_to_follow():
    assert not beyond_memory(hints(torch.zeros(SIZE, SIZE), moved=math.pi)).any()


def test_behind_a_wall_that_was_passed_the_example_is_taken_as_it_is():
    """A network that follows no example of its own will paints it there all the same."""
    torch.manual_seed(0)
    model = SceneTransformer(height=16, width=16, patch_size=4, dim=32, num_heads=2, num_layers=2, pixel_dim=8)
    model = model.requires_grad_(False).eval()
    model.pixel_out.bias[10] = -20.0
    wall = torch.rand(1, 1, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    pose = torch.tensor([[[0.0, 0, 1.5, 0, 0, 0]]])
    passed = pose + torch.tensor([3.0, 0, 0, 0, 0, 0])

    def own(pose: torch.Tensor) -> torch.Tensor:
        memory = torch.tensor([90.0]), wall, torch.full((1, 1, 16, 16), 2.0), torch.zeros(1, 1, 6), torch.ones(1, 1) > 0
        return model(torch.zeros(1, 1, 3, 16, 16), torch.ones(1, 1), pose, *memory).own

    # Seen from the same place with the same heading, the wall in each direction is what the frame holds there.
    torch.testing.assert_close(own(passed), wall, atol=1e-5, rtol=0)
    assert (own(pose) - wall).abs().mean() > 0.3
