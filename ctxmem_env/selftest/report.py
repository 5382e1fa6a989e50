"""The reliability report: what was tried on this machine, and what came of it, in one JSON file."""

import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ctxmem_env.atomic import write_whole
from ctxmem_env.errors import unknown_name
from ctxmem_env.evaluation.run import describe_commit, describe_machine

KEPT = Path(__file__).with_name("reliability.json")  # of the last whole run

# Inputs for each parser of the whole run: the cheaper they are, the more.
INPUTS = {
    "world_file": 10_000,
    "generator_folder": 5_000,
    "policy_file": 4_000,
    "transforms_json": 10_000,
    "context_as_memory": 10_000,
    "minecraft": 5_000,
    "real_estate": 5_000,
    "colmap_binary": 20_000,
    "colmap_text": 20_000,
    "picture": 30_000,
    "config_yaml": 30_000,
    "arguments": 8_000,
    "reset_options": 3_000,
    "actions": 150_000,
    "camera_path": 100_000,
    "checkpoint": 200_000,
    "actions_file": 400_000,
    "web_message": 40_000,
    "web_photograph": 30_000,
    "web_world": 25_000,
    "wan_folder": 30_000,
    "episode_file": 30_000,
}
QUICK_INPUTS = 60
MOST_GROWTH = 2  # percent of resident memory over the last 80 % of a long run
LEAST_SHARE = 0.8  # of what a walker is owed, in a crowd
STEPS, QUICK_STEPS = 100_000, 200


def check_fuzz(full: bool, folder: Path, quiet: bool, parsers: Sequence[str] = tuple(INPUTS)) -> dict[str, Any]:
    from ctxmem_env.selftest.fuzz import fuzz, fuzz_here

    if full:
        return fuzz({name: INPUTS[name] for name in parsers}, folder, quiet=quiet)
    return fuzz_here(dict.fromkeys(parsers, QUICK_INPUTS))


def check_kills(full: bool, folder: Path, quiet: bool) -> dict[str, Any]:
    from ctxmem_env.selftest.kills import BOUNDS, kill_checkpoints, kill_training, kill_walks

    told = {}
    for name, bound in BOUNDS.items():
        (folder / name).mkdir()
        told[f"walk, {name} memory"] = kill_walks(folder / name, 100 if full else 3, bound)
    told["checkpoint"] = kill_checkpoints(folder, 20 if full else 2)
    if full:
        told["training"] = kill_training(folder, 20)
    return told


def check_faults(full: bool, folder: Path, quiet: bool) -> dict[str, Any]:
    from ctxmem_env.selftest.faults import deny_folders, fill_disks, interrupt_videos

    faults = fill_disks(folder) + deny_folders(folder) + interrupt_videos(folder, 5 if full else 1)
    return {"injected": len(faults), "faults": faults}


def check_soak(full: bool, folder: Path, quiet: bool) -> dict[str, Any]:
    from ctxmem_env.selftest.soak import soak

    return soak(folder, steps=STEPS if full else QUICK_STEPS, quiet=quiet)


def check_repeats(full: bool, folder: Path, quiet: bool) -> dict[str, Any]:
    from ctxmem_env.selftest.repeats import repeats

    return repeats(steps=30 if full else 6, batches=(2, 8) if full else (2,))


def check_server(full: bool, folder: Path, quiet: bool) -> dict[str, Any]:
    if "server" not in parts_here():
        raise ValueError("the part server needs FastAPI; run `pip install 'ctxmem-env[serve]'`.")
    from ctxmem_env.selftest.server import QUICK, Load, serve_under_load

    return serve_under_load(Load() if full else QUICK, quiet=quiet)


PARTS: dict[str, Callable[[bool, Path, bool], dict[str, Any]]] = {
    "faults": check_faults,
    "kills": check_kills,
    "repeats": check_repeats,
    "fuzz": check_fuzz,
    "server": check_server,
    "soak": check_soak,
}


def parts_here() -> tuple[str, ...]:
    """Those of `PARTS` that can be tried with what is installed: the server needs the extra `serve`."""
    return tuple(part for part in PARTS if part != "server" or find_spec("uvicorn") is not None)


def read_report(path: str | Path) -> dict[str, dict[str, Any]]:
    """What `make_report` wrote, {} where there is no file; ValueError for one that holds something else."""
    path = Path(path)
    if not path.exists():
        return {}
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"out={str(path)!r} cannot be read ({error}); name another file, or remove it.") from error
    parts = report.values() if isinstance(report, dict) else [None]
    if not all(isinstance(part, dict) and "machine" in part for part in parts):
        raise ValueError(f"out={str(path)!r} holds no report of `ctxmem selftest`; name another file, or remove it.")
    return report


