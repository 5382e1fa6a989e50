"""The benchmarks: what they count is counted rightly, what they report adds up, and what they refuse."""

import inspect
import math
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ctxmem_env.bench import machine
from ctxmem_env.bench.machine import MatrixRates, achieved
from ctxmem_env.bench.measure import Stopwatch, compiled, count_flops, network_flops
from ctxmem_env.bench.memory import bench_memory
from ctxmem_env.bench.paths import PATHS, loop, walk
from ctxmem_env.bench.plots import save_plot
from ctxmem_env.bench.ppo import bench_ppo
from ctxmem_env.bench.results import keep, read_benches
from ctxmem_env.bench.retrieval import Traveller, bench_retrieval
from ctxmem_env.bench.step import PARTS, Walk, bench_step, check_memory
from ctxmem_env.bench.tables import benchmarks_section
from ctxmem_env.bench.train import CASES, Trainer, bench_train
from ctxmem_env.bench.train import PARTS as TRAIN_PARTS
from ctxmem_env.bench.vector import bench_vector
from ctxmem_env.camera import motion_between
from ctxmem_env.cli.bench import Memory, Retrieval, Step, Train, Vector
from ctxmem_env.config import TrainConfig, load_config
from ctxmem_env.generator import load_generator
from ctxmem_env.generator.transformer import SceneTransformer
from ctxmem_env.scenes import build_scene, random_walk
from ctxmem_env.testing import PoseGenerator
from ctxmem_env.training.data import SceneBatches
from ctxmem_env.training.train import losses

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Small matrices, and a short run-up: how fast this machine is, is no test's subject."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(machine._SIZES, "cpu", 64)
        patch.setattr("ctxmem_env.bench.step._WARM_UP", 1)
        patch.setattr("ctxmem_env.bench.random_walk.WARM_UP", 1)
        yield


@pytest.fixture(scope="module")
def step_results(untrained_model):
    return bench_step(str(untrained_model), 3, histories=[40, 10], contexts=[1, 3], repeats=2, steps=2)


def test_multiplies_and_adds_of_known_layers_are_counted():
    assert count_flops(lambda: nn.Linear(8, 16)(torch.zeros(3, 8))) == 2 * 3 * 8 * 16
    assert count_flops(lambda: nn.Conv2d(3, 5, 3, padding=1)(torch.zeros(2, 3, 7, 6))) == 2 * 2 * 7 * 6 * 5 * 27


def test_attention_is_counted_on_the_cpu_forwards_and_backwards():
    query = torch.zeros(2, 4, 16, 8, requires_grad=True)
    products = 2 * 2 * (2 * 4 * 16 * 16 * 8)  # with the keys, and with the values
    with torch.no_grad():
        assert count_flops(lambda: F.scaled_dot_product_attention(query, query, query)) == products
    both = count_flops(lambda: F.scaled_dot_product_attention(query, query, query).sum().backward())
    assert both > 2 * products


def test_a_network_calculates_more_the_more_context_it_reads_and_a_painter_without_weights_nothing(untrained_model):
    cpu, network = torch.device("cpu"), load_generator(str(untrained_model), "cpu")
    few, many = (network_flops(network, slots, cpu) for slots in (1, 8))
    assert few.encode == many.encode > 0
    assert 0 < few.generate < many.generate
    assert network_flops(PoseGenerator(), 2, cpu) == (0, 0)


def test_the_rate_of_matrix_products_is_the_median_of_readings_for_each_precision(monkeypatch):
    rates = MatrixRates("cpu")
    readings = iter([[1.0, 10.0], [3.0, 50.0], [2.0, 20.0]])
    monkeypatch.setattr(rates, "_read", lambda: next(readings))
    for _ in range(3):
        rates.read()
    assert rates.medians() == {"float32": 2.0, "bfloat16": 20.0}
    share = {"float32": 0.5, "bfloat16": 0.05}
    assert achieved(2e9, 2.0, rates.medians()) == {"gflops": 1.0, "matrix_share": share}


def test_a_reading_counts_two_operations_for_each_multiply_and_add(monkeypatch):
    rates = MatrixRates("cpu")
    clock = iter([0.0, 1e-3, 2e-3, 4e-3])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    gflop = 3 * 2 * 64**3 * 1e-9
    assert rates._read() == pytest.approx([gflop / 1e-3, gflop / 2e-3])


