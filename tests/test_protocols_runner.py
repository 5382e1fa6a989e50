"""The runner of protocols: what was measured is kept, gone on with, told apart from other results, and shown."""

import json
import math

import pytest
import torch
from PIL import Image
from protocol_generators import Noise

from ctxmem_env.evaluation.runner import run_protocol
from ctxmem_env.evaluation.suite import PROTOCOLS, evaluate_protocol
from ctxmem_env.evaluation.tables import protocol_table, read_results
from ctxmem_env.scenes import split_of

SEEDS = list(range(2_000_000, 2_000_005))
HEAD = {
    "protocol": "loop",
    "model": "some",
    "weights": None,
    "scenes": {"split": "test", "seeds": [SEEDS[0], SEEDS[-1]]},
    "options": {"num_context": 8},
}
CASES = [{"path": "room", "tour": 12}, {"path": "room", "tour": 0}]


class Measure:
    """A figure that is a function of scene and case, and another that no odd scene has; may be cut off."""

    def __init__(self, stop_after=math.inf):
        self.calls, self.stop_after = [], stop_after

    def __call__(self, seeds, path, tour):
        if len(self.calls) == self.stop_after:
            raise KeyboardInterrupt
        self.calls.append((tuple(seeds), tour))
        values = {"own_db": [seed % 10 + tour / 10 for seed in seeds]}
        values["depth_error"] = [0.05] * len(seeds)
        values["true_db"] = [None if seed % 2 else 30.0 for seed in seeds]
        return values | {"_sum": [1.0] * len(seeds), "_sheet": [torch.full((2, 4, 4, 3), tour, dtype=torch.uint8)]}


def run_with(out, measure=None, head=HEAD, cases=CASES, **options):
    return run_protocol(head, cases, SEEDS, measure or Measure(), out, group=2, quiet=True, **options)


def test_figures_are_means_over_scenes_with_their_interval(tmp_path):
    results = run_with(tmp_path / "out.json")
    first, second = results["figures"]
    assert (first["tour"], second["tour"]) == (12, 0)
    value = second["values"]["own_db"]
    assert value["by_scene"] == [0, 1, 2, 3, 4] and value["mean"] == 2 and value["n"] == 5
    assert value["ci95"] == pytest.approx(2.776445 * math.sqrt(2.5 / 5), rel=1e-5)
    # A scene where a figure does not apply is left out of its mean.
    assert second["values"]["true_db"] == {"mean": 30, "ci95": 0, "n": 3, "by_scene": [30, None, 30, None, 30]}
    assert "_sum" not in second["values"] and "pieces" not in results
    assert json.loads((tmp_path / "out.json").read_text()) == results


def test_a_run_that_was_cut_off_goes_on_and_ends_as_if_it_had_not_been(tmp_path):
    out, cut = tmp_path / "out.json", Measure(stop_after=3)
    with pytest.raises(KeyboardInterrupt):
        run_with(out, cut)
    assert len(json.loads(out.read_text())["pieces"]) == 3
    rest = Measure()
    assert run_with(out, rest) == run_with(tmp_path / "whole.json")
    assert not set(cut.calls) & set(rest.calls) and len(cut.calls) + len(rest.calls) == 6
    again = Measure()
    assert run_with(out, again) == run_with(out) and not again.calls  # finished
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["out.json", "whole.json"]


def test_what_is_combined_over_all_scenes_sees_all_of_them(tmp_path):
    results = run_with(tmp_path / "out.json", combine=lambda values: {"frechet": (sum(values["_sum"]), 0.5)})
    assert [figures["values"]["frechet"] for figures in results["figures"]] == [{"mean": 5.0, "ci95": 0.5}] * 2


