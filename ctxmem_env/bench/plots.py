"""A picture of each benchmark's results. Needs matplotlib, the extra `plot`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ctxmem_env.plotting import check_plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL = (4.8, 3.6)  # inches
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
_STEP_PARTS = ("collision", "retrieval", "encoding", "denoising", "rest")
_TRAIN_PARTS = ("repainting", "forward", "backward", "update")
_DPI = 120


def save_plot(results: dict, folder: str | Path) -> Path:
    """Write bench_NAME.png of a benchmark's results into `folder`; returns its path."""
    check_plots()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"bench_{results['bench']}.png"
    _PICTURES[results["bench"]](results).savefig(path, dpi=_DPI)
    return path


def _panels(results: dict, count: int) -> tuple["Figure", list["Axes"]]:
    """A figure of `count` panels side by side, headed by the machine."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_PANEL[0] * count, _PANEL[1]), layout="constrained")
    machine = results["machine"]
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    figure.suptitle(machine["gpu"] or f"{machine['cpu']}, {threads}", fontsize=9)
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _stack(axis: "Axes", rows: Sequence[dict], label: str, parts: Sequence[str]) -> None:
    """One bar for each row, named by row[label], of the milliseconds row[part_ms]."""
    names, bottom = [_name(row[label]) for row in rows], [0.0] * len(rows)
    for part, colour in zip(parts, _COLOURS, strict=False):
        values = [row[f"{part}_ms"] for row in rows]
        axis.bar(names, values, bottom=bottom, label=part, color=colour)
        bottom = [low + value for low, value in zip(bottom, values, strict=True)]
    axis.set_ylabel("milliseconds")


def _name(value: int | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def _step(results: dict) -> "Figure":
    figure, axes = _panels(results, 2 if results["contexts"] else 1)
    _stack(axes[0], results["histories"], "history", _STEP_PARTS)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    axes[0].set(xlabel="frames in memory", title=f"A step, {results['num_context']} context frames")
    if results["contexts"]:
        _stack(axes[1], results["contexts"], "num_context", _STEP_PARTS)
        axes[1].set(xlabel="context frames", title=f"A step, {results['contexts'][0]['history']:,} frames in memory")
    return figure


def _retrieval(results: dict) -> "Figure":
    figure, axes = _panels(results, 1)
    for path, colour in zip(results["paths"], _COLOURS, strict=False):
        rows = path["histories"]
        axes[0].plot(*zip(*((row["history"], row["query_ms"]) for row in rows), strict=True), "o-", color=colour)
        axes[0].lines[-1].set_label(path["path"])
    axes[0].set(xscale="log", xlabel="frames in memory", ylabel="milliseconds", title="A choice of context")
    axes[0].set_ylim(bottom=0)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def _vector(results: dict) -> "Figure":
    figure, axes = _panels(results, 2 if "ppo" in results else 1)
    batches = results["batches"]
    sizes = [batch["num_envs"] for batch in batches]
    axes[0].plot(sizes, [batch["env_steps_per_second"] for batch in batches], "o-", color=_COLOURS[0])
    axes[0].set_xscale("log", base=2)
    axes[0].set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=7)
    axes[0].set_ylim(0, 1.1 * max(batch["env_steps_per_second"] for batch in batches))
    axes[0].set(xlabel="worlds", ylabel="env-steps a second, in all", title="Worlds in one batch")
    if "ppo" in results:
        ppo = results["ppo"]
        parts = ("environment", "forward", "update", "rest")
        axes[1].bar(parts, [100 * ppo[f"{part}_share"] for part in parts], color=_COLOURS[:4])
        axes[1].set(
            ylabel="% of the time", title=f"PPO on {ppo['num_envs']} worlds: {ppo['ratio']:.2f} of the bare rate"
        )
    return figure


def _memory(results: dict) -> "Figure":
    figure, axes = _panels(results, 2)
    names = [memory["eviction"] for memory in results["memories"]]
    for offset, (key, label) in zip((-0.2, 0.2), (("first_db", "first"), ("revisit_db", "again")), strict=True):
        places = [place + offset for place in range(len(names))]
        axes[0].bar(places, [memory[key] for memory in results["memories"]], 0.4, label=label)
    axes[0].set_xticks(range(len(names)), names, fontsize=8)
    axes[0].legend(frameon=False, fontsize=8)
    axes[0].set(
        ylabel="PSNR, dB", title=f"A place after {results['steps']:,} steps, {results['capacity']:,} frames kept"
    )
    soak = results["soak"]
    steps = [round(share * soak["steps"]) for share in (0.2, 0.6, 1.0)]
    resident = soak["resident_mb"]
    axes[1].plot(steps, [float("nan") if value is None else value for value in resident], "o-", color=_COLOURS[0])
    axes[1].set_ylim(0, 1.1 * max((value for value in resident if value is not None), default=1.0))
    axes[1].set(xlabel="steps", ylabel="memory of the process, MB", title="A long walk without the network")
    return figure


def _train(results: dict) -> "Figure":
    figure, axes = _panels(results, 1)
    _stack(axes[0], results["cases"], "case", _TRAIN_PARTS)
    axes[0].tick_params(axis="x", labelsize=7)
    axes[0].set(title=f"A training step of {results['targets']} targets")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    return figure


_PICTURES = {"step": _step, "retrieval": _retrieval, "vector": _vector, "memory": _memory, "train": _train}