def test_a_stopwatch_adds_up_the_calls_of_a_part_and_passes_their_results():
    watch = Stopwatch()
    nap = watch.timed("nap", lambda seconds: time.sleep(seconds) or "rested")
    assert [nap(0.01), nap(seconds=0.01)] == ["rested"] * 2
    assert watch.seconds["nap"] >= 0.02
    assert watch.seconds["other"] == 0


def test_the_parts_of_a_step_add_up(step_results):
    rows = step_results["histories"] + step_results["contexts"]
    assert [(row["history"], row["num_context"]) for row in rows] == [(40, 3), (10, 3), (40, 1), (40, 3)]
    for row in rows:
        parts = [row[f"{part}_ms"] for part in PARTS[1:]]
        assert min(parts[1:]) > 0 <= parts[0]  # turns hit nothing
        assert sum(parts) == pytest.approx(row["step_ms"], abs=0.01)
        assert row["steps_per_second"] == pytest.approx(1000 / row["step_ms"], rel=0.01)


def test_the_network_of_a_step_is_what_it_paints_and_what_it_encodes(step_results, untrained_model):
    row = step_results["histories"][0]
    flops = network_flops(load_generator(str(untrained_model), "cpu"), 3, torch.device("cpu"))
    assert row["encoded_frames"] >= 1  # the newest frame, at the least
    expected = 1e-9 * (flops.generate + row["encoded_frames"] * flops.encode)
    assert row["network_gflop"] == pytest.approx(expected, abs=1e-3)
    seconds = (row["encoding_ms"] + row["denoising_ms"]) / 1000
    assert row["gflops"] == pytest.approx(expected / seconds, rel=0.01, abs=1e-3)
    for name, rate in step_results["matrix_gflops"].items():
        assert row["matrix_share"][name] == pytest.approx(row["gflops"] / rate, abs=1e-3)


def test_results_name_the_machine(step_results):
    assert {"cpu", "cores", "threads", "gpu", "torch", "python", "bfloat16", "os"} <= step_results["machine"].keys()
    assert step_results["machine"]["threads"] == 1
    assert step_results["ratio"] > 0


def test_a_walk_goes_from_pose_to_pose_with_its_whole_history_in_memory():
    poses = random_walk(build_scene(0), 60, np.random.default_rng(0)).double()
    walking = Walk(PoseGenerator(), 3, 20, poses, "cpu")
    for start in (30, 35):  # grown by five, it starts over
        walking.begin(start)
        memory = walking.env.world.memory
        assert memory.lengths.tolist() == [20]
        torch.testing.assert_close(memory.poses[0], poses[start - 20 : start].float())
        arrived = []
        for number in range(start, start + 5):
            milliseconds = walking.step(number)
            assert milliseconds[0] == pytest.approx(milliseconds[1:-1].sum())
            off = (walking.env.world.poses[0] - poses[number].float()).abs()
            assert off[:2].max() < 0.26 and off[2:].max() < 1e-4  # a surface may stop it for one step
            arrived.append(bool(off.max() < 1e-4))
            walking.env.world.poses += 1
        assert sum(arrived) >= 3


def test_a_walk_that_a_surface_stops_is_timed_with_what_stops_it():
    poses = walk(40).double()
    walking = Walk(PoseGenerator(), 3, 20, poses, "cpu")
    walking.begin(20)
    assert max(walking.step(number)[PARTS.index("collision")] for number in range(20, 25)) > 0


def test_a_memory_that_has_hardly_grown_goes_on():
    poses = random_walk(build_scene(0), 320, np.random.default_rng(0)).double()
    walking = Walk(PoseGenerator(), 3, 300, poses, "cpu")
    for start in (300, 303):
        walking.begin(start)
        for number in range(start, start + 3):
            walking.step(number)
    assert walking.env.world.memory.lengths.tolist() == [306]


def test_histories_that_do_not_fit_are_refused_with_the_number_that_would(monkeypatch):
    monkeypatch.setattr("ctxmem_env.bench.step.available_bytes", lambda device: 10_000_000)
    check_memory([256, 64], 64, 64, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"take 0\.0 GB at 20,480 bytes a frame.*one alone may have 256 frames"):
        bench_step("nano", histories=[257], contexts=[])


