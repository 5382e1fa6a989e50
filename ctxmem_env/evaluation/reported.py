"""What the paper (arXiv:2506.03141) reports of its rules of retrieval, beside what was measured of them here."""

# PSNR in dB of its Tables 1 and 3 with 20 context frames, replay and loop, by the name that the rule has here.
REPORTED = {
    "first": ("first frame", 15.72, 14.53),
    "first_random": ("first frame and random ones", 17.70, 17.07),
    "recent": ("a recent window (DFoT)", 17.63, 15.70),
    "fov_random": ("field of view, random", 19.17, 17.47),
    "fov_non_adjacent": ("field of view, non-adjacent", 20.11, 18.19),
    "fov_far": ("the same, and far in space and time", 20.22, 18.11),
}
_OWN = {"fov": "greedy cover, the default here"}


def reported_table(results: dict) -> str:
    """Markdown: a row for each rule, reported and measured in columns of their own; from results of `retrieval`."""
    slots = results["figures"][0]["context"]
    painted = [row for row in results["figures"] if row["painter"] == "generator" and row["context"] == slots]
    found = {row["retrieval"]: row["values"] for row in painted}
    heads = ("retrieval", "rule", "replay, reported", "loop, reported")
    heads += ("replay, measured", "loop, measured", "loop against the truth, measured")
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, values in found.items():
        if name not in REPORTED and name not in _OWN:
            continue
        rule, *theirs = REPORTED.get(name, (_OWN.get(name), None, None))
        ours = [f"{values[key]['mean']:.2f} ± {values[key]['ci95']:.2f}" for key in ("replay_db", "loop_db", "true_db")]
        cells = ["-" if value is None else f"{value:.2f}" for value in theirs]
        rows.append(f"| {name} | {rule} | {' | '.join(cells + ours)} |")
    low, high = results["scenes"]["seeds"]
    note = (
        "PSNR in dB. Reported: the authors' own model, 640 x 352 pixels, 20 context frames, scenes of Unreal Engine. "
        f"Measured: {results['model']} on {high - low + 1} test scenes of this package, {slots} context frames, mean "
        "and 95 % interval over scenes. A loop compares new frames with the model's own earlier ones, so that "
        "remembered noise scores high in it; the last column is against true frames, where such had shown the view. "
        "Models, pictures and scenes differ: compare within a column."
    )
    return "\n".join([*rows, "", note])
