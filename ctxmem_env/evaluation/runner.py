"""Runs a protocol scene by scene into one results file: kept when interrupted, and gone on with by the same call.

A protocol has cases, which are labels with JSON values, and a function that measures one case in a group of scenes and
returns, by figure, one number for each scene, None where it does not apply. Names that begin with an underscore stand
for what is no figure of its own: `_sheet` for rows of frames, others for what is combined over all scenes.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ctxmem_env.atomic import open_whole
from ctxmem_env.evaluation.metrics import mean_interval
from ctxmem_env.evaluation.run import VERSION, describe_commit, describe_machine
from ctxmem_env.evaluation.sheets import save_sheet

_IDENTITY = ("protocol", "model", "weights", "scenes", "options", "cases")

Measure = Callable[..., dict]
Combine = Callable[[dict], dict[str, tuple[float, float]]]


def run_protocol(
    head: Mapping,
    cases: Sequence[dict],
    seeds: Sequence[int],
    measure: Measure,
    out: Path,
    combine: Combine | None = None,
    group: int = 8,
    sheet: Path | None = None,
    quiet: bool = False,
) -> dict:
    """Measure every case in every group of scenes that the file `out` does not hold yet; what is in the file then.

    Args:
        head: protocol, model, weights, scenes and options: what the results are of. JSON types.
        cases: labels of each case, which `measure` takes by name.
        seeds: of the scenes; `group` of them are measured side by side.
        measure: `measure(seeds, **case)`.
        out: written whole after every group of every case. A finished file is returned as it is.
        combine: figures of a case from all that its groups returned.
        sheet: PNG of the first group; each case has its own, with the case in its name, if there are several.

    Raises:
        ValueError: `out` holds something else, of another version, or of other options.
    """
    head = json.loads(json.dumps({"version": VERSION, **head, "cases": list(cases)}))
    results = _found(out, head)
    if "figures" in results:
        return results
    groups = [list(seeds[first : first + group]) for first in range(0, len(seeds), group)]
    pieces = results["pieces"]
    todo = [(part, case) for part in groups for case in cases if _key(part, case) not in pieces]
    if describe_commit() not in results["commits"]:
        results["commits"].append(describe_commit())
    for part, case in tqdm(todo, disable=quiet, desc=head["protocol"], unit="piece", dynamic_ncols=True):
        values = measure(part, **case)
        rows = values.pop("_sheet", [])
        if sheet is not None and part == groups[0] and rows:
            save_sheet(_sheet_path(sheet, case, len(cases)), _even(rows))
        pieces[_key(part, case)] = _plain(values)
        write(out, results)
    results["figures"] = [_figures(case, [pieces[_key(part, case)] for part in groups], combine) for case in cases]
    del results["pieces"]
    write(out, results)
    return results


def write(path: Path, results: dict) -> None:
    """The results as JSON, whole or not at all."""
    with open_whole(path) as file:
        file.write((json.dumps(results, indent=1) + "\n").encode())


def _found(out: Path, head: dict) -> dict:
    """What `out` holds of these results, or the beginning of it."""
    if not out.exists():
        return {**head, "machine": describe_machine(), "commits": [], "pieces": {}}
    advice = "name another file, or remove it"
    try:
        results = json.loads(out.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"out={str(out)!r} cannot be read ({error}); {advice}.") from error
    version = results.get("version") if isinstance(results, dict) else None
    if version != VERSION:
        raise ValueError(f"out={str(out)!r} holds results of version {version}, expected {VERSION}; {advice}.")
    for name in _IDENTITY:
        if results.get(name) != head[name]:
            came, expected = (_short(part.get(name)) for part in (results, head))
            raise ValueError(f"out={str(out)!r} holds results with {name}={came}, not {expected}; {advice}.")
    if not isinstance(results.get("figures", results.get("pieces")), list | dict):
        raise ValueError(f"out={str(out)!r} holds neither figures nor what was measured so far; {advice}.")
    return results


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 200 else f"{text[:200]}..."


def _key(seeds: list[int], case: dict) -> str:
    return ", ".join([*(f"{name}={value}" for name, value in case.items()), f"scenes {seeds[0]} to {seeds[-1]}"])


def _plain(value):
    """JSON of numbers, to six digits; None for what is not finite."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _figures(case: dict, pieces: list[dict], combine: Combine | None) -> dict:
    whole = {name: [value for piece in pieces for value in piece[name]] for name in pieces[0]}
    values = {}
    for name, (mean, half) in (combine(whole) if combine is not None else {}).items():
        values[name] = {"mean": mean, "ci95": half}
    for name, numbers in whole.items():
        if name.startswith("_"):
            continue
        found = [number for number in numbers if number is not None]
        mean, half = mean_interval(torch.tensor(found)) if found else (math.nan, math.nan)
        values[name] = {"mean": mean, "ci95": half, "n": len(found), "by_scene": numbers}
    return {**case, "values": _plain(values)}


def _sheet_path(sheet: Path, case: dict, cases: int) -> Path:
    if cases == 1:
        return sheet
    words = "_".join(f"{name}_{value}" for name, value in case.items()).replace(" ", "_")
    return sheet.with_name(f"{sheet.stem}_{words}{sheet.suffix}")


def _even(rows: list[Tensor]) -> list[Tensor]:
    """Rows of as many frames as the longest one has; the others are black at the end."""
    most = max(len(row) for row in rows)
    return [torch.cat([row, row.new_zeros(most - len(row), *row.shape[1:])]) for row in rows]