def test_each_case_has_its_sheet(tmp_path):
    run_with(tmp_path / "out.json", sheet=tmp_path / "walks.png")
    for tour in (12, 0):
        with Image.open(tmp_path / f"walks_path_room_tour_{tour}.png") as image:
            assert image.size == (16, 8) and image.getpixel((0, 0)) == (tour,) * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"version": 2, "pieces"', r"out='.*out\.json' cannot be read .*name another file, or remove it"),
        ("[]", r"out='.*' holds results of version None, expected 2; name another file, or remove it"),
        ('{"version": 0}', r"out='.*' holds results of version 0, expected 2"),
        ('{"version": 2, "figures": []}', r"out='.*' holds results with protocol=null, not \"loop\""),
        (json.dumps({"version": 2, **HEAD, "cases": CASES}), "holds neither figures nor what was measured so far"),
    ],
)
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path, content, message):
    out = tmp_path / "out.json"
    out.write_text(content)
    measure = Measure()
    with pytest.raises(ValueError, match=message):
        run_with(out, measure)
    assert out.read_text() == content and not measure.calls


def test_results_of_other_options_are_told_apart(tmp_path):
    out = tmp_path / "out.json"
    run_with(out)
    differs = r"holds results with options=\{\"num_context\": 8\}, not \{\"num_context\": 4\}"
    with pytest.raises(ValueError, match=differs):
        run_with(out, head=HEAD | {"options": {"num_context": 4}})
    with pytest.raises(ValueError, match=r"holds results with weights=null, not \"abc\""):
        run_with(out, head=HEAD | {"weights": "abc"})
    with pytest.raises(ValueError, match="holds results with cases="):
        run_with(out, cases=CASES[:1])


def test_a_table_has_a_row_for_each_case_and_what_was_measured_how(tmp_path):
    run_with(tmp_path / "out.json")
    head, _, first, second, _, note = protocol_table(read_results(tmp_path / "out.json")).splitlines()
    assert head == "| true frames first | against its own frames, dB | against the truth, dB | median depth error, % |"
    assert first == "| 12 | 3.20 ± 1.96 | 30.00 ± 0.00 | 5.0 ± 0.0 |" and second.startswith("| 0 | 2.00 ± 1.96 |")
    assert "Protocol loop, some: 5 test scenes (seeds 2000000 to 2000004)" in note
    assert "A scene to which a figure does not apply is left out of it. way: room; num_context: 8; commit" in note


