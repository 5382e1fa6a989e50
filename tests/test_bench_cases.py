"""The benchmarks of retrieval, batches of worlds, a policy on them, and training: what they report and refuse."""

import math
import sys
from pathlib import Path

import pytest
import torch

from ctxmem_env.bench.measure import compiled, count_flops
from ctxmem_env.bench.memory import bench_memory
from ctxmem_env.bench.paths import PATHS, loop, walk
from ctxmem_env.bench.plots import save_plot
from ctxmem_env.bench.ppo import bench_ppo
from ctxmem_env.bench.retrieval import Traveller, bench_retrieval
from ctxmem_env.bench.step import bench_step
from ctxmem_env.bench.tables import benchmarks_section
from ctxmem_env.bench.train import CASES, PARTS, Trainer, bench_train, packaged_settings
from ctxmem_env.bench.vector import bench_vector
from ctxmem_env.camera import motion_between
from ctxmem_env.config import TrainConfig, load_config
from ctxmem_env.generator import load_generator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.testing import PoseGenerator
from ctxmem_env.training.data import SceneBatches
from ctxmem_env.training.train import losses

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.usefixtures("short_bench")


def test_a_loop_comes_back_to_its_very_poses_and_a_walk_to_none():
    lap = loop(300)[:120]
    assert torch.equal(loop(300)[120:240], lap)
    assert len(lap.unique(dim=0)) == 120
    sides = lap[:, :2].amax(0) - lap[:, :2].amin(0)
    torch.testing.assert_close(sides, torch.tensor([6.0, 6.0]), atol=1e-3, rtol=0)
    (back,) = motion_between(lap[-1:], lap[:1])
    torch.testing.assert_close(back, torch.tensor([0, 0, math.radians(15), 0]), atol=1e-4, rtol=0)
    assert len(walk(2000).unique(dim=0)) == 2000


@pytest.mark.parametrize("path", PATHS)
def test_a_traveller_remembers_the_path_behind_it_and_chooses_as_brute_force_does(path):
    poses = PATHS[path](160)
    traveller = Traveller(poses, 150, 4, torch.device("cpu"))
    for number in range(150, 160):
        torch.testing.assert_close(traveller.memory.poses[0], poses[:number])
        chosen = traveller.choose()
        assert chosen[0] == number - 1 and len(chosen) == 4
        assert chosen == traveller.choose_by_force()
        traveller.remember()


@pytest.fixture(scope="module")
def retrieval_results(short_bench):
    return bench_retrieval(histories=[30, 10], num_context=3, queries=3, checked=2, repeats=2)


def test_queries_are_timed_and_compared_for_every_path_and_history(retrieval_results):
    assert [path["path"] for path in retrieval_results["paths"]] == list(PATHS)
    assert retrieval_results["queries"] == 6 and retrieval_results["checked"] == 6
    for path in retrieval_results["paths"]:
        assert [row["history"] for row in path["histories"]] == [30, 10]
        assert path["ratio"] > 0
        for row in path["histories"]:
            assert row["query_ms"] > 0 and row["remember_ms"] > 0
            assert row["agreement"] == 1.0


def test_a_choice_that_brute_force_would_not_make_counts_against_agreement(monkeypatch):
    right = Traveller.choose
    monkeypatch.setattr(Traveller, "choose", lambda self: right(self) if self.history == 10 else [0, 0])
    path = bench_retrieval(histories=[10, 20], num_context=2, queries=2, checked=1, repeats=1)["paths"][0]
    assert [row["agreement"] for row in path["histories"]] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"histories": []}, "histories is empty"),
        ({"histories": [-1]}, "histories=-1 is out of range"),
        ({"queries": 4, "checked": 5}, r"checked=5 is out of range; expected an integer in \[1, 4\]"),
        ({"queries": 0}, "queries=0 is out of range"),
        ({"repeats": 0}, "repeats=0 is out of range"),
        ({"num_context": 0}, "num_context=0 is out of range"),
    ],
)
def test_queries_are_not_measured_with_numbers_that_are_none(arguments, message):
    with pytest.raises(ValueError, match=message):
        bench_retrieval(**arguments)


@pytest.fixture(scope="module")
def vector_results(short_bench, untrained_model):
    return bench_vector(str(untrained_model), 2, num_envs=[1, 3], repeats=2, steps=2)


def test_batches_are_compared_with_the_first(vector_results):
    assert vector_results["vectorization"] == "GenerativeSceneVectorEnv"
    one, three = vector_results["batches"]
    assert (one["num_envs"], three["num_envs"]) == (1, 3)
    assert one["speedup"] == 1.0
    assert three["speedup"] > 0
    for row in (one, three):
        assert row["env_steps_per_second"] == pytest.approx(1000 * row["num_envs"] / row["step_ms"], rel=0.01)
    assert three["network_gflop"] == pytest.approx(3 * one["network_gflop"], abs=2e-3)


def test_what_cannot_be_compiled_is_refused():
    with pytest.raises(ValueError, match="a PoseGenerator cannot be compiled"):
        compiled(PoseGenerator())


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch's compiler itself
def test_a_compiled_network_is_a_copy(untrained_model):
    generator = load_generator(str(untrained_model), "cpu")
    copy = compiled(generator)  # which compiles nothing until it is called
    assert "forward" in vars(copy.transformer) and "forward" not in vars(generator.transformer)


