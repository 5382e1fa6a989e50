"""Pictures of walks and of what was measured. Needs matplotlib, the extra `plot`.

Each function gives a matplotlib `Figure`, which a notebook shows, and writes it where `out` says so.
"""

import functools
import importlib.util
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ctxmem_env.errors import unknown_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = (4.8, 3.6)  # inches
_DPI = 120
_FIGURES = {"success": "success", "spl": "SPL", "seen_area": "ground seen, m²", "return": "return"}
_BLUE, _RED, _GREY = "#4477aa", "#ee6677", "#999999"
_ARROWS = 24  # headings along a path


def check_plots() -> None:
    """ValueError where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("plot needs matplotlib, which is not installed; pip install 'ctxmem-env[plot]'.")


def plot_trajectory(infos: Sequence[dict[str, Any]], out: str | Path | None = None) -> "Figure":
    """A walk from above: its path by step, where the camera looked, and where it came back to what it had seen.

    Args:
        infos: what `reset` and the steps gave, in order, of one episode.
        out: PNG file; None: nothing is written.
    """
    poses = np.stack([info["pose"] for info in _checked(infos)])
    figure, (axis,) = _panels(1)
    steps = np.arange(len(poses))
    axis.plot(poses[:, 0], poses[:, 1], color=_GREY, linewidth=1, zorder=1)
    dots = axis.scatter(poses[:, 0], poses[:, 1], c=steps, s=14, cmap="viridis", zorder=2)
    some = poses[np.unique(np.linspace(0, len(poses) - 1, _ARROWS).astype(int))]
    axis.quiver(
        some[:, 0], some[:, 1], np.cos(some[:, 3]), np.sin(some[:, 3]), color=_GREY, width=0.004, scale=18, zorder=1
    )
    axis.plot(*poses[0, :2], marker="s", color=_RED, markersize=7, zorder=3)
    axis.annotate("start", poses[0, :2], textcoords="offset points", xytext=(6, 6), fontsize=8, color=_RED)
    axis.set(xlabel="x, east, m", ylabel="y, north, m", aspect="equal", adjustable="datalim")
    figure.colorbar(dots, ax=axis, label="step", shrink=0.8)
    return _written(figure, out)


def plot_memory(infos: Sequence[dict[str, Any]], out: str | Path | None = None) -> "Figure":
    """What was retrieved on a walk: how long ago those frames were seen, and what share of the view they cover.

    Args:
        infos: what `reset` and the steps gave, in order, of one episode.
        out: PNG file; None: nothing is written.
    """
    infos = _checked(infos)
    figure, (ages, shares) = _panels(2)
    rows = [(step, info["retrieved"], info["overlap"]) for step, info in enumerate(infos)]
    # The frames that open a world are numbered before that of the first view, which nothing but its numbers tells.
    newest = max((int(numbers.max()) - step for step, numbers, _ in rows[1:]), default=0) + 1
    points = [
        (step, newest + step - number, share)
        for step, numbers, overlap in rows
        for number, share in zip(numbers.tolist(), overlap.tolist(), strict=True)
        if number >= 0
    ]
    if points:
        step, age, share = np.array(points).T
        dots = ages.scatter(step, age, c=share, s=8, cmap="viridis", vmin=0, vmax=1)
        figure.colorbar(dots, ax=ages, label="share of the view", shrink=0.8)
    ages.set(xlabel="step", ylabel="age of retrieved frames, steps", ylim=(0, None))
    best = [max(overlap.max(), 0) for _, _, overlap in rows[1:]]
    mean = [overlap[numbers >= 0].mean() if (numbers >= 0).any() else 0 for _, numbers, overlap in rows[1:]]
    shares.plot(range(1, len(rows)), best, color=_BLUE, label="best frame")
    shares.plot(range(1, len(rows)), mean, color=_RED, label="mean of the slots")
    shares.set(xlabel="step", ylabel="share of the view that is covered", ylim=(0, 1.05))
    shares.legend(frameon=False, fontsize=8)
    return _written(figure, out)


def plot_evaluation(results: str | Path, out: str | Path | None = None, names: Sequence[str] | None = None) -> "Figure":
    """What a protocol of `ctxmem evaluate` measured, a panel for each figure, with its 95 % interval.

    Args:
        results: the JSON file that it wrote.
        out: PNG file; None: nothing is written.
        names: figures to show, as the file names them; by default the first three.

    Raises:
        ValueError: no matplotlib, no such file or another one, or a figure that it lacks.
    """
    check_plots()
    rows = _read_rows(Path(results))
    known = list(dict.fromkeys(name for _, values in rows for name in values))
    for name in names or ():
        if name not in known:
            raise unknown_name("figure", name, known)
    names = names or known[:3]
    figure, axes = _panels(len(names), height=max(_SIZE[1], 0.28 * len(rows) + 1))
    for axis, name in zip(axes, names, strict=True):
        shown = [(label, *values[name]) for label, values in rows if name in values]
        places = range(len(shown))
        axis.barh(places, [mean for _, mean, _ in shown], xerr=np.array([ends for *_, ends in shown]).T, color=_BLUE)
        axis.set_yticks(places, [label for label, *_ in shown], fontsize=8)
        axis.invert_yaxis()
        axis.set_xlabel(name.replace("_", " "))
    return _written(figure, out)


def plot_ages(results: str | Path, out: str | Path | None = None) -> "Figure":
    """What is left of a place by the time since it was painted: PSNR in dB of second looks by their age, and intervals.

    Walks of as many steps have one colour; those that open with a single true frame are dashed, without intervals.

    Args:
        results: the JSON file of `ctxmem evaluate --protocol horizon`.
        out: PNG file; None: nothing is written.

    Raises:
        ValueError: no matplotlib, no such file or another one.
    """
    check_plots()
    curves = {label: _ages_of(values) for label, values in _read_rows(Path(results))}
    if not any(map(len, curves.values())):
        raise ValueError(f"results={str(results)!r} hold no looks by age; expected a file of the protocol horizon.")
    figure, axes = _panels(2)
    pairs = (("own_db", "against its own first look"), ("true_db", "against the truth"))
    for axis, (name, title) in zip(axes, pairs, strict=True):
        colours: dict[str, str] = {}
        for label, ages in curves.items():
            at, means, ends = ([ages[age][part] for age in sorted(ages)] for part in ("age", name, f"{name}_ends"))
            colour = colours.setdefault(label.partition(", tour")[0], f"C{len(colours)}")
            alone = label.endswith("tour 0")
            look = {"linestyle": "--", "marker": "."} if alone else {"yerr": ends, "marker": ".", "capsize": 2}
            axis.errorbar(at, means, color=colour, label=label or "all walks", **look)
        axis.set(xscale="log", xlabel="steps since the first look", ylabel="PSNR, dB", title=title)
    axes[0].legend(frameon=False, fontsize=8, loc="lower left")
    return _written(figure, out)


def _ages_of(values: dict[str, tuple[float, tuple[float, float]]]) -> dict[int, dict[str, float]]:
    """Of the values of a long walk, by group of ages: the mean age of its looks, and what they measured."""
    ages: dict[int, dict[str, float]] = {}
    for name, (mean, (half, _)) in values.items():
        figure, found, age = name.rpartition("_age_")
        if found and figure in ("age", "own_db", "true_db"):
            ages.setdefault(int(age), {}).update({figure: mean, f"{figure}_ends": half})
    return ages


def _read_rows(path: Path) -> list[tuple[str, dict[str, tuple[float, tuple[float, float]]]]]:
    """Of each case of a results file its label, and by name the mean and the interval's ends, as distances to it."""
    try:
        results = json.loads(path.read_text())
        figures = results["figures"]
        assert isinstance(figures, list) and figures
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        raise ValueError(f"results={str(path)!r}: expected a JSON file that `ctxmem evaluate` wrote.") from None
    rows = []
    for case in figures:
        if "psnr_db" in case:  # views
            values = {"psnr_db": (case["psnr_db"], (case["ci95_db"], case["ci95_db"]))}
        elif "values" in case:
            values = {
                name: (value["mean"], (value["ci95"] or 0.0,) * 2)
                for name, value in case["values"].items()
                if value["mean"] is not None
            }
        else:  # transfer
            values = {
                name: (value["mean"], (value["mean"] - value["low"], value["high"] - value["mean"]))
                for name, value in case["figures"].items()
            }
        rows.append(({name: value for name, value in case.items() if isinstance(value, str | int)}, values))
    differ = [name for name in rows[0][0] if len({str(labels.get(name)) for labels, _ in rows}) > 1]
    return [(", ".join(f"{name} {labels.get(name)}" for name in differ), values) for labels, values in rows]


