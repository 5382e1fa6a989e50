"""How the benchmarks count, time and keep what they find, and the step of one environment."""

import time
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ctxmem_env.bench.machine import MatrixRates, achieved
from ctxmem_env.bench.measure import Stopwatch, count_flops, network_flops
from ctxmem_env.bench.paths import walk
from ctxmem_env.bench.plots import save_plot
from ctxmem_env.bench.results import keep, read_benches
from ctxmem_env.bench.step import PARTS, Walk, bench_step, check_memory
from ctxmem_env.bench.tables import benchmarks_section
from ctxmem_env.generator import load_generator
from ctxmem_env.scenes import build_scene, random_walk
from ctxmem_env.testing import PoseGenerator

pytestmark = pytest.mark.usefixtures("short_bench")


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


@pytest.fixture(scope="module")
def step_results(short_bench, untrained_model):
    return bench_step(str(untrained_model), 3, histories=[40, 10], contexts=[1, 3], repeats=2, steps=2)


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


def test_the_section_shows_every_case_that_was_measured_and_no_other_benchmark(step_results, tmp_path):
    section = benchmarks_section({"step": step_results}, tmp_path)
    assert section.count("###") == 1 and "![" not in section
    for row in step_results["histories"]:
        assert f"| {row['history']} | {row['steps_per_second']:.1f} | {row['step_ms']:.1f} ms |" in section
    for row in step_results["contexts"]:
        assert f"| {row['num_context']} | {row['steps_per_second']:.1f} | {row['step_ms']:.1f} ms |" in section
    assert step_results["num_attended"] is None and "attention reads" not in section
    assert "(attention reads the first 2 of them" in benchmarks_section({"step": step_results | {"num_attended": 2}})
    picture = save_plot(step_results, tmp_path / "new")
    assert f"]({picture})" in benchmarks_section({"step": step_results}, tmp_path / "new")


def test_a_part_that_was_not_measured_has_no_column(step_results):
    older = [{name: row[name] for name in row if name != "collision_ms"} for row in step_results["histories"]]
    section = benchmarks_section({"step": step_results | {"histories": older, "contexts": []}})
    assert "| collision |" not in section and "| retrieval |" in section
