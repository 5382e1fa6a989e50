"""The self-test finds what it looks for, and nothing where nothing is; its report is what the README shows."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ctxmem_env.selftest import faults, kills, report
from ctxmem_env.selftest.fuzz import fuzz, fuzz_here
from ctxmem_env.selftest.mutate import LONGEST, SEPARATOR, mutate
from ctxmem_env.selftest.parsers import PARSERS
from ctxmem_env.selftest.repeats import repeats
from ctxmem_env.selftest.server import QUICK, serve_under_load
from ctxmem_env.selftest.soak import growth_percent, soak
from ctxmem_env.selftest.tables import reliability_section, reliability_summary
from ctxmem_env.selftest.target import Target
from ctxmem_env.selftest.trial import Trial, try_inputs
from ctxmem_env.testing import PoseGenerator

pytestmark = pytest.mark.filterwarnings("ignore")  # broken files are what is tried here


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_fuzzed_passes_as_it_is_and_raises_only_what_it_documents(name, tmp_path):
    trial = Trial(PARSERS[name](tmp_path))
    for seed in trial.target.seeds:
        assert trial.run(seed) in ("", trial.run(seed))
    assert trial.accepted > 0
    try_inputs(trial, 40, seed=1)
    assert trial.findings == [] and trial.inputs == 40


def test_a_parser_that_breaks_is_found_with_the_input_that_breaks_it():
    def run(data):
        value = json.loads(data)["a"]  # KeyError where there is none
        if not isinstance(value, int):
            raise ValueError("a is no number")

    trial = Trial(Target([b'{"a": 1}'], run))
    try_inputs(trial, 300, seed=0)
    errors = [finding["error"] for finding in trial.findings]
    assert any(error.startswith("KeyError: 'a'") for error in errors)
    data = bytes.fromhex(next(f["input"] for f in trial.findings if f["error"].startswith("KeyError")))
    with pytest.raises(KeyError):
        run(data)


def test_something_that_passes_and_should_not_have_is_found():
    def run(data):
        assert len(data) < 3, "too long"

    trial = Trial(Target([b"a"], run))
    trial.run(b"abcd")
    assert trial.findings[0]["error"].startswith("AssertionError: too long") and trial.accepted == 0


def test_mutations_stay_small_and_reach_each_part():
    seeds = [b'{"a": [1, 2]}' + SEPARATOR + bytes(range(256)), b"x: 1\ny: 2" + SEPARATOR + b"abc"]
    rng = np.random.default_rng(0)
    made = [mutate(seeds[i % 2], rng, seeds) for i in range(2_000)]
    assert max(map(len, made)) <= LONGEST
    parts = [data.split(SEPARATOR) for data in made[::2]]
    for at in (0, 1):
        assert len({part[at] for part in parts if len(part) == 2}) > 100
    assert len(set(made)) > 1_500


def test_the_same_seed_tries_the_same_inputs():
    def tried(seed):
        seen = []
        try_inputs(Trial(Target([b'{"a": 1}'], seen.append)), 50, seed)
        return seen

    assert tried(3) == tried(3) != tried(4)


@pytest.mark.slow
def test_parsers_are_tried_in_processes_of_their_own_and_what_is_done_is_not_done_again(tmp_path):
    told = fuzz({"camera_path": 300, "world_file": 60}, tmp_path, quiet=True)
    assert told["inputs"] == 360 and told["undocumented"] == 0
    (tmp_path / "world_file.json").write_text(json.dumps(told["parsers"]["world_file"] | {"accepted": -1}))
    again = fuzz({"camera_path": 300, "world_file": 60}, tmp_path, quiet=True)
    assert again["parsers"]["world_file"]["accepted"] == -1
    assert again["parsers"]["camera_path"] == told["parsers"]["camera_path"]


def test_unknown_parsers_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"parser='world_fil' is unknown. Did you mean 'world_file'"):
        fuzz({"world_fil": 3}, tmp_path)


def test_every_parser_is_part_of_the_whole_run():
    assert report.INPUTS.keys() == PARSERS.keys()


@pytest.mark.parametrize(
    "fault", [pytest.param(faults.fill_disks, marks=pytest.mark.slow), faults.deny_folders], ids=["full", "read-only"]
)
def test_a_fault_of_the_disk_loses_nothing_that_was_there(fault, tmp_path):
    outcomes = fault(tmp_path)
    assert {outcome["writer"] for outcome in outcomes} == {writer.name for writer in faults.writers()}
    for outcome in outcomes:
        assert outcome["documented"] and not outcome["lost"] and not outcome["left"], outcome


@pytest.mark.slow
def test_a_signal_in_the_midst_of_a_video_leaves_the_former_one(tmp_path):
    outcomes = faults.interrupt_videos(tmp_path, times=1)
    assert [outcome["error"] for outcome in outcomes] == ["exit 1", "exit -15", "exit -9"]
    assert not any(outcome["lost"] or outcome["left"] for outcome in outcomes)


def test_what_a_fault_loses_is_told(tmp_path):
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("left")
    writer = faults.Writer("a", None)
    told = faults._outcome("full disk", "tmpfs", writer, RuntimeError("?"), {"a": b"old"}, tmp_path)
    assert (told["lost"], told["left"], told["documented"]) == (["a"], ["b"], False)
    assert report.failures({"faults": {"faults": [told]}}) == ["full disk, a: RuntimeError: ?, lost ['a']"]


def test_a_process_that_ends_by_itself_is_no_kill():
    with pytest.raises(RuntimeError, match="ended by itself"), kills.child(lambda: None) as pid:
        kills.os.waitid(kills.os.P_PID, pid, kills.os.WEXITED | kills.os.WNOWAIT)


def test_a_few_kills_lose_nothing(tmp_path):
    told = kills.kill_walks(tmp_path, 3, kills.BOUNDS["bounded"])
    assert told["kills"] == 3 and told["steps"] >= 1
    assert told["lost"] == told["taken"] == told["different"] == 0


def test_memory_that_grows_is_told():
    assert growth_percent([(i, 100.0) for i in range(100)]) == 0
    assert growth_percent([(i, 50.0 if i < 10 else 100.0) for i in range(100)]) == 0
    assert growth_percent([(i, 100.0 + i / 10) for i in range(100)]) == pytest.approx(
        100 * (109.9 / 101.9 - 1), abs=1e-3
    )
    assert growth_percent([(0, 100.0), (1, 103.0)]) == 3


def test_a_soak_that_was_cut_off_goes_on_to_the_same_end(tmp_path):
    arguments = {"model": PoseGenerator(), "capacity": 20, "quiet": True, "weighings": 5}
    whole = soak(tmp_path / "whole", steps=40, save_every=15, **arguments)
    assert whole["not_finite"] == 0 and whole["lives"] == 1 and 0 < whole["drift_m"] < 1e-4
    assert whole["turn_error"] < 1e-6

    class Stop(Exception):
        pass

    class Stops(PoseGenerator):
        def generate(self, *arguments):
            self.num_generated = getattr(self, "num_generated", 0) + 1
            if self.num_generated > 25:
                raise Stop
            return super().generate(*arguments)

    Stops.__qualname__, Stops.__module__ = PoseGenerator.__qualname__, PoseGenerator.__module__
    with pytest.raises(Stop):
        soak(tmp_path / "cut", steps=40, save_every=15, **arguments | {"model": Stops()})
    cut = soak(tmp_path / "cut", steps=40, save_every=15, **arguments)
    for name in ("steps", "collisions", "drift_m", "turn_error"):
        assert cut[name] == whole[name], name
    with pytest.raises(ValueError, match=r"holds another walk than one of .*name another folder"):
        soak(tmp_path / "cut", steps=80, **arguments)


def test_repeats_tell_what_is_the_same_and_what_is_not():
    told = repeats(PoseGenerator(), steps=6, batches=(2,))
    assert all(told["bit_equal"].values()) and told["apart"]["batch of 2"]["largest"] == 0

    class Forgets(PoseGenerator):
        """Draws from randomness that is not the world's."""

        def generate(self, *arguments):
            view = super().generate(*arguments)
            view.frames[:, -1] = np.random.default_rng().integers(256)
            return view

    told = repeats(Forgets(), steps=4, batches=(2,))
    assert not any(told["bit_equal"].values()) and told["apart"]["batch of 2"]["largest"] > 0


