"""Runs that differ in how their context is chosen: what they are trained on, and how they are measured."""

import dataclasses

import pytest
import torch
from test_training import CONFIG, plain, same

from ctxmem_env.config import DataConfig, TrainConfig, from_dict
from ctxmem_env.evaluation.baselines import pack_history
from ctxmem_env.evaluation.retrieval import measure_retrieval
from ctxmem_env.evaluation.tables import protocol_table
from ctxmem_env.generator import load_generator
from ctxmem_env.scenes import split_seeds
from ctxmem_env.training.methods import evaluate_methods
from ctxmem_env.training.train import train

PACKED = {"retrieval": "recent", "history": "packed"}


def test_runs_see_the_same_views_and_differ_in_their_context_alone():
    fov, recent, packed = plain()[0], plain(retrieval="recent")[0], plain(**PACKED)[0]
    for name in ("frames", "depth", "poses", "fov"):
        assert torch.equal(fov[name], recent[name]) and torch.equal(fov[name], packed[name])
    assert not torch.equal(fov["context_poses"], recent["context_poses"])
    assert torch.equal(packed["context_poses"], recent["context_poses"])
    frames, depth = pack_history(recent["context_frames"], recent["context_depth"])
    assert torch.equal(packed["context_frames"], frames) and torch.equal(packed["context_depth"], depth)
    assert not torch.equal(frames, recent["context_frames"])


def test_a_recent_context_is_what_came_right_before():
    batch = plain(retrieval="recent", tour=1, walk_length=40, scenes_per_batch=4)[0]
    apart = (batch["context_poses"][:, :-1] - batch["context_poses"][:, 1:])[..., :2].norm(dim=-1)
    both = batch["mask"][:, :-1] & batch["mask"][:, 1:]
    assert both.any() and apart[both].max() < 0.7
    assert same(batch, plain(retrieval="recent", tour=1, walk_length=40, scenes_per_batch=4)[0])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"data": {"history": "pakced"}}, r"history='pakced' is unknown\. Did you mean 'packed'\?"),
        ({"data": {"history": "packed"}}, r"history='packed' with retrieval='fov'; .*choose retrieval='recent'"),
        ({"data": PACKED}, r"self_context=0\.3 with history='packed'; .*Set self_context to 0"),
    ],
)
def test_a_history_that_cannot_be_packed_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        from_dict(TrainConfig, values, "file")


def test_a_run_with_an_unknown_rule_writes_nothing(tmp_path):
    config = dataclasses.replace(CONFIG, data=DataConfig(retrieval="recnet"))
    with pytest.raises(ValueError, match=r"retrieval='recnet' is unknown\. Did you mean 'recent'\?"):
        train(config, tmp_path / "run", quiet=True)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of two steps, with the history packed and not."""
    folder = tmp_path_factory.mktemp("runs")
    for name, data in (("recent", {"retrieval": "recent"}), ("packed", PACKED)):
        data = dataclasses.replace(CONFIG.data, **data)
        config = dataclasses.replace(CONFIG, name=name, num_steps=2, self_context=0.0, data=data)
        train(config, folder / name, quiet=True)
    return [folder / "recent", folder / "packed"]


def test_each_run_is_measured_with_what_it_was_trained_with(runs, tmp_path):
    results = evaluate_methods(runs, 2, 6, (1,), out=tmp_path / "out.json", device="cpu", quiet=True)
    ways = {"method_recent": ("recent", 4, "generator"), "method_packed": ("recent", 13, "packed")}
    for row, run in zip(results["figures"], runs, strict=True):
        way = ways["method_" + run.name]
        assert (row["method"], row["trained"], row["begun"]) == (run.name, 2, "random weights")
        assert (row["retrieval"], row["context"], row["painter"]) == way
        generator = load_generator(str(run / "generator"), "cpu")
        alone = measure_retrieval(generator, split_seeds("test", 2), *way, tour=1, steps=6)
        assert row["values"]["replay_db"]["by_scene"] == pytest.approx(alone["replay_db"], rel=1e-5)
    assert len(set(results["weights"].values())) == 2
    table = protocol_table(results)
    assert table.startswith("| run |") and "| recent | " in table and "| packed | " in table


def test_the_command_measures_runs(runs, run, tmp_path):
    arguments = ("--scenes", 2, "--steps", 6, "--tours", 1, "--out", tmp_path / "out.json", "--quiet")
    results, _ = run("evaluate", "--protocol", "methods", "--runs", *runs, *arguments)
    assert [row["method"] for row in results["figures"]] == ["recent", "packed"]


def test_what_is_no_finished_run_is_refused(runs, tmp_path):
    with pytest.raises(ValueError, match=r"runs: .*nowhere holds no training run; expected a folder that"):
        evaluate_methods([tmp_path / "nowhere"], quiet=True)
    with pytest.raises(ValueError, match="two of them have one name; expected different ones"):
        evaluate_methods([runs[0], runs[0]], quiet=True)
    short = dataclasses.replace(CONFIG, name="short", num_steps=2, validate_every=1, checkpoint_every=1)
    (tmp_path / "short" / f"sheet_{2:06d}.png").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        train(short, tmp_path / "short", quiet=True)
    with pytest.raises(ValueError, match=r"short is at step 1 of 2; finish it with `ctxmem train`"):
        evaluate_methods([tmp_path / "short"], quiet=True)


def test_the_command_tells_what_is_missing(fail):
    assert "protocol='methods' needs folders of training runs" in fail("evaluate", "--protocol", "methods")
    assert "runs=" in fail("evaluate", "--protocol", "loop", "--runs", "somewhere")