def test_it_is_the_compiled_network_that_is_measured(untrained_model, monkeypatch):
    painter, once = PoseGenerator(), {"repeats": 1, "steps": 1, "compile": True}
    for module in ("step", "vector"):
        monkeypatch.setattr(f"ctxmem_env.bench.{module}.compiled", lambda generator: painter)
    assert bench_step(str(untrained_model), 2, histories=[4], contexts=[], **once)["compiled"]
    after_step = painter.num_encoded
    assert bench_vector(str(untrained_model), 2, num_envs=[2], **once)["compiled"]
    assert painter.num_encoded > after_step > 0


@pytest.fixture(scope="module")
def ppo_results(short_bench, untrained_model):
    return bench_ppo(num_envs=2, rollout=4, repeats=2, model=str(untrained_model), num_context=2)


def test_the_time_of_a_policy_is_that_of_the_worlds_its_own_and_the_rest(ppo_results):
    shares = {part: ppo_results[f"{part}_share"] for part in ("environment", "forward", "update", "rest")}
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    assert min(shares.values()) > 0
    assert all(ppo_results[name] > 0 for name in ("ratio", "learn_steps_per_second", "bare_steps_per_second"))
    assert ppo_results["batch_size"] == 8  # no larger than a rollout


def test_a_policy_is_measured_beside_the_batches_when_asked_for(untrained_model, ppo_results, monkeypatch, tmp_path):
    arguments = {}
    monkeypatch.setattr("ctxmem_env.bench.vector.bench_ppo", lambda **given: arguments.update(given) or ppo_results)
    results = bench_vector(str(untrained_model), 2, num_envs=[1], repeats=1, steps=1, sb3=True)
    assert results["ppo"] == ppo_results
    assert arguments == {"repeats": 1, "model": str(untrained_model), "num_context": 2, "device": "auto"}
    text = benchmarks_section({"vector": results})
    assert f"{ppo_results['ratio']:.2f} of the bare environment's" in text
    assert save_plot(results, tmp_path).name == "bench_vector.png"


def test_without_stable_baselines3_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ValueError, match=r"pip install 'ctxmem-env\[agents\]'"):
        bench_vector(sb3=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": []}, "num_envs is empty"),
        ({"array": "jax"}, "array='jax' is unknown"),
        ({"num_envs": [2, 0]}, "num_envs=0 is out of range"),
        ({"repeats": 0}, "repeats=0 is out of range"),
        ({"steps": 0}, "steps=0 is out of range"),
    ],
)
def test_batches_are_not_measured_with_numbers_that_are_none(arguments, message):
    with pytest.raises(ValueError, match=message):
        bench_vector(**arguments)


@pytest.fixture(scope="module")
def train_results(short_bench):
    return bench_train(ROOT / "configs" / "tiny.yaml", repeats=2)


def test_the_parts_of_a_training_step_add_up(train_results):
    assert [case["case"] for case in train_results["cases"]] == list(CASES)
    for case, (repaint, _) in zip(train_results["cases"], CASES.values(), strict=True):
        assert sum(case[f"{part}_ms"] for part in PARTS) == pytest.approx(case["step_ms"], abs=0.05)
        assert case["targets_per_second"] == pytest.approx(1000 * train_results["targets"] / case["step_ms"], rel=0.01)
        assert (case["repainting_ms"] > 0) == repaint
    assert train_results["rendering_ms"] > 0


def test_a_training_step_calculates_more_than_its_loss_and_learns():
    trainer = Trainer(load_config(TrainConfig, ROOT / "configs" / "tiny.yaml"), torch.device("cpu"))
    shape = trainer.model.config
    batch = SceneBatches(trainer.config.data, 0, shape.height, shape.width)[0]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        forward = count_flops(lambda: losses(trainer.model, batch, trainer.config, generator))
    assert 2 * forward < trainer.flops(batch) < 4 * forward
    before = trainer.model.to_pixels.weight.clone()
    trainer.step(batch, repaint=True, critic=True)
    assert not torch.equal(before, trainer.model.to_pixels.weight)


def test_without_a_configuration_the_packaged_model_is_trained():
    def shape(model):
        return {name: value for name, value in model.config.items() if not name.startswith("_")}

    assert shape(SceneTransformer(**packaged_settings().model)) == shape(load_generator("nano", "cpu").transformer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": "nothing.yaml"}, "no such file 'nothing.yaml'"),
        ({"repeats": 0}, "repeats=0 is out of range"),
        ({"steps": 0}, "steps=0 is out of range"),
        ({"device": "gpu"}, "device='gpu' is not a torch device"),
    ],
)
def test_training_is_not_measured_with_what_is_none(arguments, message):
    with pytest.raises(ValueError, match=message):
        bench_train(**arguments)


@pytest.fixture(scope="module")
def memory_results(short_bench, untrained_model):
    sizes = {"capacity": 14, "steps": 101, "scenes": 1, "revisits": 1, "soak_steps": 5}
    return bench_memory(str(untrained_model), evictions=["oldest"], **sizes)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("retrieval", lambda results: f"| loop | 30 | {results['paths'][1]['histories'][0]['query_ms']:.2f} ms |"),
        ("vector", lambda results: f"| 3 | {results['batches'][1]['env_steps_per_second']:,.1f} |"),
        ("memory", lambda results: f"| oldest | {results['memories'][1]['first_db']:.2f} dB |"),
        ("train", lambda results: f"| critic | {results['cases'][2]['targets_per_second']:.1f} |"),
    ],
)
def test_every_benchmark_has_its_table_and_its_picture(name, row, request, tmp_path):
    results = request.getfixturevalue(f"{name}_results")
    assert row(results) in benchmarks_section({name: results})
    assert save_plot(results, tmp_path) == tmp_path / f"bench_{name}.png"
    assert (tmp_path / f"bench_{name}.png").stat().st_size > 5_000
