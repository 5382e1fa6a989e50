"""`ctxmem bench` on the command line: its options, what it prints, keeps and draws, and what it refuses."""

import inspect
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from ctxmem_env.bench.memory import bench_memory
from ctxmem_env.bench.retrieval import bench_retrieval
from ctxmem_env.bench.step import bench_step
from ctxmem_env.bench.train import bench_train
from ctxmem_env.bench.vector import bench_vector
from ctxmem_env.cli.bench import Memory, Retrieval, Step, Train, Vector

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.mark.parametrize(
    ("command", "function"),
    [
        (Step, bench_step),
        (Retrieval, bench_retrieval),
        (Vector, bench_vector),
        (Memory, bench_memory),
        (Train, bench_train),
    ],
)
def test_the_command_has_the_options_of_the_function_and_their_defaults(command, function):
    arguments = inspect.signature(function).parameters
    assert command().options() == {name: argument.default for name, argument in arguments.items()}


@pytest.mark.usefixtures("short_bench")
def test_bench_keeps_its_results_beside_those_of_others_and_draws_them(run, untrained_model, tmp_path):
    keep = ("--out", tmp_path / "new" / "bench.json", "--plot", tmp_path / "plots", "--repeats", 1)
    retrieval, _ = run("bench", "retrieval", "--histories", 5, 12, "--queries", 1, "--checked", 1, *keep)
    keep += ("--steps", 1)
    sizes = ("--histories", 5, 12, "--contexts", 2, "--num-context", 3)
    step, err = run("bench", "step", "--model", untrained_model, *sizes, *keep)
    vector, _ = run("bench", "vector", "--model", untrained_model, "--num-envs", 1, 2, *keep)
    train, _ = run("bench", "train", "--config", CONFIGS / "tiny.yaml", *keep)
    assert "1/1" in err
    for results in (step, retrieval, vector, train):
        with Image.open(results.pop("plot")) as picture:
            assert picture.width > 400
    assert json.loads((tmp_path / "new" / "bench.json").read_text()) == {
        "retrieval": retrieval,
        "step": step,
        "train": train,
        "vector": vector,
    }
    assert [figures["history"] for figures in step["histories"]] == [5, 12]


@pytest.mark.usefixtures("short_bench")
def test_bench_tells_the_command_that_measures_the_same(run, untrained_model):
    options = f"--repeats 1 --model {untrained_model} --num-context 2 --num-envs 1 --steps 1"
    results, _ = run("bench", "vector", *options.split())
    assert results["command"] == "ctxmem bench vector " + options


def test_bench_refuses_what_it_cannot_keep_or_draw_before_it_measures(fail, tmp_path, monkeypatch):
    taken = tmp_path / "notes.json"
    taken.write_text('{"mine": 1}')
    assert "holds no results of `ctxmem bench`" in fail("bench", "step", "--out", taken)
    assert taken.read_text() == '{"mine": 1}'
    assert "cannot be read" in fail("bench", "step", "--out", tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'ctxmem-env[plot]'" in fail("bench", "vector", "--plot", tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


def test_bench_refuses_numbers_that_are_none(fail, untrained_model):
    assert "histories=0 is out of range" in fail("bench", "step", "--model", untrained_model, "--histories", "0")
