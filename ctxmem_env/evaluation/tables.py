"""Markdown tables from a results file: no figure is typed by hand."""

import json
from pathlib import Path

from ctxmem_env.evaluation.horizon import AGES
from ctxmem_env.evaluation.run import ESTIMATED, VERSION

_PAINTERS = {
    "generator": "**{model}**",
    ESTIMATED: "{model}, seeded without depth",
    "copy_best": "copy of the best retrieved frame",
    "copy_newest": "copy of the newest frame",
}
_PROTOCOLS = {"replay": "true frames in memory", "rollout": "its own frames in memory"}


# Headings of figures, and how they are written. What a protocol's file does not hold has no column.
_FIGURES = {
    "own_db": ("against its own frames, dB", 1, 2),
    "own_ssim": ("SSIM to its own", 1, 3),
    "replay_db": ("replay, dB", 1, 2),
    "replay_ssim": ("replay, SSIM", 1, 3),
    "copy_db": ("copy of the best, dB", 1, 2),
    "gain_db": ("better by, dB", 1, 2),
    "rollout_db": ("own frames, dB", 1, 2),
    "rollout_copy_db": ("copy among own frames, dB", 1, 2),
    "rollout_gain_db": ("better by, own frames, dB", 1, 2),
    "loop_db": ("loop, dB", 1, 2),
    "loop_ssim": ("loop, SSIM", 1, 3),
    "first_db": ("first look against the truth, dB", 1, 2),
    "true_db": ("against the truth, dB", 1, 2),
    "pixel_share": ("of all pixels, %", 100, 1),
    "true_ssim": ("SSIM to the truth", 1, 3),
    "depth_error": ("median depth error, %", 100, 1),
    "wall_db": ("views of the wall, dB", 1, 2),
    "open_db": ("other views, dB", 1, 2),
    "wrong_share": ("chosen frames that show nothing, %", 100, 1),
    "shown_share": ("of the wall view shown by the chosen, %", 100, 1),
    "frechet": ("Frechet distance to true frames", 1, 2),
    "frechet_other": ("to those of another walk", 1, 2),
    "frechet_true": ("of true frames to those of another walk", 1, 2),
    "gradient": ("gradients", 1, 2),
    "gradient_true": ("gradients of the truth", 1, 2),
    "gradient_ratio": ("gradients / true", 1, 2),
    "contrast_ratio": ("contrast / true", 1, 2),
    "colour_distance": ("distance of colours", 1, 2),
}
_FIGURES |= {
    f"{way}_{name}": (f"{way}, {name.upper()}", 1, digits)
    for way in ("replay", "loop")
    for name, digits in (("lpips", 4), ("fid", 2), ("fvd", 2))
}
_SPREAD = "spread_"  # before the figures of true frames, see `measure_horizon`
_APPEARANCE = ("gradient_ratio", "contrast_ratio", "colour_distance")
_LABELS = {
    "method": "run",
    "begun": "begun with",
    "trained": "training steps",
    "path": "way",
    "domain": "domain",
    "tour": "true frames first",
    "depth": "their depth",
    "steps": "steps",
    "retrieval": "retrieval",
    "context": "context frames",
    "painter": "painter",
    "denoising": "denoising steps",
    "part": "frames of",
    "looks": "looks",
    "nearer": "times nearer than the opening saw them",
}


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


def finished(results: dict) -> list[dict]:
    """The figures of a run; ValueError where it was cut off before there were any."""
    if "figures" not in results:
        protocol = results.get("protocol")
        raise ValueError(f"results: protocol={protocol!r} is not finished; give the same command again to go on.")
    return results["figures"]


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


