"""Training: batches that depend on the seed alone, a loop that learns, and a run that can be cut off and resumed."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image

from ctxmem_env.camera import motion_between
from ctxmem_env.config import DataConfig, TrainConfig
from ctxmem_env.generator.flow import draw_times
from ctxmem_env.generator.store import read_generator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.scenes import build_scene, render, split_of, stack_scenes
from ctxmem_env.training.checkpoint import load_checkpoint, save_checkpoint
from ctxmem_env.training.data import SceneBatches, batches, corrupt, soften, to_float, to_uint8
from ctxmem_env.training.run import autocast, optimizers, rate
from ctxmem_env.training.targets import magnified
from ctxmem_env.training.train import losses, repaint_context, train
from ctxmem_env.training.validate import validation_batch

SIZE = 16
DATA = DataConfig(scenes_per_batch=2, targets_per_scene=2, num_context=4, walk_length=16, tour=3, workers=0)
# The critic and the repainted contexts begin before the first checkpoint, so that a resumed run needs all of it.
CONFIG = TrainConfig(
    name="test",
    num_steps=24,
    warmup_steps=2,
    self_context=0.5,
    self_context_from=2,
    adversarial_from=3,
    precision="float32",
    validate_every=22,
    validation_scenes=2,
    checkpoint_every=7,
    model={
        "height": SIZE,
        "width": SIZE,
        "patch_size": 4,
        "dim": 32,
        "num_heads": 2,
        "num_layers": 2,
        "num_context_layers": 1,
        "pixel_dim": 8,
    },
    data=DATA,
)


def some_batches(seed=0, **changes):
    return SceneBatches(dataclasses.replace(DATA, **changes), seed, SIZE, SIZE)


def same(batch, other):
    return batch.keys() == other.keys() and all(torch.equal(batch[name], other[name]) for name in batch)


def test_frames_survive_the_way_to_floats_and_back():
    frames = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    floats = to_float(frames)
    assert floats.shape == (1, 3, 16, 16) and floats.min() == -1 and floats.max() == 1
    assert torch.equal(to_uint8(floats), frames)


def test_a_batch_is_a_function_of_seed_and_number_alone():
    dataset = some_batches()
    batch = dataset[3]
    dataset[0]
    torch.manual_seed(123)
    np.random.seed(123)
    assert same(dataset[3], batch) and same(some_batches()[3], batch)
    assert not same(dataset[4], batch) and not same(some_batches(seed=1)[3], batch)


def test_a_worker_renders_the_same_batches_in_the_same_order():
    dataset = some_batches(scenes_per_batch=1)
    expected = [dataset[number] for number in (2, 3, 4)]
    for workers in (0, 1):
        found = list(batches(dataset, range(2, 5), workers))
        assert len(found) == 3 and all(map(same, found, expected))


def test_shapes_of_a_batch_are_those_in_the_docstring():
    batch = some_batches()[0]
    shapes = {name: tuple(value.shape) for name, value in batch.items()}
    assert shapes == {
        "context_frames": (2, 4, SIZE, SIZE, 3),
        "context_depth": (2, 4, SIZE, SIZE),
        "context_poses": (2, 4, 6),
        "mask": (2, 4),
        "overlap": (2, 4),
        "soft": (2,),
        "fov": (2,),
        "poses": (2, 2, 6),
        "frames": (2, 2, SIZE, SIZE, 3),
        "depth": (2, 2, SIZE, SIZE),
    }
    assert all(value.isfinite().all() for value in batch.values())


def plain(**changes):
    """Batches whose context is what `step` would select, whole and clean."""
    clean = {"corrupt": 0.0, "outside": 0.0, "nothing": 0.0, "newest_only": 0.0, "thinned": 0.0}
    return some_batches(**{**clean, **changes})


def walk_of(dataset, number):
    """Poses of the walk behind a batch of one scene, and the index of its first target."""
    rng = np.random.default_rng([dataset.seed, number])
    rng.integers(2**62)  # the seed of the torch generator is drawn first
    seed = int(dataset.scene_seeds[rng.integers(len(dataset.scene_seeds))])
    assert split_of(seed) == "train"
    return (seed, *dataset._walk(build_scene(seed), rng))


def test_context_comes_from_the_past_of_the_walk_and_the_newest_frame_is_the_first():
    dataset = plain(scenes_per_batch=1)
    for number in range(12):
        batch = dataset[number]
        _, poses, first_target = walk_of(dataset, number)
        past, now = poses[:first_target].float(), poses[first_target].float()
        assert torch.equal(batch["poses"][0, 0], now)
        assert torch.equal(batch["context_poses"][0, 0], past[-1]) and batch["mask"][0, 0]
        for pose, used in zip(batch["context_poses"][0], batch["mask"][0], strict=True):
            assert not used or (past == pose).all(1).any()
        # The first target is one action away from the newest frame, give or take the shift of both.
        motion = motion_between(past[-1], now)
        assert motion[:2].norm() < 0.4 + 4 * 0.06 and motion[2:].abs().max() < 0.6


def test_frames_and_depth_of_a_batch_are_those_of_the_scene():
    dataset = plain(scenes_per_batch=1)
    batch = dataset[5]
    seed, _, _ = walk_of(dataset, 5)
    poses = torch.cat([batch["context_poses"], batch["poses"]], 1)
    frames, depth = render(stack_scenes([build_scene(seed)]), poses, batch["fov"], SIZE, SIZE)
    assert torch.equal(torch.cat([batch["context_frames"], batch["frames"]], 1), frames)
    torch.testing.assert_close(torch.cat([batch["context_depth"], batch["depth"]], 1), depth)


def test_the_shares_of_dropped_contexts_are_those_of_the_config():
    assert not plain(nothing=1.0)[0]["mask"].any()
    newest = plain(newest_only=1.0)[0]["mask"]
    assert newest[:, 0].all() and not newest[:, 1:].any()
    whole, thinned = (plain(thinned=share, scenes_per_batch=8)[0]["mask"] for share in (0.0, 1.0))
    assert thinned[:, 0].all() and (thinned <= whole).all() and thinned.sum() < whole.sum()


def test_a_frame_from_outside_has_no_depth_and_is_asked_for_at_its_own_pose():
    batch = plain(outside=1.0)[0]
    assert (batch["context_depth"][:, 0] == 0).all() and (batch["context_depth"][:, 1:] > 0).all()
    assert torch.equal(batch["poses"][:, -1], batch["context_poses"][:, 0])
    assert torch.equal(batch["frames"][:, -1], batch["context_frames"][:, 0])


def test_errors_are_put_on_the_asked_share_of_contexts():
    clean, wrong = plain()[0], plain(corrupt=1.0)[0]
    for name in ("context_frames", "context_depth"):
        assert not torch.equal(clean[name], wrong[name])
    for name in ("frames", "depth", "poses"):
        assert torch.equal(clean[name], wrong[name])
    frames, depth = clean["context_frames"].repeat(50, 1, 1, 1, 1), clean["context_depth"].repeat(50, 1, 1, 1)
    _, noisy = corrupt(frames, depth, 0.3, torch.Generator().manual_seed(0))
    share = (noisy != depth).flatten(1).any(1).float().mean()
    assert 0.15 < share < 0.45 and (noisy > 0).all()


def test_validation_batches_come_from_their_own_split_and_are_clean():
    batch = validation_batch(CONFIG, SIZE, SIZE)
    assert batch["poses"].shape == (2, 1, 6) and batch["mask"][:, 0].all()
    training = some_batches()[0]
    assert not torch.equal(batch["frames"][:, 0], training["frames"][:, 0])
    assert {split_of(int(seed)) for seed in SceneBatches(DATA, 0, SIZE, SIZE, split="validation").scene_seeds[:5]} == {
        "validation"
    }


def test_the_rate_warms_up_stays_and_falls_to_zero():
    config = dataclasses.replace(CONFIG, num_steps=100, warmup_steps=10, decay_fraction=0.3)
    rates = [rate(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9:71] == [1.0] * 62 and rates[100] == 0
    assert all(a < b for a, b in itertools.pairwise(rates[:10]))
    assert all(a > b for a, b in itertools.pairwise(rates[70:]))


def test_every_parameter_is_in_the_hands_of_one_optimiser():
    model = SceneTransformer(**CONFIG.model)
    held = [
        id(p) for optimizer in optimizers(model, CONFIG) for group in optimizer.param_groups for p in group["params"]
    ]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


def test_the_loss_falls_on_a_batch_that_is_repeated():
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, num_steps=40)
    model = SceneTransformer(**config.model)
    optims, batch, found = optimizers(model, config), plain()[0], []
    for _ in range(40):
        loss, parts = losses(model, batch, config, torch.Generator().manual_seed(0))
        assert set(parts) == {"colour", "own", "depth"}
        loss.backward()
        for optimizer in optims:
            optimizer.step()
            optimizer.zero_grad()
        found.append(loss.item())
    assert found[-1] < 0.6 * found[0]


def records(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """The folder of a run that nothing interrupted, and what it returned."""
    out = tmp_path_factory.mktemp("whole")
    return out, train(CONFIG, out, quiet=True)


def test_a_run_leaves_a_checkpoint_a_log_a_sheet_and_a_generator(whole_run):
    out, figures = whole_run
    assert figures["steps"] == 24 and {"psnr_2_steps", "psnr_copy_best", "depth_median_error"} <= figures.keys()
    assert [line["step"] for line in records(out)] == [20, 22, 24, 24]
    with Image.open(out / "sheet_000024.png") as sheet:  # two columns of six rows, enlarged twice
        assert sheet.size == (2 * 2 * SIZE, 6 * 2 * SIZE)
    tensors, facts = load_checkpoint(out / "latest.safetensors")
    assert facts["step"] == 24 and facts["config"]["data"]["num_context"] == 4
    saved = read_generator(out / "generator").transformer.state_dict()
    for name, value in saved.items():
        assert torch.equal(value, tensors[f"ema.{name}"].half().float())
    moved = [name for name in saved if not torch.equal(tensors[f"ema.{name}"], tensors[f"model.{name}"])]
    assert len(moved) > len(saved) / 2  # the averaged weights are not the last ones


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(whole_run, tmp_path):
    # A folder where the sheet of step 22 belongs: the run fails there, after step 20 was logged and 21 was saved.
    (tmp_path / "sheet_000022.png").mkdir()
    with pytest.raises(IsADirectoryError):
        train(CONFIG, tmp_path, quiet=True)
    assert load_checkpoint(tmp_path / "latest.safetensors")[1]["step"] == 21
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 22, "norm": 0.')  # and the log ends in the middle of a line
    (tmp_path / "sheet_000022.png").rmdir()
    figures = train(CONFIG, tmp_path, quiet=True)

    out, expected = whole_run
    assert {**figures, "seconds": 0} == {**expected, "seconds": 0}
    assert records(tmp_path) == records(out)
    tensors, _ = load_checkpoint(tmp_path / "latest.safetensors")
    whole, _ = load_checkpoint(out / "latest.safetensors")
    assert tensors.keys() == whole.keys()
    different = [name for name in whole if not torch.equal(tensors[name], whole[name])]
    assert different == []


def test_a_finished_run_is_left_as_it_is(whole_run):
    out, _ = whole_run
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert train(CONFIG, out, quiet=True)["steps"] == 24
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_truncated_checkpoint_is_refused_and_left_in_place(whole_run, tmp_path, keep):
    data = (whole_run[0] / "latest.safetensors").read_bytes()[:keep]
    (tmp_path / "latest.safetensors").write_bytes(data)
    message = r"checkpoint: .*latest\.safetensors is truncated or not a training checkpoint.*remove it to start over"
    with pytest.raises(ValueError, match=message):
        train(CONFIG, tmp_path, quiet=True)
    assert (tmp_path / "latest.safetensors").read_bytes() == data


def test_weights_that_are_no_checkpoint_are_refused(whole_run, tmp_path):
    weights = whole_run[0] / "generator" / "transformer" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(ValueError, match="not a training checkpoint"):
        load_checkpoint(weights)


def test_a_checkpoint_of_another_model_is_refused_and_left_in_place(whole_run):
    out, _ = whole_run
    before = (out / "latest.safetensors").read_bytes()
    other = dataclasses.replace(CONFIG, model={**CONFIG.model, "pixel_dim": 16})
    with pytest.raises(
        ValueError, match=r"checkpoint: .* holds a model of .*'pixel_dim': 8.* asks for .*'pixel_dim': 16"
    ):
        train(other, out, quiet=True)
    assert (out / "latest.safetensors").read_bytes() == before


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "latest.safetensors"
    save_checkpoint(path, {"a": torch.arange(3.0)}, {"step": 1})
    with pytest.raises(TypeError):
        save_checkpoint(path, {"a": torch.zeros(3)}, {"step": object()})
    tensors, facts = load_checkpoint(path)
    assert torch.equal(tensors["a"], torch.arange(3.0)) and facts == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_begins_with_the_weights_of_init_and_refuses_another_shape(whole_run, tmp_path):
    run, _ = whole_run
    still = dataclasses.replace(CONFIG, init=str(run / "generator"), num_steps=1, learning_rate=0.0)
    train(dataclasses.replace(still, adam_learning_rate=0.0), tmp_path / "on", quiet=True)
    first, init = (read_generator(path / "generator").transformer.state_dict() for path in (tmp_path / "on", run))
    assert all(torch.equal(value, init[name]) for name, value in first.items())
    fewer = dataclasses.replace(still, adam_learning_rate=0.0, model={**CONFIG.model, "num_attended": 1})
    train(fewer, tmp_path / "fewer", quiet=True)
    assert read_generator(tmp_path / "fewer" / "generator").num_attended == 1
    kept = dataclasses.replace(
        fewer, init_layers={"context_blocks": []}, model={**CONFIG.model, "num_context_layers": 0}
    )
    train(kept, tmp_path / "kept", quiet=True)
    weights = read_generator(tmp_path / "kept" / "generator").transformer.state_dict()
    assert weights.keys() < init.keys() and all(torch.equal(value, init[name]) for name, value in weights.items())
    other = dataclasses.replace(still, model={**CONFIG.model, "dim": 64})
    with pytest.raises(ValueError, match=r"init=.* is a model with dim=32, the config asks for 64; give both"):
        train(other, tmp_path / "other", quiet=True)
    assert not list((tmp_path / "other").glob("*.safetensors"))


def test_where_nothing_is_remembered_the_example_stands_for_the_truth():
    torch.manual_seed(0)
    model = SceneTransformer(**CONFIG.model)
    batch = some_batches(newest_only=1.0, nothing=0.0, outside=0.0, corrupt=0.0)[1]
    batch["poses"][..., 3] += np.pi  # all views look away from what is remembered
    # With nothing but noise in the input the truth can be known from the loss alone.
    seed = next(s for s in range(100) if (draw_times((2, 2), torch.Generator().manual_seed(s)) == 1).all())

    def colour(**changes):
        config = dataclasses.replace(CONFIG, example_weight=1.0)
        parts = losses(model, {**batch, **changes}, config, torch.Generator().manual_seed(seed))[1]
        return parts["colour"], parts["depth"]

    assert colour() == colour(frames=255 - batch["frames"], depth=batch["depth"] + 1)
    batch["poses"][..., 3] -= np.pi
    assert colour() != colour(frames=255 - batch["frames"], depth=batch["depth"] + 1)


def test_close_ups_go_straight_up_to_what_stands_before_the_camera():
    """Views ever further ahead, each within 20 degrees of the one way that they share, in free space."""
    batch = some_batches(close_ups=1.0, outside=0.0, targets_per_scene=4)[0]
    for start, poses in zip(batch["context_poses"][:, 0], batch["poses"], strict=True):
        gone = (poses[:, :2] - start[:2]).norm(dim=1)
        assert (gone.diff() > 0).all() and gone[-1] < 6
        assert torch.equal(poses[:, [2, 4, 5]], start[[2, 4, 5]].expand(4, 3))
        way = torch.atan2(*(poses[-1] - start)[[1, 0]])
        aside = torch.remainder(torch.cat([poses[:, 3], start[3:4]]) - way + np.pi, 2 * np.pi) - np.pi
        assert aside.abs().rad2deg().max() <= 20.01
    # No camera stands in a wall: it would see nothing but what is right before it.
    assert batch["depth"].amin((2, 3)).min() > 0.05


def test_soft_contexts_are_soft_and_nothing_else_of_a_batch_is():
    def sharpness(frames):
        return frames.float().diff(dim=-2).abs().mean()

    sharp, soft = plain()[2], plain(soft=1.0)[2]
    assert soft["soft"].all() and not sharp["soft"].any()
    assert sharpness(soft["context_frames"]) < 0.8 * sharpness(sharp["context_frames"])
    assert (soft["context_frames"].float() - sharp["context_frames"].float()).mean().abs() < 0.5
    others = sharp.keys() - {"context_frames", "soft"}
    assert same({name: soft[name] for name in others}, {name: sharp[name] for name in others})
    factors = np.array([1.0, 3.0])
    softened = soften(sharp["context_frames"], factors)
    assert torch.equal(softened[0], sharp["context_frames"][0])
    assert not torch.equal(softened[1], sharp["context_frames"][1])


def test_what_is_magnified_was_seen_from_further_away_only():
    batch = some_batches(close_ups=1.0, outside=0.0, corrupt=0.0, nothing=0.0)[1]
    batch["context_poses"][:, 1:] = batch["context_poses"][:, :1]
    batch["mask"][:, 1:] = False
    log_ratio = {}
    for back in (0.0, 1.0, 3.0):
        # The one remembered view and a new one, of a wall that is two metres before the new one.
        pose = torch.tensor([0.0, 0, 1.5, 0, 0, 0]).expand(2, 1, 6)
        batch["poses"], batch["depth"] = pose, torch.full((2, 1, SIZE, SIZE), 2.0)
        batch["context_poses"] = pose.expand(2, 4, 6) - torch.tensor([back, 0, 0, 0, 0, 0])
        batch["context_depth"] = torch.full((2, 4, SIZE, SIZE), 2.0 + back)
        log_ratio[back] = magnified(batch).float().mean().item()
    assert log_ratio == {0.0: 0.0, 1.0: 0.0, 3.0: 1.0}
    batch["mask"][:] = False
    assert not magnified(batch).any()  # nor is what was never seen


def test_matrices_are_multiplied_in_what_is_asked_for_or_in_what_is_fast(monkeypatch):
    cpu = torch.device("cpu")
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr("ctxmem_env.training.run.fast_dtype", lambda device, dtype=dtype: dtype)
        for asked, expected in (("auto", dtype), ("float32", torch.float32), ("bfloat16", torch.bfloat16)):
            with autocast(dataclasses.replace(CONFIG, precision=asked), cpu):
                assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


@pytest.mark.parametrize(
    ("changes", "device", "message"),
    [
        ({"model": {"heigth": 16}}, "cpu", r"config: model='heigth' is unknown\. Did you mean 'height'\?"),
        ({}, "tpu", r"device='tpu' is not a torch device"),
    ],
)
def test_a_run_that_cannot_begin_writes_nothing(tmp_path, changes, device, message):
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(CONFIG, **changes), tmp_path / "run", device=device, quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_later_generations_are_copies_of_copies():
    model = SceneTransformer(**CONFIG.model)
    with torch.no_grad():
        model.pixel_out.bias[9] = -4.0  # it would rather fetch than paint
    batch = some_batches(outside=0.0, nothing=0.0)[0]
    true = batch["context_frames"].clone()
    made = []
    for generations in (1, 2, 3):
        copied = {name: value.clone() for name, value in batch.items()}
        repaint_context(model, copied, torch.Generator().manual_seed(0), generations)
        made.append(copied["context_frames"])
    first, second, third = made
    assert (first[:, 1::2] == true[:, 1::2]).all() and (first[:, 0::2] != true[:, 0::2]).any()
    assert (second[:, 0::2] == first[:, 0::2]).all() and (second[:, 1::2] != true[:, 1::2]).any()
    assert (third[:, 1::2] == second[:, 1::2]).all() and (third[:, 0::2] != second[:, 0::2]).any()
