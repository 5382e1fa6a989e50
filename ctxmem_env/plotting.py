"""Pictures of what was measured. Needs matplotlib, the extra `plot`."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

from ctxmem_env.errors import unknown_name

_SIZE = (4.8, 3.6)  # inches
_DPI = 120
_FIGURES = {"success": "success", "spl": "SPL", "seen_area": "ground seen, m²", "return": "return"}


def check_plots() -> None:
    """ValueError where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("plot needs matplotlib, which is not installed; pip install 'ctxmem-env[plot]'.")


def plot_learning_curve(
    curve: str | Path, out: str | Path, names: Sequence[str] | None = None, levels: dict[str, float] | None = None
) -> Path:
    """Write a picture of a training run of agents/; returns its path.

    Args:
        curve: curve.jsonl of the run: a JSON object a line with `steps`, `seconds` and means over the episodes that
            ended since the line before.
        out: PNG file.
        names: figures to show, each in a panel; by default success and SPL, or the ground seen, or else the return.
        levels: horizontal lines with their labels, in the first panel, such as what another policy reaches.

    Raises:
        ValueError: no matplotlib, no such file or no episode in it, a line that is no JSON, or a figure it lacks.
    """
    check_plots()
    from matplotlib.figure import Figure

    curve, out = Path(curve), Path(out)
    if not curve.is_file():
        raise ValueError(f"curve={str(curve)!r}: no such file; expected the curve.jsonl of a training run.")
    try:
        lines = [json.loads(line) for line in curve.read_text().splitlines()]
    except ValueError as error:
        raise ValueError(f"curve={str(curve)!r} has a line that is no JSON ({error}); remove that line.") from error
    lines = [line for line in lines if line.get("episodes")]
    if not lines:
        raise ValueError(f"curve={str(curve)!r} tells of no episode that has ended; train for longer.")
    if names is None:
        names = ("success", "spl") if "success" in lines[0] else ("seen_area",) if "seen_area" in lines[0] else ()
    names = names or ("return",)
    for name in names:
        if any(name not in line for line in lines):
            raise unknown_name("figure", name, set.intersection(*map(set, lines)) - {"steps", "seconds", "episodes"})
    figure = Figure(figsize=(_SIZE[0] * len(names), _SIZE[1]), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        axis.plot([line["steps"] for line in lines], [line[name] for line in lines], marker=".", color="#4477aa")
        for label, level in (levels or {}).items() if name == names[0] else ():
            axis.axhline(level, color="#999999", linestyle="--", linewidth=1)
            axis.annotate(label, (lines[-1]["steps"], level), ha="right", va="bottom", fontsize=8, color="#666666")
        axis.set(xlabel="steps of all worlds", ylabel=_FIGURES.get(name, name), ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{lines[-1]['seconds'] / 60:.0f} minutes of training", fontsize=9)
    figure.savefig(out, dpi=_DPI)
    return out
