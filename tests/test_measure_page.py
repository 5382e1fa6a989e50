"""What is measured of the web page, and how it is told."""

import os
import subprocess
import sys
import time

import pytest
from measure_page import cpu_seconds, measure

from ctxmem_env.bench.tables import benchmarks_section, benchmarks_summary


def results(realtime):
    row = {"frames_per_second": 13.4, "slowest": 12.0, "fastest": 14.0, "first_frame_s": 0.51}
    row |= {"latest_first_frame_s": 0.93, "server_cpu_ms": 31.0, "browser_cpu_ms": 22.0, "sent_per_second": 19.5}
    machine = {"cpu": "A CPU", "cores": 2, "threads": 1, "gpu": None, "torch": "2"}
    shared = {"realtime": realtime, "load_before": 0.4, "seconds": 10.0, "repeats": 3, "page_most": 14.3}
    browsers = [row | {"number": 1}, row | {"number": 4, "frames_per_second": 9.5}]
    return {"bench": "page", "machine": machine, "browsers": browsers, "command": "python measure.py"} | shared


def test_figures_of_the_page_are_told_beside_the_other_benchmarks():
    text = benchmarks_section({"page": results(False)})
    assert "| 4 | 9.5 | 12.0 to 14.0 | 0.51 s, at most 0.93 s | 31 ms, 22 ms | 19.5 |" in text
    assert "load average of the machine was 0.4 before a repeat." in text and "`python measure.py`; A CPU" in text
    assert "before a repeat, before other work." in benchmarks_section({"page": results(True)})
    short = benchmarks_summary({"page": results(False)})
    assert "| the web page, one browser | 13 frames a second, the first after 0.5 s | A CPU, 1 thread |" in short
    assert "| the web page, 4 browsers, each | 10 frames a second" in short


def test_the_time_of_a_process_is_that_of_those_below_it_too():
    work = "import time\nwhile time.process_time() < 0.5: pass\nprint(1, flush=True); input()"
    before = cpu_seconds(os.getpid())
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        alone = cpu_seconds(child.pid)
        spent = cpu_seconds(os.getpid()) - before
        child.communicate(b"\n")
    assert 0.45 < alone <= spent + 1e-9  # both are whole ticks


@pytest.mark.slow
def test_browsers_are_counted_each_in_a_world_of_its_own(untrained_model):
    began = time.monotonic()
    found = measure(str(untrained_model), numbers=(1, 2), seconds=2.0, repeats=1)
    assert [row["number"] for row in found["browsers"]] == [1, 2] and found["page_most"] == 14.3
    for row in found["browsers"]:
        assert 0 < row["slowest"] <= row["frames_per_second"] <= row["fastest"] <= 15
        assert 0 < row["first_frame_s"] <= row["latest_first_frame_s"] < time.monotonic() - began
        assert row["server_cpu_ms"] > 0 and row["browser_cpu_ms"] > 0 and 0 < row["sent_per_second"] <= 21
    assert "command" in found and found["machine"]["cores"] >= 1
