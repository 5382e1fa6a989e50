"""Walks through the Freedoom maps: frames, depth and poses tell of one and the same place."""

import math

import pytest
import torch

from ctxmem_env.camera import cameras_at, pixel_rays, wrap_angle
from ctxmem_env.evaluation.doom import FOV, MAPS, doom_walks
from ctxmem_env.evaluation.metrics import psnr
from ctxmem_env.generator.splat import splat

SEEDS = [2_000_000, 2_000_003]
SIZE, STEPS, TOUR = 64, 20, 8


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("doom")
        patch.chdir(place)
        found = doom_walks(SEEDS, STEPS, TOUR, SIZE, SIZE)
        assert list(place.iterdir()) == []  # nothing is left where it was started
    return found


def test_a_walk_is_a_tour_a_start_and_steps(walks):
    length = TOUR + 1 + STEPS
    assert walks.frames.shape == (2, length, SIZE, SIZE, 3) and walks.frames.dtype == torch.uint8
    assert walks.depth.shape == walks.frames.shape[:-1] and walks.poses.shape == (2, length, 6)
    assert walks.seeded == TOUR + 1 and walks.fov == FOV == pytest.approx(64.01, abs=0.01)
    assert walks.depth.min() > 0.4 and walks.depth.max() < 58
    assert walks.frames.float().std((1, 2, 3, 4)).min() > 10  # neither map is dark or empty
    assert not torch.equal(walks.frames[0], walks.frames[1])


def test_the_tour_looks_all_around_and_the_walk_turns_and_moves(walks):
    yaw = walks.poses[:, : TOUR + 1, 3]
    turns = wrap_angle(yaw.diff(dim=1))[:, :-1]
    assert turns.abs().sub(2 * math.pi / TOUR).abs().max() < 0.01
    assert (walks.poses[:, : TOUR + 1, :2].abs() < 0.05).all()
    steps = walks.poses[:, TOUR:]
    length, turn = steps.diff(dim=1)[..., :2].norm(dim=-1), wrap_angle(steps.diff(dim=1)[..., 3]).abs()
    assert (length.sum(1) > 1).all() and 0.2 < length.max() < 0.35
    assert (turn.sum(1) > 0.3).all() and turn.max() < math.radians(20.1)
    assert (walks.poses[..., 4:] == 0).all()


def test_depth_poses_and_lens_agree(walks):
    """What earlier frames show, thrown into a later view through depth and poses, is what the view shows."""
    for world in range(2):
        now = torch.arange(walks.seeded + 4, walks.seeded + STEPS, 4)
        for view in now.tolist():
            earlier = slice(view - 4, view)
            frames = walks.frames[world, earlier].movedim(-1, -3).float()
            poses = walks.poses[world, [*range(view - 4, view), view]][None]
            context, target = cameras_at(poses, torch.tensor([walks.fov])).split(4, 1)
            mask = torch.ones(1, 4, dtype=torch.bool)
            colours, log_depth, covered = splat(frames[None], walks.depth[None, world, earlier], context, mask, target)
            shown = covered[0, 0, 0] > 0
            assert shown.float().mean() > 0.5
            error = (log_depth[0, 0, 0].exp() / walks.depth[world, view] - 1)[shown].abs()
            assert error.median() < 0.03
            thrown = colours[0, 0].movedim(0, -1).round().to(torch.uint8)
            assert psnr(thrown[shown][None], walks.frames[world, view][shown][None]) > 24


def test_the_floor_lies_as_far_below_the_eyes_as_the_game_has_it(walks):
    rays = pixel_rays(SIZE, SIZE, torch.tensor([walks.fov]))[0, 40:]  # of the lower rows; y points down
    below = walks.depth[0, :TOUR, 40:] * rays[..., 1]  # the first map begins on even ground
    assert below.median().item() == pytest.approx(41 / 32, rel=0.04)


def test_a_walk_is_a_function_of_its_seed(walks):
    again = doom_walks(SEEDS[1:], STEPS, TOUR, SIZE, SIZE)
    assert torch.equal(again.frames[0], walks.frames[1]) and torch.equal(again.poses[0], walks.poses[1])


def test_every_map_is_there_once():
    assert len(set(MAPS)) == len(MAPS) == 68


def test_frames_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match="frames of 32 x 64 pixels; Freedoom is seen in square ones"):
        doom_walks(SEEDS, 2, 0, 32, 64)


def test_without_vizdoom_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"Freedoom needs vizdoom.*pip install 'ctxmem-env\[doom\]', or name other"):
        doom_walks(SEEDS, 2, 0, 64, 64)