def test_an_unfinished_file_has_no_table(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_with(tmp_path / "out.json", Measure(stop_after=1))
    with pytest.raises(ValueError, match="protocol='loop' is not finished; give the same command again to go on"):
        protocol_table(read_results(tmp_path / "out.json"))


SMALL = {
    "loop": {"turns": (30,), "tours": (0,)},
    "horizon": {"horizons": (20,), "tours": (0,), "revisits": 4},
    "occlusion": {"strategies": ("recent",), "tours": (0,), "other_frames": 2},
    "retrieval": {"strategies": ("recent",), "contexts": (1,), "tours": (0,), "steps": 4, "num_context": 2},
    "new-content": {},
    "close-ups": {"tours": (0,)},
    "sampling": {"denoising": (1,), "tours": (0,), "steps": 2},
    "domains": {"domains": ("trained", "canyon"), "tours": (0,), "steps": 2, "num_context": 2},
}


def test_no_protocol_is_left_out_here():
    assert {*SMALL, "perceptual"} == set(PROTOCOLS)  # that one needs weights: see test_perceptual


@pytest.mark.parametrize("protocol", SMALL)
def test_every_protocol_measures_test_scenes_and_has_a_table(tmp_path, protocol):
    out, sheet = tmp_path / "new" / "out.json", tmp_path / "sheet.png"
    results = evaluate_protocol(protocol, Noise(), 2, out, sheet, quiet=True, **SMALL[protocol])
    assert results["protocol"] == protocol and results["model"] == "Noise"
    assert {split_of(seed) for seed in results["scenes"]["seeds"]} == {"test"}
    numbers = [value["mean"] for figures in results["figures"] for value in figures["values"].values()]
    assert sum(number is not None for number in numbers) > len(numbers) / 2
    rows = protocol_table(read_results(out)).splitlines()
    # A long walk has a row for all looks, one for those of its one age, and two for its last frames.
    assert len(rows) == 2 + len(results["figures"]) * (4 if protocol == "horizon" else 1) + 2
    assert len({row.count("|") for row in rows[:-2]}) == 1
    assert list(tmp_path.glob("sheet*.png"))


@pytest.mark.parametrize(
    ("protocol", "options", "message"),
    [
        ("lop", {}, "protocol='lop' is unknown. Did you mean 'loop'?"),
        ("loop", {"split": "tests"}, r"split='tests' is unknown. Did you mean 'test'\?"),
        ("loop", {"scenes": 1}, r"scenes=1 is out of range; expected an integer in \[2, 1000\]"),
        ("loop", {"turns": (90, 100)}, "turns=100 is no multiple of 15 degrees, the turn of a step; choose another"),
        ("loop", {"turns": (15,)}, "turns=15 is out of range"),
        ("loop", {"tours": (-1,)}, "tours=-1 is out of range; expected an integer of at least 0"),
        ("loop", {"steps": 5}, "steps=5 has no meaning for protocol='loop'; leave it out"),
        ("loop", {"num_context": 0}, "num_context=0 is out of range"),
        ("horizon", {"horizons": (5,)}, r"horizons=5 is out of range; expected an integer in \[20, 10000\]"),
        ("occlusion", {"strategies": ("fob",)}, "strategies='fob' is unknown. Did you mean 'fov'?"),
        ("retrieval", {"contexts": (0,)}, "contexts=0 is out of range"),
        ("retrieval", {"steps": 3}, "steps=3 is out of range; expected an integer of at least 4"),
        ("sampling", {"denoising": (0,)}, "denoising=0 is out of range"),
        ("sampling", {"num_steps": 2}, "num_steps=2 has no meaning for protocol='sampling'"),
        ("domains", {"domains": ("temple", "cany")}, r"domains='cany' is unknown. Did you mean 'canyon'\?"),
        ("domains", {"steps": 0}, "steps=0 is out of range; expected an integer of at least 1"),
        ("new-content", {"tours": (3,)}, r"tours=\(3,\) has no meaning for protocol='new-content'"),
    ],
    ids=str,
)
def test_bad_options_are_refused_before_anything_is_measured(tmp_path, protocol, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate_protocol(protocol, Noise(), **{"out": tmp_path / "out.json", "quiet": True, **options})
    assert list(tmp_path.iterdir()) == []


class Unused(Noise):
    """Must not be asked for anything."""

    def generate(self, *args):
        raise AssertionError("it was asked to paint")


def test_without_torchmetrics_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"SSIM needs torchmetrics, .*pip install 'ctxmem-env\[evaluate\]'"):
        evaluate_protocol("loop", Unused(), out=tmp_path / "out.json", quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_from_the_command_line(run, fail, untrained_model, tmp_path):
    out = tmp_path / "results.json"
    command = ("evaluate", "--protocol", "sampling", "--model", untrained_model, "--scenes", 2, "--out", out)
    options = ("--denoising", 1, 2, "--steps", 2, "--tours", 1)
    results, err = run(*command, *options)
    assert [figures["denoising"] for figures in results["figures"]] == [1, 2]
    assert "| denoising steps | replay, dB |" in err
    assert all("by_scene" not in v for figures in results["figures"] for v in figures["values"].values())
    assert json.loads(out.read_text())["weights"]
    assert "holds results with cases=" in fail(*command, "--denoising", 1, "--steps", 2, "--tours", 1)
    assert "turns=(90,) has no meaning for protocol='sampling'" in fail(*command, *options, "--turns", 90)
    assert "denoising=(1,) has no meaning for protocol='views'" in fail("evaluate", "--denoising", 1)
