"""Walks over the model's own frames: what is remembered is painted, what is asked for is true, and runs go on."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch
from test_training import CONFIG, SIZE, records

from ctxmem_env.camera import move
from ctxmem_env.generator.pipeline import SceneGenerator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.scenes import render
from ctxmem_env.training import ranks
from ctxmem_env.training.checkpoint import load_checkpoint
from ctxmem_env.training.own_walks import OwnWalks
from ctxmem_env.training.train import losses, train

WALKED = dataclasses.replace(
    CONFIG, num_steps=12, own_walk_length=9, own_walk_session=6, checkpoint_every=6, validate_every=8
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return SceneTransformer(**CONFIG.model)


def walks(model, **changes):
    return OwnWalks(dataclasses.replace(WALKED, **changes), SceneGenerator(model), nullcontext())


def test_every_other_step_learns_from_own_walks_and_none_where_they_have_no_length(model):
    assert [walks(model).serve(step) for step in range(4)] == [False, True, False, True]
    assert not any(walks(model, own_walk_length=0).serve(step) for step in range(4))


def test_the_context_is_what_the_model_painted_on_the_way_and_the_targets_are_true(model):
    own = walks(model)
    for step in (1, 3, 5):
        batch = own.batch(step)
        assert own.now == {1: 3, 3: 6, 5: 9}[step]  # nine steps in a session of six
        true, depth = render(own.scenes, batch["poses"], own.fov, SIZE, SIZE)
        assert torch.equal(batch["frames"], true) and torch.equal(batch["depth"], depth)
        torch.testing.assert_close(own.world.poses, batch["poses"][:, 0])
        newest, _ = render(own.scenes, batch["context_poses"][:, :1], own.fov, SIZE, SIZE)
        apart = (batch["context_frames"][:, 0].int() - newest[:, 0].int()).abs().float().mean()
        assert apart > 20  # an untrained model paints nothing like the scene


def test_a_session_is_a_function_of_the_seed_and_its_number(model):
    batch, other = walks(model).batch(7), walks(model)
    other.batch(1)  # of the session before
    again = other.batch(7)
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    assert not torch.equal(batch["frames"], walks(model).batch(1)["frames"])
    assert not torch.equal(batch["frames"], walks(model, seed=1).batch(7)["frames"])


def test_known_is_what_the_true_frames_show(model):
    own = walks(model)
    own.batch(1)
    own.poses[:] = own.opening[:, -1:]  # where the last true frame was taken, and then about face
    own.now = 0
    assert own.batch(3)["known"].float().mean() > 0.97
    own.opening[:] = own.opening[:, -1:]
    own.given[:] = True
    own.poses[:] = move(own.opening[:, -1], torch.tensor([0.0, 0.0, torch.pi, 0.0]))[:, None]
    own.now = 0
    assert not own.batch(5)["known"].any()


def test_scenes_of_a_rank_are_its_share_of_those_of_one_process(model, monkeypatch):
    def of(rank, size):
        monkeypatch.setattr(ranks, "rank", lambda: rank)
        monkeypatch.setattr(ranks, "size", lambda: size)
        return walks(model).batch(1)["frames"]

    assert torch.equal(of(0, 1), torch.cat([of(0, 2), of(1, 2)]))


def test_what_was_never_shown_weighs_as_little_as_an_example(model):
    batch = walks(model).batch(1)
    config = dataclasses.replace(WALKED, example_weight=0.0)

    def colour(known, frames):
        changed = {**batch, "known": torch.full_like(batch["known"], known), "frames": frames}
        return losses(model, changed, config, torch.Generator().manual_seed(0))[1]["colour"]

    assert colour(False, batch["frames"]) == colour(False, 255 - batch["frames"]) == 0
    assert colour(True, batch["frames"]) != colour(True, 255 - batch["frames"])


def test_the_texture_of_what_was_never_shown_is_to_be_that_of_what_was_made_up_and_stronger_nearby(model, monkeypatch):
    batch = walks(model).batch(1)
    # On its own path the model sees nothing of the truth.
    config = dataclasses.replace(WALKED, texture_weight=1.0, own_path=1.0)

    def texture(known, frames):
        changed = {**batch, "known": torch.full_like(batch["known"], known), "frames": frames}
        return losses(model, changed, config, torch.Generator().manual_seed(0))[1]["texture"]

    other = torch.rand(batch["frames"].shape, generator=torch.Generator().manual_seed(1)).mul(255).byte()
    made_up, known = texture(False, batch["frames"]), texture(True, batch["frames"])
    assert made_up == texture(False, other)
    assert known != texture(True, other)
    monkeypatch.setattr("ctxmem_env.training.targets._ENLARGED", 1.0)
    assert made_up != texture(False, batch["frames"])
    assert known == texture(True, batch["frames"])


def test_texture_is_asked_of_walks_without_a_look_up():
    torch.manual_seed(0)
    model = SceneTransformer(**CONFIG.model, lookup=False)
    config = dataclasses.replace(WALKED, texture_weight=1.0)
    parts = losses(model, walks(model).batch(1), config, torch.Generator().manual_seed(0))[1]
    assert parts["texture"] > 0


def test_a_run_with_own_walks_that_was_cut_off_equals_one_that_was_not(tmp_path):
    train(WALKED, tmp_path / "whole", quiet=True)
    (tmp_path / "cut" / "sheet_000008.png").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        train(WALKED, tmp_path / "cut", quiet=True)
    assert load_checkpoint(tmp_path / "cut" / "latest.safetensors")[1]["step"] == 6
    (tmp_path / "cut" / "sheet_000008.png").rmdir()
    train(WALKED, tmp_path / "cut", quiet=True)
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
    whole, cut = (load_checkpoint(tmp_path / name / "latest.safetensors")[0] for name in ("whole", "cut"))
    assert [name for name in whole if not torch.equal(cut[name], whole[name])] == []


def test_checkpoints_in_the_middle_of_a_walk_are_refused():
    message = r"checkpoint_every=7 is not a multiple of own_walk_session=6; walks .* are not kept"
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(WALKED, checkpoint_every=7)


def test_walks_are_long_enough_for_every_step_that_learns_from_them(model):
    shortest = walks(model, own_walk_length=3)
    for step in (1, 3, 5):
        shortest.batch(step)
    assert shortest.now == 3
    message = "own_walk_length=2 is shorter than the 3 training steps .* own_walk_session=6.* lower the session"
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(WALKED, own_walk_length=2)
