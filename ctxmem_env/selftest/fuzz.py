"""Inputs by the hundred thousand on every parser: nothing may come out but the errors that it documents.

Each parser runs in a process of its own, with bounds on what one input may take. A share of the inputs is guided by the
code that they reach, with atheris (`pip install "ctxmem-env[fuzz]"`); the others by the texts of the errors that come.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ctxmem_env.atomic import write_whole
from ctxmem_env.errors import check_integer, unknown_name
from ctxmem_env.selftest.parsers import PARSERS
from ctxmem_env.selftest.trial import MOST_KEPT, REPORT, Trial, try_inputs

_GUIDED = 0.05  # share of the inputs, which cost several times as much


def fuzz(runs: dict[str, int], folder: str | Path, seed: int = 0, quiet: bool = False) -> dict[str, Any]:
    """Try so many inputs on each of the parsers, by name (`ctxmem_env.selftest.parsers.PARSERS`).

    folder: where the results of each parser are kept, so that what was cut off goes on with the next one, and the
    inputs that were found to break something.

    Returns:
        inputs, in all, and how many of them were guided; undocumented, findings in all; parsers: for each inputs,
        guided, accepted (those that passed), slowest_ms of processor time, seconds, and findings: what came out, and
        the input in hexadecimal.
    """
    for name, count in runs.items():
        if name not in PARSERS:
            raise unknown_name("parser", name, PARSERS)
        check_integer(f"runs of {name}", count, 1)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parsers = {}
    for name, count in runs.items():
        path = folder / f"{name}.json"
        if not path.exists():
            write_whole(path, json.dumps(_try(name, count, seed)))
        parsers[name] = told = json.loads(path.read_text())
        for i, finding in enumerate(told["findings"]):
            (folder / f"{name}_{i}").write_bytes(bytes.fromhex(finding["input"]))
        if not quiet:
            print(f"{name}: {told['inputs']:,} inputs, {len(told['findings'])} findings", file=sys.stderr, flush=True)
    return summed(parsers)


def fuzz_here(runs: dict[str, int], seed: int = 0) -> dict[str, Any]:
    """The same in this process, without its bounds and unguided: for a few inputs, which seldom kill a process."""
    parsers = {}
    for name, count in runs.items():
        began = time.monotonic()
        with tempfile.TemporaryDirectory(dir=_fast_disk(), prefix="ctxmem-fuzz-") as place:
            trial = Trial(PARSERS[name](Path(place)))
            try_inputs(trial, count, seed)
        parsers[name] = trial.told() | {"guided": 0, "seconds": round(time.monotonic() - began, 1)}
    return summed(parsers)


def summed(parsers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What came of all parsers, with the sums."""
    told = {name: sum(parser[name] for parser in parsers.values()) for name in ("inputs", "guided")}
    return told | {"undocumented": sum(len(parser["findings"]) for parser in parsers.values()), "parsers": parsers}


def _fast_disk() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _try(name: str, runs: int, seed: int) -> dict[str, Any]:
    """One parser in processes of its own, another one wherever the last one died."""
    began = time.monotonic()
    guided = round(_GUIDED * runs) if find_spec("atheris") is not None else 0
    told = {"inputs": 0, "guided": 0, "accepted": 0, "slowest_ms": 0.0, "findings": []}
    while told["inputs"] < runs and len(told["findings"]) < MOST_KEPT:
        way = "guided" if told["inputs"] < guided else "blind"
        found = _in_process(name, (guided if way == "guided" else runs) - told["inputs"], seed + told["inputs"], way)
        told["guided"] += found["inputs"] if way == "guided" else 0
        for part in ("inputs", "accepted", "findings"):
            told[part] += found[part]
        told["slowest_ms"] = max(told["slowest_ms"], found["slowest_ms"])
    return told | {"seconds": round(time.monotonic() - began, 1)}


def _in_process(name: str, runs: int, seed: int, way: str) -> dict[str, Any]:
    """What came of up to `runs` inputs; that the process died before is a finding, too."""
    with tempfile.TemporaryDirectory(dir=_fast_disk(), prefix="ctxmem-fuzz-") as place:
        report, log, last = (Path(place) / file for file in (REPORT, "log", "last"))
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "ctxmem_env.selftest.trial", name, str(runs), str(seed), place, way]
        with open(log, "wb") as file:
            code = subprocess.run(command, env=environment, stdout=file, stderr=file, check=False).returncode
        found = json.loads(report.read_text()) if report.exists() else Trial.nothing()
        if code != 0 or found["inputs"] < runs:
            tail = log.read_bytes()[-2000:].decode(errors="replace")
            if not last.exists():
                raise RuntimeError(f"the fuzzer of {name} did not begin: {tail}")
            error = f"the process ended with {code}: {tail[-400:]}"
            found["findings"].append({"error": error, "input": last.read_bytes().hex()})
            found["inputs"] = max(found["inputs"], 1)
    return found