def collisions_table(results: dict) -> str:
    """How far surfaces as the generator sees them agree with those of the true scene, a row for each tour."""
    heads = "true frames first", "precision", "recall", "motions judged", "ended in the true scene", "ways differ by"
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in results["figures"]:
        counts = f"{row['motions']:,} | {row['collisions']:,} | {100 * row['error_m']:.1f} cm"
        shares = ["-" if row[name] is None else f"{row[name]:.3f}" for name in ("precision", "recall")]
        lines.append(f"| {row['tour']} | {' | '.join(shares)} | {counts} |")
    row, machine = results["figures"][0], results["machine"]
    first, last = row["scenes"]["seeds"]
    note = (
        f"Random walks of {row['steps']} steps through {last - first + 1} {row['scenes']['split']} scenes (seeds "
        f"{first} to {last}), a body of {row['body_radius']} m; commit {results['commit']}, {machine['cpu']}, "
        f"torch {machine['torch']}."
    )
    return "\n".join([*lines, "", note])


def protocol_table(results: dict) -> str:
    """A row for each case of one protocol's results (see `suite`), a column for each figure, and what was measured how.

    Raises ValueError for results of a run that was not finished.
    """
    figures = finished(results)
    rows = _by_age(figures) if results["protocol"] == "horizon" else figures
    labels = [name for name in _LABELS if len({json.dumps(row.get(name)) for row in rows}) > 1]
    columns = [name for name in _FIGURES if any(name in row["values"] for row in rows)]
    heads = [_LABELS[name] for name in labels] + [_FIGURES[name][0] for name in columns]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [str(row[name]) for name in labels] + [_cell(row["values"].get(name), name) for name in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _note(results, [name for name in _LABELS if name in rows[0] and name not in labels])])


def _by_age(rows: list[dict]) -> list[dict]:
    """For each walk of `horizon` a row of all looks back, one of each group of ages, and two of its last frames."""
    split = []
    for row in rows:
        values = row["values"]
        late, spread = (
            {name: values[prefix + name] for name in _APPEARANCE if prefix + name in values} for prefix in ("", _SPREAD)
        )
        others = {name: value for name, value in values.items() if name not in late and not name.startswith(_SPREAD)}
        parts = {"all": {name: value for name, value in others.items() if "_age_" not in name}}
        for age in AGES:
            end = f"_age_{age}"
            group = {name.removesuffix(end): value for name, value in values.items() if name.endswith(end)}
            if group:
                parts[f"{group['age']['mean']:,.0f} steps after the first"] = group
        parts["last steps of the walk"] = late
        if spread:
            parts["true frames of the whole walk, against those of its last steps"] = spread
        split += [row | {"looks": name, "values": part} for name, part in parts.items()]
    return split


def _cell(value: dict | None, name: str) -> str:
    if value is None or value["mean"] is None:
        return "-"
    _, scale, digits = _FIGURES[name]
    half = "" if value["ci95"] is None else f" ± {scale * value['ci95']:.{digits}f}"
    return f"{scale * value['mean']:.{digits}f}{half}"


def _note(results: dict, shared: list[str]) -> str:
    scenes, machine = results["scenes"], results["machine"]
    if "captures" in scenes:
        places = f"{len(scenes['captures'])} captures, mean and 95 % interval over captures"
    else:
        first, last = scenes["seeds"]
        places = (
            f"{last - first + 1} {scenes['split']} scenes (seeds {first} to {last}), mean and 95 % interval over scenes"
        )
    same = [f"{_LABELS[name]}: {results['figures'][0][name]}" for name in shared]
    same += [f"{name}: {value}" for name, value in results["options"].items() if value is not None]
    by_scene = [value["by_scene"] for row in results["figures"] for value in row["values"].values() if "n" in value]
    fewer = any(None in numbers and any(number is not None for number in numbers) for numbers in by_scene)
    left_out = " A scene to which a figure does not apply is left out of it." if fewer else ""
    return (
        f"Protocol {results['protocol']}, {results['model']}: {places}.{left_out} {'; '.join(same)}; commit "
        f"{', '.join(map(str, results['commits']))}, {machine['cpu']}, torch {machine['torch']}."
    )
