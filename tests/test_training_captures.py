"""Training on captures: batches from folders, pictures that are held back, and a run that can be resumed."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch
from capture_folders import level_path, minecraft, path, pictures, realestate, same_poses, views, write_film
from PIL import Image
from test_training import CONFIG, DATA, SIZE, records

from ctxmem_env.camera import to_unreal
from ctxmem_env.captures import open_capture, view_frames
from ctxmem_env.captures.write import write_nerfstudio, write_published
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.scenes import build_scene, random_walk
from ctxmem_env.training.captures import CaptureBatches, MixedBatches, estimate_context, training_batches
from ctxmem_env.training.checkpoint import load_checkpoint
from ctxmem_env.training.data import SceneBatches, batches
from ctxmem_env.training.train import losses, train
from ctxmem_env.training.validate import validate_all, validation_batches

COUNT = 30


def shades(n=COUNT):
    """Pictures that differ in brightness alone, so that each tells its number."""
    return np.repeat(8 * np.arange(n), SIZE * SIZE * 3).reshape(n, SIZE, SIZE, 3).astype(np.uint8)


def number_of(frames):
    return (frames.float().mean((-3, -2, -1)) / 8).round().long()


def walk_poses(n=COUNT):
    return random_walk(build_scene(3), n, np.random.default_rng(0)).numpy()


@pytest.fixture
def capture(tmp_path):
    """Without depth."""
    return write_published(tmp_path / "published", "Scene_0", views(shades()), walk_poses())


@pytest.fixture
def with_depth(tmp_path):
    return write_nerfstudio(tmp_path / "nerfstudio", views(shades(), 2.0), walk_poses(), 80.0)


def data_of(*folders, **changes):
    clean = {"corrupt": 0.0, "outside": 0.0, "nothing": 0.0, "newest_only": 0.0, "thinned": 0.0, "captured": 1.0}
    return dataclasses.replace(DATA, captures=[str(folder) for folder in folders], **clean | changes)


def some_batches(*folders, seed=0, split="train", mine=slice(None), **changes):
    return CaptureBatches(data_of(*folders, **changes), seed, SIZE, SIZE, split, mine)


def same(batch, other):
    return batch.keys() == other.keys() and all(torch.equal(batch[name], other[name]) for name in batch)


def test_a_batch_of_captures_is_a_function_of_seed_and_number_alone_in_a_worker_too(capture, with_depth):
    dataset = some_batches(capture, with_depth)
    expected = [dataset[number] for number in (2, 3)]
    torch.manual_seed(123)
    assert same(dataset[2], expected[0]) and not same(dataset[3], expected[0])
    assert not same(some_batches(capture, with_depth, seed=1)[2], expected[0])
    assert all(map(same, batches(pickle.loads(pickle.dumps(dataset)), (2, 3), 0), expected))  # as a worker gets it


def test_a_batch_of_captures_is_shaped_as_one_of_scenes(capture):
    batch, of_scenes = some_batches(capture)[0], SceneBatches(DATA, 0, SIZE, SIZE)[0]
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == {
        name: (value.shape, value.dtype) for name, value in of_scenes.items()
    }


def test_frames_depth_and_poses_belong_together_and_depth_is_0_where_it_is_unknown(capture, with_depth):
    for folder, depth in ((capture, 0.0), (with_depth, 2.0)):
        poses = open_capture(folder).poses
        for number in range(6):
            batch = some_batches(folder)[number]
            for part in ("context_", ""):
                frames, found = batch[f"{part}frames"], batch[f"{part}poses"]
                same_poses(found.flatten(0, 1), poses[number_of(frames).flatten()], atol=1e-4)
                assert (batch[f"{part}depth"] == depth).all()


def test_context_comes_before_the_first_target_and_targets_from_what_is_trained_on(capture):
    firsts, context_sizes = set(), set()
    for number in range(60):
        batch = some_batches(capture)[number]
        context, targets = number_of(batch["context_frames"]), number_of(batch["frames"])
        used = context.where(batch["mask"], -1)
        assert (used.amax(1) < targets[:, 0]).all() and (used[:, 0] == used.amax(1)).all()
        assert (targets[:, 1:] >= targets[:, :-1]).all() and targets.max() < COUNT - COUNT // 10
        firsts |= set(targets[:, 0].tolist())
        context_sizes |= set(batch["mask"].sum(1).tolist())
    assert len(firsts) > 15 and len(context_sizes) > 1


def test_contexts_of_captures_are_chosen_softened_and_compressed_as_those_of_scenes_are(capture):
    newest, packed, soft = False, False, False
    for number in range(6):
        recent = some_batches(capture, retrieval="recent")[number]
        used = number_of(recent["context_frames"]).where(recent["mask"], -1)
        assert (used.diff(dim=1) <= 0).all()  # the newest first
        newest |= not torch.equal(used, number_of(some_batches(capture)[number]["context_frames"]))
        whole, squeezed = (
            some_batches(capture, retrieval="recent", corrupt=1.0, history=history)[number]
            for history in ("whole", "packed")
        )
        packed |= not torch.equal(whole["context_frames"], squeezed["context_frames"])
        assert torch.equal(whole["frames"], squeezed["frames"])
        soft |= bool(some_batches(capture, soft=0.5)[number]["soft"].any())
        assert not whole["soft"].any()
    assert newest and packed and soft


def test_the_last_tenth_of_a_capture_is_for_validation_alone(capture):
    batch = some_batches(capture, split="validation", targets_per_scene=1, scenes_per_batch=24)[0]
    targets = number_of(batch["frames"])
    assert set(targets.flatten().tolist()) == {27, 28, 29}


def test_ranks_share_a_batch_of_captures(capture):
    whole = some_batches(capture, scenes_per_batch=4, corrupt=1.0, outside=0.5, thinned=0.5)[1]
    for rank in range(2):
        mine = slice(rank, None, 2)
        part = some_batches(capture, mine=mine, scenes_per_batch=4, corrupt=1.0, outside=0.5, thinned=0.5)[1]
        assert all(torch.equal(part[name], value[mine]) for name, value in whole.items())


def label(capture, change=lambda n: list(range(COUNT))):
    folder = capture / "overlap_labels" / "Scene_0"
    folder.mkdir(parents=True)
    for n in range(COUNT):
        (folder / f"{n}.json").write_text(json.dumps({"overlapping_frames": [str(m) for m in change(n)]}))
    return folder


def test_labels_choose_the_context_and_those_of_later_pictures_are_dropped(capture):
    folder = label(capture, lambda n: range(n % 2, COUNT, 2))  # even ones of even ones, and later ones
    for number in range(20):
        batch = some_batches(capture, overlap="labels")[number]
        context, first = number_of(batch["context_frames"]), number_of(batch["frames"])[:, :1]
        others = batch["mask"].clone()
        others[:, 0] = False
        assert (context < first)[batch["mask"]].all()
        assert (context % 2 == first % 2)[others].all()
    (folder / "20.json").write_text('{"overlapping_frames": [3]}')
    with pytest.raises(
        ValueError, match=r"overlap_labels/Scene_0/20\.json has no 'overlapping_frames'; expected a list"
    ):
        [some_batches(capture, overlap="labels")[number] for number in range(60)]
    (folder / "20.json").unlink()
    with pytest.raises(ValueError, match=r"overlap_labels/Scene_0/20\.json is not there; expected the labels of every"):
        [some_batches(capture, overlap="labels")[number] for number in range(60)]


def test_batches_of_a_run_come_from_captures_in_the_asked_share(capture):
    config = dataclasses.replace(CONFIG, data=data_of(capture))
    assert isinstance(training_batches(CONFIG, SIZE, SIZE), SceneBatches)
    shares = {}
    for share in (0.0, 0.3, 1.0):
        own = dataclasses.replace(config, data=dataclasses.replace(config.data, captured=share))
        dataset = training_batches(own, SIZE, SIZE)
        assert isinstance(dataset, MixedBatches)
        shares[share] = np.mean([(dataset[number]["depth"] == 0).all().item() for number in range(24)])
    assert shares[0.0] == 0 and shares[1.0] == 1 and 0.1 < shares[0.3] < 0.55


def test_depth_that_is_not_known_is_not_learned(capture, with_depth):
    torch.manual_seed(0)
    model = SceneTransformer(**CONFIG.model)
    batch = some_batches(capture)[0]
    _, parts = losses(model, batch, CONFIG, torch.Generator().manual_seed(0))
    assert parts["depth"] == 0 and parts["colour"] > 0
    # Where half of the pixels are known the loss is the mean over these.
    batch = some_batches(with_depth)[0]
    batch["context_depth"][:] = 0  # so that no example brings another depth
    half = batch["depth"].clone()
    half[..., ::2] = 0
    own = [
        losses(model, {**batch, "depth": d}, CONFIG, torch.Generator().manual_seed(0))[1]
        for d in (half, batch["depth"])
    ]
    assert 0.7 * own[1]["depth"] < own[0]["depth"] < 1.4 * own[1]["depth"]


def test_context_without_depth_gets_some_but_for_the_newest_frame_of_every_other_scene(capture):
    batch = some_batches(capture)[3]
    estimate_context(batch)
    others = batch["mask"].clone()
    others[::2, 0] = False  # the newest frame of every other scene keeps none
    assert others.any() and (batch["context_depth"][others] > 0).all() and (batch["context_depth"][~others] == 0).all()
    of_scenes = SceneBatches(dataclasses.replace(DATA, outside=1.0), 0, SIZE, SIZE)[0]
    before = of_scenes["context_depth"].clone()
    estimate_context(of_scenes)
    assert torch.equal(of_scenes["context_depth"], before)


def test_videos_are_trained_on_frame_by_frame(tmp_path):
    minecraft(tmp_path / "m", shades(), path(COUNT) * [1, 1, 1, 1, 1, 0])
    realestate(tmp_path / "a.txt", level_path(COUNT // 2))
    write_film(tmp_path / "a.mp4", shades(), codec="libx264rgb")
    for folder in (tmp_path / "m", tmp_path):
        poses = open_capture(folder).poses
        first = view_frames(open_capture(folder).shots[:1], SIZE, SIZE, 40.0)
        batch = some_batches(folder)[0]
        numbers = number_of(batch["frames"])
        rows = numbers - 1 if folder != tmp_path else numbers // 2
        same_poses(batch["poses"].flatten(0, 1), poses[rows.flatten()], atol=1e-4)
        assert number_of(torch.from_numpy(first)) == int(folder != tmp_path)


RUN = dataclasses.replace(CONFIG, num_steps=8, checkpoint_every=3, validate_every=5)


def test_a_run_on_a_collected_capture_is_resumed_bit_for_bit(run, tmp_path):
    run("collect", "--scene", 5, "--steps", 20, "--out", tmp_path / "walk", "--height", SIZE, "--width", SIZE)
    config = dataclasses.replace(RUN, data=data_of(tmp_path / "walk", captured=0.5))
    expected = train(config, tmp_path / "whole", quiet=True)
    assert {"psnr_2_steps", "captured_psnr_2_steps", "captured_depth_median_error"} <= expected.keys()
    assert (tmp_path / "whole" / "captured_sheet_000008.png").is_file()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "sheet_000005.png").mkdir()
    with pytest.raises(IsADirectoryError):
        train(config, tmp_path / "cut", quiet=True)
    (tmp_path / "cut" / "sheet_000005.png").rmdir()
    assert {**train(config, tmp_path / "cut", quiet=True), "seconds": 0} == {**expected, "seconds": 0}
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
    one, other = (load_checkpoint(tmp_path / name / "latest.safetensors")[0] for name in ("whole", "cut"))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    alone = load_checkpoint_of(train, dataclasses.replace(RUN, data=data_of()), tmp_path / "alone")
    assert any(not torch.equal(one[name], alone[name]) for name in one)


def load_checkpoint_of(train, config, out):
    train(config, out, quiet=True)
    return load_checkpoint(out / "latest.safetensors")[0]


def test_validation_of_captures_without_depth_tells_no_depth_error(capture, tmp_path):
    from ctxmem_env.generator.pipeline import SceneGenerator

    config = dataclasses.replace(CONFIG, data=data_of(capture))
    generator = SceneGenerator(SceneTransformer(**CONFIG.model))
    figures = validate_all(generator, validation_batches(config, SIZE, SIZE), tmp_path / "sheet.png")
    assert "captured_psnr_copy_best" in figures and "captured_depth_median_error" not in figures
    assert "depth_median_error" in figures and all(np.isfinite(value) for value in figures.values())


def test_a_data_set_with_holes_is_refused_before_anything_is_trained(capture, fail, tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text("name: x\nnum_steps: 1\nmodel: {height: 16, width: 16}\ndata: {workers: 0}\n")

    def refused(*folders, **changes):
        with pytest.raises(ValueError) as error:
            some_batches(*folders, **changes)
        return str(error.value)

    (capture / "frames/Scene_0/0017.png").unlink()
    said = fail("train", config, "--data", capture, "--out", tmp_path / "run")
    assert "jsons/Scene_0.json: 1 pictures are not there, such as" in said and "frames/Scene_0/0017.png" in said
    assert not (tmp_path / "run" / "latest.safetensors").exists()
    Image.fromarray(shades()[17]).save(capture / "frames/Scene_0/0017.png")
    assert "has no folder overlap_labels beside it; choose overlap='recomputed'" in refused(capture, overlap="labels")
    (tmp_path / "empty").mkdir()
    assert "empty holds no captures; expected one of the layouts" in refused(tmp_path / "empty")
    assert "does not exist" in refused(tmp_path / "nowhere")
    short = write_nerfstudio(tmp_path / "short", views(pictures(3)), path(3), 80.0)
    assert "transforms.json has 3 pictures; training needs at least 4" in refused(short)
    with pytest.raises(ValueError, match=r"overlap='label' is unknown. Did you mean 'labels'"):
        data_of(capture, overlap="label")
    with pytest.raises(ValueError, match=r"captures=\[3\]; expected a list of paths of folders"):
        dataclasses.replace(DATA, captures=[3])


def test_a_data_set_of_many_scenes_is_one_folder(tmp_path):
    for i in range(2):
        folder = write_published(tmp_path / f"part_{i}", f"Scene_{i}", views(shades()), walk_poses())
        for part in ("frames", "jsons"):
            (tmp_path / "whole" / part).mkdir(parents=True, exist_ok=True)
            for file in (folder / part).iterdir():
                file.rename(tmp_path / "whole" / part / file.name)
    positions, _ = to_unreal(torch.as_tensor(walk_poses()))
    content = json.loads((tmp_path / "whole/jsons/Scene_1.json").read_text())["CineCameraActor"]
    assert content["3"]["position"] == pytest.approx(positions[3].tolist())
    assert [found.cameras.stem for found in some_batches(tmp_path / "whole").found] == ["Scene_0", "Scene_1"]
    some_batches(tmp_path / "whole")[0]