@pytest.fixture
def quick(monkeypatch):
    """Two parts that take no time."""
    fuzzed = fuzz_here({"camera_path": 5})
    monkeypatch.setattr(
        report, "PARTS", {"fuzz": lambda *_: fuzzed, "repeats": lambda *_: {"bit_equal": {"again": False}}}
    )


def test_the_command_keeps_a_report_and_fails_where_something_did_not_hold(quick, run, tmp_path, capsys):
    told, _ = run("selftest", "--parts", "fuzz", "--out", tmp_path / "r.json")
    assert told["fuzz"]["inputs"] == 5 and told["failures"] == []
    from ctxmem_env.cli import main

    with pytest.raises(SystemExit, match="1"):
        main(["selftest", "--parts", "repeats", "--out", str(tmp_path / "r.json")])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["failures"] == ["again: frames are not the same to the bit"]
    kept = report.read_report(tmp_path / "r.json")
    assert set(kept) == {"fuzz", "repeats"} and kept["fuzz"]["machine"]["cpu"]


def test_bad_reports_parts_and_results_are_refused(fail, tmp_path):
    (tmp_path / "r.json").write_text('{"fuzz": 3}')
    assert "holds no report of `ctxmem selftest`" in fail("selftest", "--parts", "fuzz", "--out", tmp_path / "r.json")
    assert "part='fuz' is unknown. Did you mean 'fuzz'" in fail("selftest", "--parts", "fuz")
    assert "cannot be read" in fail("selftest", "--parts", "fuzz", "--out", tmp_path)


