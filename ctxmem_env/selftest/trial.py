"""One parser in a process: inputs that are changed and tried, and a record of what came out.

python -m ctxmem_env.selftest.trial PARSER INPUTS SEED FOLDER guided|blind    # what `ctxmem_env.selftest.fuzz` runs
"""

import json
import os
import re
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ctxmem_env.selftest.mutate import LONGEST, mutate
from ctxmem_env.selftest.target import Target

SECONDS, BYTES = 10.0, 1 << 31  # what one input may take of the processor, and of memory beyond that of the process
MOST_KEPT = 200  # findings of one parser
REPORT = "report.json"


class Trial:
    """A parser and what came of the inputs that it was given."""

    def __init__(self, target: Target, place: Path | None = None):
        self.target, self.place = target, place
        self.inputs = self.accepted = 0
        self.slowest = 0.0
        self.findings: list[dict[str, str]] = []
        self._seen: set[str] = set()

    def run(self, data: bytes) -> str:
        """Try one input; "" where it passes, else the error's text without its numbers."""
        if self.place is not None:
            (self.place / "last").write_bytes(data)
        began = time.process_time()
        outcome = ""
        try:
            self.target.run(data)
            self.accepted += 1
        except self.target.documented as error:
            outcome = re.sub(r"[0-9]+|'[^']*'", "", f"{type(error).__name__}: {error}")[:120]
        except Exception as error:
            outcome = self._find(error, data)
        seconds = time.process_time() - began
        self.inputs += 1
        self.slowest = max(self.slowest, seconds)
        if seconds > SECONDS:
            self._keep(f"it took {seconds:.1f} s", "slow", data)
        if self.place is not None and (self.inputs % 200 == 0 or seconds > 1):
            self.write()
        return outcome

    def _find(self, error: Exception, data: bytes) -> str:
        frames = traceback.extract_tb(error.__traceback__)
        where = "; ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-3:])
        self._keep(f"{type(error).__name__}: {str(error)[:200]} ({where})", f"{type(error).__name__} {where}", data)
        return f"{type(error).__name__} {where}"

    def _keep(self, text: str, kind: str, data: bytes) -> None:
        if kind not in self._seen and len(self.findings) < MOST_KEPT:
            self._seen.add(kind)
            self.findings.append({"error": text, "input": data.hex()})

    def told(self) -> dict[str, Any]:
        told = {"inputs": self.inputs, "accepted": self.accepted, "slowest_ms": round(1000 * self.slowest, 1)}
        return told | {"findings": self.findings}

    @staticmethod
    def nothing() -> dict[str, Any]:
        """What is told of a process that ended before it told anything."""
        return {"inputs": 0, "accepted": 0, "slowest_ms": 0.0, "findings": []}

    def write(self) -> None:
        unfinished = self.place / "unfinished"
        unfinished.write_text(json.dumps(self.told()))
        unfinished.replace(self.place / REPORT)


def try_inputs(trial: Trial, runs: int, seed: int) -> None:
    """Inputs that are changed, and kept to be changed again where another text came out than ever before."""
    rng = np.random.default_rng(seed)
    pool, texts = list(trial.target.seeds), set()
    for data in pool[:runs]:
        trial.run(data)
    while trial.inputs < runs:
        # Every other time one of those that came last.
        first = max(0, len(pool) - 20) if rng.random() < 0.5 else 0
        data = mutate(pool[int(rng.integers(first, len(pool)))], rng, pool)
        text = trial.run(data)
        if text not in texts and len(pool) < 2_000:
            texts.add(text)
            pool.append(data)


def _try_guided(trial: Trial, runs: int, seed: int, place: Path) -> None:
    import atheris

    corpus = place / "corpus"
    corpus.mkdir()
    for i, data in enumerate(trial.target.seeds):
        (corpus / str(i)).write_bytes(data)

    def change(data: bytes, largest: int, number: int) -> bytes:
        rng = np.random.default_rng(number)
        return atheris.Mutate(data, largest) if rng.random() < 0.2 else mutate(data, rng, trial.target.seeds)[:largest]

    def try_one(data: bytes) -> None:
        trial.run(data)
        if trial.inputs >= runs:
            trial.write()
            os._exit(0)

    longest = max(LONGEST, *(2 * len(data) for data in trial.target.seeds))
    options = [f"-max_len={longest}", f"-seed={seed + 1}", f"-timeout={int(20 * SECONDS)}", "-rss_limit_mb=0"]
    options += ["-len_control=0", "-verbosity=0", f"-artifact_prefix={place}/"]
    atheris.Setup(["fuzz", str(corpus), *options], try_one, custom_mutator=change)
    atheris.Fuzz()


def main(words: Sequence[str]) -> None:
    name, runs, seed, place = words[0], int(words[1]), int(words[2]), Path(words[3])
    if words[4] == "guided":
        import atheris

        with atheris.instrument_imports(include=["ctxmem_env", "yaml"]):
            from ctxmem_env.selftest.parsers import PARSERS

            files = place / "files"
            files.mkdir()
            target = PARSERS[name](files)  # within, for it imports the parser itself
    else:
        from ctxmem_env.selftest.parsers import PARSERS

        files = place / "files"
        files.mkdir()
        target = PARSERS[name](files)
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + BYTES, resource.RLIM_INFINITY))
    trial = Trial(target, place)
    if words[4] == "guided":
        _try_guided(trial, runs, seed, place)
    try_inputs(trial, runs, seed)
    trial.write()


def _address_space() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmSize:"))


if __name__ == "__main__":
    main(sys.argv[1:])