def plot_learning_curve(
    curve: str | Path,
    out: str | Path | None = None,
    names: Sequence[str] | None = None,
    levels: dict[str, float] | None = None,
) -> "Figure":
    """A training run of agents/.

    Args:
        curve: curve.jsonl of the run: a JSON object a line with `steps`, `seconds` and means over the episodes that
            ended since the line before.
        out: PNG file; None: nothing is written.
        names: figures to show, each in a panel; by default success and SPL, or the ground seen, or else the return.
        levels: horizontal lines with their labels, in the first panel, such as what another policy reaches.

    Raises:
        ValueError: no matplotlib, no such file or no episode in it, a line that is no JSON, or a figure it lacks.
    """
    check_plots()
    curve = Path(curve)
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
    figure, axes = _panels(len(names))
    for axis, name in zip(axes, names, strict=True):
        axis.plot([line["steps"] for line in lines], [line[name] for line in lines], marker=".", color=_BLUE)
        for label, level in (levels or {}).items() if name == names[0] else ():
            axis.axhline(level, color=_GREY, linestyle="--", linewidth=1)
            axis.annotate(label, (lines[-1]["steps"], level), ha="right", va="bottom", fontsize=8, color="#666666")
        axis.set(xlabel="steps of all worlds", ylabel=_FIGURES.get(name, name), ylim=(0, None))
    figure.suptitle(f"{lines[-1]['seconds'] / 60:.0f} minutes of training", fontsize=9)
    return _written(figure, out)


@functools.cache
def _figure_type() -> type["Figure"]:
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """A figure that a notebook shows, whatever it has been told of matplotlib."""

        def _repr_png_(self) -> bytes:
            file = io.BytesIO()
            self.savefig(file, dpi=_DPI, format="png")
            return file.getvalue()

    return ShownFigure


def _panels(count: int, height: float = _SIZE[1]) -> tuple["Figure", list["Axes"]]:
    check_plots()
    figure = _figure_type()(figsize=(_SIZE[0] * count, height), layout="constrained")
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _written(figure: "Figure", out: str | Path | None) -> "Figure":
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=_DPI)
    return figure


def _checked(infos: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    if not infos or not all(
        isinstance(info, dict) and {"pose", "retrieved", "overlap"} <= info.keys() for info in infos
    ):
        raise ValueError("infos: expected the infos of one episode, those of reset and of each step, in a list.")
    return infos
