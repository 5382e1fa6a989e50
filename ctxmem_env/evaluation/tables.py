"""Markdown tables from a results file: no figure is typed by hand."""

import json
from pathlib import Path

from ctxmem_env.evaluation.run import ESTIMATED, VERSION

_PAINTERS = {
    "generator": "**{model}**",
    ESTIMATED: "{model}, seeded without depth",
    "copy_best": "copy of the best retrieved frame",
    "copy_newest": "copy of the newest frame",
}
_PROTOCOLS = {"replay": "true frames in memory", "rollout": "its own frames in memory"}


def read_results(path: str | Path) -> dict:
    """A results file. Raises ValueError if it is not one, or of another version."""
    path = Path(path)
    try:
        results = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"results: {path} cannot be read ({error}); make it with `ctxmem evaluate`") from error
    version = results.get("version") if isinstance(results, dict) else None
    if version != VERSION:
        raise ValueError(f"results: {path} has version {version}, expected {VERSION}; make it anew: `ctxmem evaluate`")
    return results


def results_table(results: dict) -> str:
    """PSNR of every painter, a column for each protocol and tour, and what was measured how."""
    runs = list(dict.fromkeys((f["protocol"], f["tour"]) for f in results["figures"]))
    seeds, machine = results["scenes"]["seeds"], results["machine"]
    heads = [f"{_PROTOCOLS[protocol]}, tour of {tour}" for protocol, tour in runs]
    rows = [f"| PSNR in dB, measured | {' | '.join(heads)} |", "|---" * (len(runs) + 1) + "|"]
    for painter, name in _PAINTERS.items():
        found = {(f["protocol"], f["tour"]): f for f in results["figures"] if f["painter"] == painter}
        cells = [f"{found[run]['psnr_db']:.2f} ± {found[run]['ci95_db']:.2f}" for run in runs]
        rows.append(f"| {name.format(model=Path(results['model']).name)} | {' | '.join(cells)} |")
    note = (
        f"Walks of {results['steps']} steps through {seeds[1] - seeds[0] + 1} test scenes (seeds {seeds[0]} to "
        f"{seeds[1]}), mean and 95 % interval over scenes; denoising steps: {results['num_steps']}, context frames: "
        f"{results['num_context']}; commit {results['commit']}, {machine['cpu']}, "
        f"torch {machine['torch']}."
    )
    return "\n".join([*rows, "", note])