def test_the_memory_that_a_history_takes_is_known_beforehand(monkeypatch):
    walking = Walk(PoseGenerator(8, 48), 1, 200, walk(202).double(), "cpu")
    walking.begin(200)
    memory = walking.env.world.memory
    held = sum(tensor.nbytes for tensor in (memory._frames, memory._depth))
    for free, fits in ((1.5 * held, True), (1.5 * held - 1, False)):
        monkeypatch.setattr("ctxmem_env.bench.step.available_bytes", lambda device, free=free: free)
        with nullcontext() if fits else pytest.raises(ValueError, match="may have 128 frames"):
            check_memory([200], 8, 48, torch.device("cpu"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"histories": []}, "histories is empty"),
        ({"histories": [10, 0]}, "histories=0 is out of range"),
        ({"contexts": [0]}, "contexts=0 is out of range"),
        ({"num_context": 0}, "num_context=0 is out of range"),
        ({"repeats": 0}, "repeats=0 is out of range"),
        ({"steps": 0}, "steps=0 is out of range"),
        ({"threads": 0}, "threads=0 is out of range"),
        ({"model": "nanno"}, "Did you mean 'nano'"),
        ({"device": "cuda:99"}, "device='cuda:99' is not available here"),
    ],
)
def test_a_step_is_not_measured_with_numbers_that_are_none(arguments, message):
    with pytest.raises(ValueError, match=message):
        bench_step(**arguments)


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
def retrieval_results():
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
def vector_results(untrained_model):
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
def ppo_results(untrained_model):
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
def train_results():
    return bench_train(ROOT / "configs" / "tiny.yaml", repeats=2)


def test_the_parts_of_a_training_step_add_up(train_results):
    assert [case["case"] for case in train_results["cases"]] == list(CASES)
    for case, (repaint, _) in zip(train_results["cases"], CASES.values(), strict=True):
        assert sum(case[f"{part}_ms"] for part in TRAIN_PARTS) == pytest.approx(case["step_ms"], abs=0.05)
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

    assert shape(SceneTransformer(**TrainConfig().model)) == shape(load_generator("nano", "cpu").transformer)


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
def memory_results(untrained_model):
    sizes = {"capacity": 14, "steps": 101, "scenes": 1, "revisits": 1, "soak_steps": 5}
    return bench_memory(str(untrained_model), evictions=["oldest"], **sizes)


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


def test_newer_results_take_the_place_of_those_of_the_same_benchmark_only(tmp_path):
    path = tmp_path / "new" / "bench.json"
    old, other, new = ({"bench": name, "machine": {}, "n": n} for n, name in enumerate(("step", "vector", "step")))
    for results in (old, other, new):
        keep(path, results)
    assert read_benches(path) == {"step": new, "vector": other}


@pytest.mark.parametrize("text", ["not JSON", "[]", '{"step": 3}', '{"figures": {"a": 1}}'])
def test_a_file_of_something_else_is_left_alone(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"name another file, or remove it"):
        keep(path, {"bench": "step", "machine": {}})
    assert path.read_text() == text


def test_the_section_shows_what_was_measured_and_nothing_else(
    step_results, retrieval_results, vector_results, memory_results, train_results, tmp_path
):
    measured = (step_results, retrieval_results, vector_results, memory_results, train_results)
    assert [save_plot(results, tmp_path / "new").suffix for results in measured] == [".png"] * 5
    both = benchmarks_section({results["bench"]: results for results in measured})
    alone = benchmarks_section({"vector": vector_results}, tmp_path)
    assert "### A step of one environment" in both and "### Worlds in one batch" in both
    assert "### The choice of context" in both and "### A bounded memory" in both and "### A training step" in both
    assert "### A step" not in alone and "![" not in alone
    for row in vector_results["batches"]:
        assert f"| {row['num_envs']} | {row['env_steps_per_second']:,.1f} |" in alone
    (tmp_path / "bench_vector.png").touch()
    assert f"]({tmp_path}/bench_vector.png)" in benchmarks_section({"vector": vector_results}, tmp_path)
