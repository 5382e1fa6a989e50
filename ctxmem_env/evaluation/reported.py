"""What the paper (arXiv:2506.03141) reports in its Tables 1 to 3, beside what was measured of the same here.

Reported and measured figures stand in columns of their own: models, pictures and scenes differ.
"""

from collections.abc import Sequence

_THEIRS, _OURS = "reported (640x352, UE5)", "measured (ours)"

# PSNR in dB, replay and loop, of Table 1. The rows here are (retrieval, painter) of a case of `retrieval`, with the
# first number of context frames; the history that is compressed has its own.
TABLE_1 = {
    ("first", "generator"): ("first frame", 15.72, 14.53),
    ("first_random", "generator"): ("first frame and random ones", 17.70, 17.07),
    ("recent", "generator"): ("recent window (DFoT)", 17.63, 15.70),
    ("recent", "packed"): ("history compressed into two frames (FramePack)", 17.20, 15.65),
    ("fov_far", "generator"): ("Context-as-Memory, its rule", 20.22, 18.11),
    ("fov", "generator"): ("greedy cover, the default here", None, None),
    ("fov", "copy_best"): ("copy of the best retrieved frame", None, None),
    ("fov", "warp"): ("warping through the model's depth, no painting", None, None),
    ("fov", "splat"): ("warping without a network", None, None),
    ("none", "generator"): ("no memory", None, None),
}
# Frames of context: PSNR in dB, replay and loop, and frames a second.
TABLE_2 = {
    1: (15.72, 14.53, 1.60),
    5: (17.37, 15.97, 1.40),
    10: (19.14, 17.75, 1.20),
    20: (20.22, 18.11, 0.97),
    30: (20.31, 18.19, 0.79),
}
TABLE_3 = {
    "random": ("random", 17.70, 17.07),
    "fov_random": ("field of view, random", 19.17, 17.47),
    "fov_non_adjacent": ("field of view, non-adjacent", 20.11, 18.19),
    "fov_far": ("the same, and far in space and time", 20.22, 18.11),
    "fov_rays": ("border rays that meet, to the letter", None, None),
    "fov": ("greedy cover, the default here", None, None),
}
_MEASURED = (("replay_db", "replay"), ("loop_db", "loop"), ("true_db", "loop, against the truth"))


def paper_tables(results: dict) -> str:
    """The three tables in Markdown, from results of `retrieval`; "-" for what was not measured."""
    titles = ("Methods (Table 1):", "Size of the context (Table 2):", "Rules of retrieval (Table 3):")
    parts = [part for number, title in enumerate(titles, 1) for part in (title, _table(results, number))]
    speed = f"Steps a second: up to 8 scenes side by side, {results['machine']['cpu']}."
    return "\n\n".join([*parts, f"{_note(results, results['figures'][0]['context'])} {speed}"])


def _table(results: dict, number: int) -> str:
    rows = _of_one_tour(results)
    slots = rows[0]["context"]
    found: dict = {}
    for row in rows:
        if number == 2 and (row["retrieval"], row["painter"]) == (rows[0]["retrieval"], "generator"):
            found[row["context"]] = row["values"]
        elif number != 2 and (row["context"] == slots or row["painter"] == "packed"):
            key = (row["retrieval"], row["painter"])
            found[key[0] if number == 3 and key[1] == "generator" else key] = row["values"]
    speed = (("steps_per_second", "steps a second"),) if number == 2 else ()
    heads = ["frames of context" if number == 2 else "context", f"replay, {_THEIRS}", f"loop, {_THEIRS}"]
    heads += [f"frames a second, {_THEIRS}"] * len(speed)
    heads += [f"{name}, {_OURS}" for _, name in (*_MEASURED, *speed)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for key, theirs in _rows(number, found):
        name, *reported = (key, *theirs) if number == 2 else theirs
        cells = ["-" if value is None else f"{value:.2f}" for value in reported]
        cells += [_cell(found.get(key, {}).get(figure), figure) for figure, _ in (*_MEASURED, *speed)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rows(number: int, found: dict) -> Sequence[tuple]:
    """Keys of the table's rows, and what is reported of them."""
    if number != 2:
        return list((TABLE_1 if number == 1 else TABLE_3).items())
    return [(slots, TABLE_2.get(slots, (None, None, None))) for slots in sorted({*TABLE_2, *found})]


def reported_table(results: dict) -> str:
    """Markdown: a row for each rule, reported and measured in columns of their own; from results of `retrieval`."""
    rows = _of_one_tour(results)
    slots = rows[0]["context"]
    painted = [row for row in rows if row["painter"] == "generator" and row["context"] == slots]
    known = {key: row for (key, painter), row in TABLE_1.items() if painter == "generator"} | TABLE_3
    heads = ("retrieval", "rule", "replay, reported", "loop, reported")
    heads += ("replay, measured", "loop, measured", "loop against the truth, measured")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in painted:
        name, values = row["retrieval"], row["values"]
        if name in known and (known[name][1] is not None or name == "fov"):
            rule, *theirs = known[name]
            cells = ["-" if value is None else f"{value:.2f}" for value in theirs]
            cells += [_cell(values[figure], figure) for figure, _ in _MEASURED]
            lines.append(f"| {name} | {rule} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _note(results, slots)])


def _of_one_tour(results: dict) -> list[dict]:
    """The rows after a tour of as many true frames as the first row's: in these tables no column tells them apart."""
    return [row for row in results["figures"] if row["tour"] == results["figures"][0]["tour"]]


def _cell(value: dict | None, figure: str) -> str:
    if value is None or value["mean"] is None:
        return "-"
    if figure == "steps_per_second":  # one number a call, whose interval would be that of the machine's other work
        return f"{value['mean']:.1f}"
    return f"{value['mean']:.2f} ± {value['ci95']:.2f}"


def _note(results: dict, slots: int) -> str:
    low, high = results["scenes"]["seeds"]
    return (
        "PSNR in dB. Reported: the authors' own model, 640 x 352 pixels, 20 context frames, scenes of Unreal Engine. "
        f"Measured: {results['model']} on {high - low + 1} test scenes of this package, {slots} context frames, mean "
        "and 95 % interval over scenes. A loop compares new frames with the model's own earlier ones, so that "
        "remembered noise scores high in it; against the truth it is where true frames had shown the view. "
        "Models, pictures and scenes differ: compare within a column."
    )
