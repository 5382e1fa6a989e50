"""LPIPS, FID and FVD: what is missing is told before anything is measured, and walks are paired as they must be."""

import importlib.util

import pytest
import torch
from protocol_generators import SIZE, Noise, exact

from ctxmem_env.evaluation import perceptual
from ctxmem_env.evaluation.perceptual import METRICS, Metric, check_metrics, measure_perceptual, perceptual_cases
from ctxmem_env.evaluation.suite import evaluate_protocol
from ctxmem_env.evaluation.tables import protocol_table

ROOMS = [1_000_000, 1_000_001]


def without(monkeypatch, *missing):
    """An installation that lacks these packages and has all others."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else object())


@pytest.fixture
def difference(monkeypatch, tmp_path):
    """A metric with weights that are there: the mean difference of colours in each scene, and the shapes it saw."""
    seen = []

    def distance(painted, true):
        seen.append((painted.shape, true.shape))
        return [(one.float() - other.float()).abs().mean().item() for one, other in zip(painted, true, strict=True)]

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "w.pth").touch()
    monkeypatch.setitem(METRICS, "lpips", Metric(lambda: distance, ("torch",), "w.pth"))
    perceptual._loaded.cache_clear()
    yield seen
    perceptual._loaded.cache_clear()


@pytest.mark.parametrize(
    ("name", "missing", "told"),
    [
        ("lpips", ("torchvision",), "lpips needs torchvision, not installed"),
        ("fid", ("torchmetrics", "torch_fidelity"), "fid needs torchmetrics and torch_fidelity, not installed"),
        ("fvd", ("torchvision",), "fvd needs torchvision, not installed"),
    ],
)
def test_a_package_that_is_missing_is_named(monkeypatch, name, missing, told):
    without(monkeypatch, *missing)
    with pytest.raises(ValueError, match=told + r"; pip install 'ctxmem-env\[perceptual\]', or name other metrics"):
        check_metrics((name,))


@pytest.mark.parametrize("name", METRICS)
def test_weights_that_are_missing_are_told_with_their_place(monkeypatch, tmp_path, name):
    without(monkeypatch)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    expected = rf"weights of {name} are not on this machine; put them at .*checkpoints.{METRICS[name].weights}, or"
    with pytest.raises(ValueError, match=expected):
        check_metrics((name,))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / METRICS[name].weights).touch()
    assert check_metrics((name,)) == (name,)


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match=r"metrics='lips' is unknown. Did you mean 'lpips'\?"):
        check_metrics(("lips",))


def test_nothing_is_written_where_a_metric_is_missing(monkeypatch, tmp_path):
    without(monkeypatch, "torchvision")
    with pytest.raises(ValueError, match="lpips needs torchvision"):
        evaluate_protocol("perceptual", Noise(), 2, tmp_path / "out.json", quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_replay_is_paired_with_the_truth_and_a_loop_with_itself(difference):
    arguments = {"retrieval": "fov", "context": 8, "painter": "generator", "tour": 1, "metrics": ("lpips",), "steps": 8}
    perfect = measure_perceptual(exact(ROOMS), ROOMS, **arguments)
    assert max(perfect["replay_lpips"]) < 0.1 and max(perfect["loop_lpips"]) == 0
    assert [shapes[0][:2] for shapes in difference] == [(2, 8), (2, 3)]  # of the way back the last step is the start
    noise = measure_perceptual(Noise(), ROOMS, **arguments)
    assert min(noise["replay_lpips"]) > 30 and max(noise["loop_lpips"]) == 0  # noise that is remembered
    forgetful = measure_perceptual(Noise(remembers=False), ROOMS, **arguments)
    assert min(forgetful["loop_lpips"]) > 30


def test_all_methods_of_the_paper_are_measured_and_shown(difference, tmp_path):
    options = {"metrics": ("lpips",), "steps": 4, "num_context": 2, "tours": (0,)}
    results = evaluate_protocol("perceptual", Noise(SIZE), 2, tmp_path / "out.json", quiet=True, **options)
    methods = [(row["retrieval"], row["context"], row["painter"]) for row in results["figures"]]
    assert methods[:2] == [("fov", 2, "generator"), ("fov_far", 2, "generator")]
    assert methods[-1] == ("recent", 13, "packed")
    assert [case["retrieval"] for case in perceptual_cases(("lpips",))] == [name for name, *_ in methods]
    assert "| replay, LPIPS | loop, LPIPS |" in protocol_table(results).splitlines()[0]
