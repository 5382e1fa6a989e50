"""A model's figures in short: a line for each question that the protocols answer."""

from pathlib import Path

from ctxmem_env.evaluation.run import ESTIMATED
from ctxmem_env.evaluation.tables import finished, read_results

_HEADS = "asked", "after a tour of 12", "after none", "to compare with", "aimed at"
_TOURS = 12, 0


def read_all(folder: str | Path) -> dict[str, dict]:
    """The results that a summary is made from, by the end of their files' names.

    Raises ValueError for a file that is missing or of another version.
    """
    return {end: read_results(Path(folder) / f"results{end}.json") for end in _LINES}


def summary_table(results: dict[str, dict]) -> str:
    """What `read_all` has found in short, in Markdown; ValueError where a run is not finished."""
    told = (line for end, lines_of in _LINES.items() for line in lines_of(finished(results[end])))
    return "\n".join(f"| {' | '.join(line)} |" for line in (_HEADS, ("---",) * len(_HEADS), *told))


def _means(rows: list[dict], name: str, **labels: object) -> list[float]:
    """The mean over scenes of one figure after a tour and after none, among the rows with these labels."""
    found = [row for row in rows if all(row[label] == value for label, value in labels.items())]
    return [next(row["values"][name]["mean"] for row in found if row["tour"] == tour) for tour in _TOURS]


def _told(numbers: list[float], digits: int = 1) -> list[str]:
    return [f"{number:.{digits}f}" for number in numbers]


def _walks(rows: list[dict]) -> list[tuple[str, ...]]:
    def psnr(protocol: str, painter: str) -> list[str]:
        found = {
            row["tour"]: row["psnr_db"] for row in rows if (row["protocol"], row["painter"]) == (protocol, painter)
        }
        return _told([found[tour] for tour in _TOURS])

    lines = []
    for told, protocol, aim in (("true frames", "replay", "27, and copies + 5"), ("its own frames", "rollout", "")):
        copies = f"copies of the best frame: {', '.join(psnr(protocol, 'copy_best'))}"
        lines.append((f"50 steps, {told} in memory, dB", *psnr(protocol, "generator"), copies, aim))
        lines.append((f"50 steps, {told} in memory, seeded without depth, dB", *psnr(protocol, ESTIMATED), copies, ""))
    return lines


def _loops(rows: list[dict]) -> list[tuple[str, ...]]:
    turn, room = (_told(_means(rows, "own_db", path=path)) for path in ("turn 360", "room"))
    return [
        ("360 degrees and back, against its own frames, dB", *turn, "", "24"),
        ("out of a room and back, against its own frames, dB", *room, "", ""),
    ]


def _retrieval(rows: list[dict]) -> list[tuple[str, ...]]:
    lines = []
    for told, name, aims in (("replay", "replay_db", (2.5, 2.6)), ("there and back", "loop_db", (1.0, 2.4))):
        found = {
            rule: _told(_means(rows, name, retrieval=rule, painter="generator", context=8))
            for rule in ("fov", "first_random", "recent")
        }
        others = f"first and random: {', '.join(found['first_random'])}; the newest: {', '.join(found['recent'])}"
        aim = "these + {} and + {}".format(*aims)
        lines.append((f"{told}, 8 frames that cover the view, dB", *found["fov"], others, aim))
    return lines


def _horizon(rows: list[dict]) -> list[tuple[str, ...]]:
    longest = max(row["steps"] for row in rows)
    early, late = (_told(_means(rows, f"true_db_age_{steps}", steps=steps)) for steps in (100, 1000))
    again = f"after 100 steps: {', '.join(early)}"
    lines = [("first places again after 1,000 steps, against the truth, dB", *late, again, "1 dB less at most")]
    for name, told in (("gradient_ratio", "gradients"), ("contrast_ratio", "contrast")):
        cells, spread = (_told(_means(rows, before + name, steps=longest), 3) for before in ("", "spread_"))
        beside = f"true frames of the same walk: {spread[0]}"
        lines.append((f"{told} after {longest:,} steps / true", *cells, beside, "0.9 to 1.1"))
    return lines


def _new_content(rows: list[dict]) -> list[tuple[str, ...]]:
    lines = []
    for row in rows:
        found, between = (row["values"][name]["mean"] for name in ("frechet", "frechet_true"))
        beside = f"true frames of two walks: {between:.2f}"
        told = {"turn": "turning away", "ahead": "walking on"}[row["part"]]
        lines.append(
            (f"new content, {told}: Frechet distance", "", f"{found:.2f}", beside, f"{3 * between:.2f} at most")
        )
    return lines


def _domains(rows: list[dict]) -> list[tuple[str, ...]]:
    lines = []
    styles = [name for name in dict.fromkeys(row["domain"] for row in rows) if name not in ("trained", "freedoom")]
    for depth in ("exact", "estimated"):
        gains = zip(*(_means(rows, "gain_db", domain=style, depth=depth) for style in styles), strict=True)
        cells = [f"{min(tour):.1f} to {max(tour):.1f}" for tour in gains]
        lines.append((f"{len(styles)} styles held out, depth {depth}, dB above copies", *cells, "", "2"))
    return lines + _freedoom([row for row in rows if row["domain"] == "freedoom"])


def _freedoom(rows: list[dict]) -> list[tuple[str, ...]]:
    maps = len(rows[0]["values"]["gain_db"]["by_scene"])
    return [
        (
            f"{maps} maps of Freedoom, depth {depth}, dB above copies",
            *_told(_means(rows, "gain_db", depth=depth)),
            "",
            "2",
        )
        for depth in ("exact", "estimated")
    ]


def _photographs(rows: list[dict]) -> list[tuple[str, ...]]:
    found = {row["painter"]: f"{row['values']['replay_db']['mean']:.1f}" for row in rows}
    return [("photographs on walls, dB", found["generator"], "", f"copies of the best frame: {found['copy_best']}", "")]


def _sampling(rows: list[dict]) -> list[tuple[str, ...]]:
    two, eight = (_told(_means(rows, "replay_db", denoising=steps), 2) for steps in (2, 8))
    depth = _told([100 * error for error in _means(rows, "depth_error", denoising=1)])
    return [
        ("median depth error, %", *depth, "", "10"),
        ("2 denoising steps, dB", *two, f"8 denoising steps: {', '.join(eight)}", "within 0.3 of these"),
    ]


def _collisions(rows: list[dict]) -> list[tuple[str, ...]]:
    found = {row["tour"]: f"{row['precision']:.2f}, {row['recall']:.2f}" for row in rows}
    return [("walls: precision, recall", *(found[tour] for tour in _TOURS), "", "")]


_LINES = {
    "": _walks,
    "_loop": _loops,
    "_retrieval": _retrieval,
    "_horizon": _horizon,
    "_new-content": _new_content,
    "_domains": _domains,
    "_domains_freedoom": _freedoom,
    "_capture": _photographs,
    "_sampling": _sampling,
    "_collisions": _collisions,
}
