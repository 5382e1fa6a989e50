"""The benchmark of memory: painters of which it is known what they repeat, and what it refuses."""

import numpy as np
import pytest
import torch

from ctxmem_env.bench import memory
from ctxmem_env.bench.memory import Roam, bench_memory
from ctxmem_env.evaluation.baselines import CopyGenerator
from ctxmem_env.scenes import SPLITS

SMALL = dict(capacity=16, steps=300, scenes=2, tour_frames=4, revisits=20, soak_steps=50)


@pytest.fixture(scope="module")
def results():
    """Of a painter that repeats the remembered frame whose view overlaps most."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "load_generator", lambda model, device: CopyGenerator("best", 16, 16))
        return bench_memory("copy", **SMALL)


def test_every_memory_is_measured_against_the_unlimited_one(results):
    unlimited, *bounded = results["memories"]
    assert [figures["eviction"] for figures in bounded] == ["coverage", "reservoir", "oldest"]
    assert unlimited["loss_db"] == 0 and "eviction_ms" not in unlimited
    for figures in bounded:
        assert figures["loss_db"] == pytest.approx(unlimited["revisit_db"] - figures["revisit_db"], abs=0.002)
        assert figures["eviction_ms"] == pytest.approx(figures["append_ms"] - unlimited["append_ms"], abs=0.002)
        assert figures["revisit_db"] == pytest.approx(np.mean(figures["by_scene_db"]), abs=0.01)


def test_who_copies_what_overlaps_most_repeats_himself_while_he_forgets_nothing(results):
    assert results["memories"][0]["repeat_db"] > 60


@pytest.mark.slow
def test_coverage_loses_less_of_a_place_than_oldest_does():
    few = dict(capacity=20, steps=150, scenes=2, revisits=20, soak_steps=5)
    unlimited, coverage, oldest = bench_memory("nano", evictions=("coverage", "oldest"), **few)["memories"]
    assert coverage["loss_db"] < oldest["loss_db"] - 3
    assert unlimited["repeat_db"] > coverage["repeat_db"] > oldest["repeat_db"] + 3


def test_what_a_frame_takes_is_counted(results):
    taken = results["bytes_a_frame"]
    assert taken["frame"] == 3 * 16 * 16 and taken["depth"] == 2 * 16 * 16 and taken["features"] == 0
    assert 4 * 16 < taken["coverage"] < 4 * 16 + 200
    assert 50 < taken["index"] < 2000


def test_the_soak_weighs_the_process(results):
    soak = results["soak"]
    assert len(soak["resident_mb"]) == 3 and soak["steps"] == 50 and soak["capacity"] == 16


def test_places_are_visited_again_that_were_not_seen_lately_in_test_scenes():
    roam = Roam(scenes=2, steps=300, tour_frames=4, revisits=20)
    assert set(roam.seeds) <= set(SPLITS["test"])
    assert len(set(roam.again.tolist())) == 20
    assert roam.again.min() >= 1 and roam.again.max() <= 200
    assert torch.equal(roam.tour[:, -1], roam.walk[:, 0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capacity": 7}, "capacity=7 is out of range; expected an integer of at least 8"),
        ({"capacity": 10, "tour_frames": 12}, "capacity=10 is out of range; expected an integer of at least 13"),
        ({"steps": 100}, "steps=100 is out of range; expected an integer of at least 101"),
        ({"revisits": 201}, r"revisits=201 is out of range; expected an integer in \[1, 200\]"),
        ({"scenes": 0}, "scenes=0 is out of range"),
        ({"soak_steps": 0}, "soak_steps=0 is out of range"),
        ({"evictions": ("covrage",)}, "eviction='covrage' is unknown. Did you mean 'coverage'"),
        ({"evictions": ()}, r"evictions=\(\) is empty; expected names of policies, at least one"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        bench_memory(**(SMALL | changes))