def make_report(
    parts: Sequence[str] = tuple(PARTS),
    full: bool = False,
    out: str | Path | None = None,
    folder: str | Path | None = None,
    quiet: bool = False,
    parsers: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Try the parts in turn, each kept in the file `out` as soon as it is done, beside those that it holds already.

    parsers: those that are fuzzed, by default all; of the others stays what the file holds.

    folder: where the soak and what the fuzzer finds are kept, so that a soak that was cut off goes on; by default they
    are thrown away.

    Returns:
        the report: for each part what it measured, with its machine, commit and whether it was the full one; and
        `failures`, sentences, none where everything held.
    """
    for part in parts:
        if part not in PARTS:
            raise unknown_name("part", part, PARTS)
    _check_parsers(parsers, parts)
    report = {} if out is None else read_report(out)
    told = {"commit": describe_commit(), "machine": describe_machine(), "full": full}
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="ctxmem-selftest-") as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken files are what is tried here
            place = Path(temporary) if folder is None or part not in ("fuzz", "soak") else Path(folder) / part
            if part == "fuzz" and parsers is not None:
                report[part] = _beside(report.get(part), check_fuzz(full, place, quiet, parsers), told)
            else:
                report[part] = PARTS[part](full, place, quiet) | told
        if out is not None:
            write_whole(out, json.dumps(report, indent=1) + "\n")
    return report | {"failures": failures(report)}


def _check_parsers(parsers: Sequence[str] | None, parts: Sequence[str]) -> None:
    for name in parsers or ():
        if name not in INPUTS:
            raise unknown_name("parser", name, INPUTS)
    if parsers is not None and "fuzz" not in parts:
        raise ValueError(f"parsers={list(parsers)}, but fuzz is not among the parts {list(parts)}; add it.")


def _beside(kept: dict[str, Any] | None, fuzzed: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """What came of some parsers beside those of an earlier report; each of the new ones tells of its own run."""
    from ctxmem_env.selftest.fuzz import summed

    if kept is None:
        return fuzzed | told
    new = {
        name: parser | {key: told[key] for key in ("commit", "machine")} for name, parser in fuzzed["parsers"].items()
    }
    whole = {"full": told["full"] and kept.get("full", True)}
    return kept | summed(kept["parsers"] | new) | whole


def failures(report: dict[str, dict[str, Any]]) -> list[str]:
    """What did not hold, a sentence each."""
    found = []
    for name, told in report.get("fuzz", {}).get("parsers", {}).items():
        found += [f"{name}: {finding['error']}" for finding in told["findings"]]
    kills = {name: told for name, told in report.get("kills", {}).items() if isinstance(told, dict) and "kills" in told}
    for name, told in kills.items():
        bad = {key: told.get(key, 0) for key in ("lost", "taken", "different") if told.get(key, 0)}
        found += [f"{name}: {bad} after {told['kills']} kills"] if bad else []
    for fault in report.get("faults", {}).get("faults", []):
        if not fault["documented"] or fault["lost"] or fault["left"]:
            found.append(f"{fault['fault']}, {fault['writer']}: {fault['error']}, lost {fault['lost']}")
    grown = report.get("soak", {}).get("growth_percent", 0)
    if report.get("soak", {}).get("not_finite"):
        found.append(f"the long walk, of which {report['soak']['not_finite']} steps were not finite")
    if grown > MOST_GROWTH:
        found.append(f"the long walk, in which memory is to grow by less than {MOST_GROWTH} %, and grew by {grown} %")
    found += _failures_of_server(report["server"]) if "server" in report else []
    for name, equal in report.get("repeats", {}).get("bit_equal", {}).items():
        found += [] if equal else [f"{name}: frames are not the same to the bit"]
    return found


def _failures_of_server(server: dict[str, Any]) -> list[str]:
    hour, found = server["hour"], []
    if server["fair_share"] < LEAST_SHARE:
        found.append(
            f"walkers are to keep {LEAST_SHARE:.0%} of their share in a crowd, and kept {server['fair_share']:.0%}"
        )
    if hour["growth_percent"] > MOST_GROWTH:
        found.append(
            f"memory of the server is to grow by less than {MOST_GROWTH} %, and grew by {hour['growth_percent']} %"
        )
    for name in ("descriptors", "threads"):
        before, after = hour[name]
        found += [f"the server has {after} {name} after a crowd, and had {before} before"] if after > before else []
    if server.get("full") and hour["made"] < hour["connections"]:
        found.append(f"an hour brings {hour['connections']} connections to the server, and {hour['made']} were made")
    if server["leaks"]:
        found.append(f"the server tells what nobody should know: {sorted(server['leaks'])}")
    return found