def test_tables_show_the_committed_report():
    kept = report.read_report(report.KEPT)
    text = reliability_summary(kept) + reliability_section(kept)
    for name, told in kept["fuzz"]["parsers"].items():
        assert f"| {name} | {told['inputs']:,} |" in text
    assert all(failure in text for failure in report.failures(kept))
    assert kept["fuzz"]["inputs"] >= 1_000_000 and f"{kept['fuzz']['inputs']:,} inputs" in text


@pytest.mark.slow
def test_chosen_parsers_are_tried_beside_those_of_an_earlier_report(run, fail, tmp_path):
    kept = {"fuzz": fuzz_here({"camera_path": 5, "checkpoint": 5}) | {"machine": {"cpu": "old", "torch": "1"}}}
    kept["fuzz"] |= {"full": True, "commit": "0"}
    (tmp_path / "r.json").write_text(json.dumps(kept))
    told, _ = run("selftest", "--parts", "fuzz", "--parsers", "camera_path", "--out", tmp_path / "r.json")
    assert told["fuzz"]["inputs"] == 65 and told["fuzz"]["parsers"]["checkpoint"]["inputs"] == 5
    assert told["fuzz"]["machine"]["cpu"] == "old" and told["fuzz"]["full"] is False
    own = told["fuzz"]["parsers"]["camera_path"]["machine"]["cpu"]
    del told["failures"]
    assert "old, torch 1" in reliability_section(told) and f"{own}, torch" in reliability_section(told)
    assert "parser='camera' is unknown" in fail("selftest", "--parts", "fuzz", "--parsers", "camera")
    assert "fuzz is not among the parts" in fail("selftest", "--parts", "soak", "--parsers", "camera_path")


@pytest.mark.slow
def test_a_server_in_a_small_crowd_gives_its_visitors_their_share_and_keeps_nothing(untrained_model):
    load = replace(QUICK, clients=16, seconds=2.0, returns=60, weighings=2)
    told = serve_under_load(load, str(untrained_model)) | {"machine": {"cpu": "a", "torch": "b"}}
    assert told["leaks"] == {} and told["fair_share"] > 0.5
    assert told["hour"]["made"] >= 60 and told["hour"]["descriptors"][1] <= told["hour"]["descriptors"][0]
    assert all(len(rates) == 1 and rates[0] > 0 for rates in told["steps_per_second"].values())
    assert "| a crowd at the web page | 16 clients" in reliability_summary({"server": told})
    assert "steps a second of the walkers" in reliability_section({"server": told})


def test_without_the_extra_the_server_is_left_out_or_says_what_to_install(fail, monkeypatch):
    assert report.parts_here() == tuple(report.PARTS)
    monkeypatch.setattr(report, "find_spec", lambda name: None)
    assert "server" not in report.parts_here()
    assert "pip install 'ctxmem-env[serve]'" in fail("selftest", "--parts", "server")


@pytest.mark.slow
def test_a_server_that_does_not_begin_tells_why():
    with pytest.raises(RuntimeError, match=r"`ctxmem serve` did not begin: .*model='nono' is unknown"):
        serve_under_load(QUICK, "nono")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"fair_share": 0.79}, "walkers are to keep 80% of their share in a crowd, and kept 79%"),
        ({"leaks": {"Traceback": 1}}, "the server tells what nobody should know: ['Traceback']"),
        ({"growth_percent": 2.5}, "memory of the server is to grow by less than 2 %, and grew by 2.5 %"),
        ({"descriptors": [7, 8]}, "the server has 8 descriptors after a crowd, and had 7 before"),
        ({"threads": [7, 9]}, "the server has 9 threads after a crowd, and had 7 before"),
        ({"made": 99}, "an hour brings 100 connections to the server, and 99 were made"),
    ],
)
def test_what_a_server_does_not_keep_is_told(change, text):
    hour = {"made": 100, "connections": 100, "growth_percent": 0.1, "descriptors": [7, 7], "threads": [11, 10]}
    server = {"fair_share": 0.8, "leaks": {}, "full": True, "hour": hour}
    assert report.failures({"server": server}) == []
    server |= {name: value for name, value in change.items() if name in server}
    hour |= {name: value for name, value in change.items() if name in hour}
    assert report.failures({"server": server}) == [text]
