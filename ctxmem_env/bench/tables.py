"""Markdown of the benchmarks, from the file that they were kept in: no figure is typed by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

_STEP_PARTS = ("step", "collision", "retrieval", "encoding", "denoising", "rest")


def benchmarks_section(benches: dict[str, dict], pictures: Path | None = None) -> str:
    """A heading, tables and a note for each benchmark in `benches`, as `read_benches` gives them.

    `pictures` is a folder, relative to the document, that is searched for the pictures of `save_plot`.
    """
    parts = []
    for name, (heading, make) in _SECTIONS.items():
        if name in benches:
            command = benches[name].get("command", f"ctxmem bench {name}")
            parts += [f"### {heading}", *make(benches[name]), f"`{command}`; {_machine(benches[name])}."]
            picture = None if pictures is None else pictures / f"bench_{name}.png"
            if picture is not None and picture.is_file():
                parts.append(f"![{heading}]({picture.as_posix()})")
    return "\n\n".join(parts)


def benchmarks_summary(benches: dict[str, dict]) -> str:
    """One table of the figures that most readers ask for, of the benchmarks that are there."""
    rows = []
    if "step" in benches:
        first, last = (benches["step"]["histories"][end] for end in (0, -1))
        for row in (first, last):
            what = f"one environment, {row['history']:,} frames in memory"
            rows.append((what, f"{row['steps_per_second']:.0f} steps a second", benches["step"]))
    if "vector" in benches:
        best = max(benches["vector"]["batches"], key=lambda row: row["env_steps_per_second"])
        rate = f"{best['env_steps_per_second']:,.0f} env-steps a second, in all"
        rows.append((f"{best['num_envs']:,} worlds in a batch", rate, benches["vector"]))
        if "ppo" in benches["vector"]:
            ppo = benches["vector"]["ppo"]
            rate = f"{ppo['learn_steps_per_second']:,.0f} env-steps a second, {ppo['ratio']:.2f} of the bare rate"
            rows.append((f"PPO on {ppo['num_envs']} worlds, learning included", rate, benches["vector"]))
    if "memory" in benches:
        size = sum(benches["memory"]["bytes_a_frame"].values())
        rows.append(("a remembered frame", f"{size / 1e3:,.0f} kB", benches["memory"]))
    for row in benches.get("page", {}).get("browsers", ()):
        several = row["number"] > 1
        who = f"the web page, {row['number']} browsers, each" if several else "the web page, one browser"
        rate = f"{row['frames_per_second']:.0f} frames a second, the first after {row['first_frame_s']:.1f} s"
        rows.append((who, rate, benches["page"]))
    lines = [(what, measured, _where(bench)) for what, measured, bench in rows]
    return _table(("", "measured", "on"), lines)


def _where(bench: dict) -> str:
    machine = bench["machine"]
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    return machine["gpu"] or f"{machine['cpu']}, {threads}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _machine(bench: dict) -> str:
    machine = bench["machine"]
    units = f" with {' and '.join(machine['bfloat16'])}" if machine.get("bfloat16") else ""
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    facts = [machine["gpu"], machine["cpu"] + units, f"{machine['cores']} cores", threads]
    facts += [f"torch {machine['torch']}", machine.get("os")]
    if "matrix_gflops" in bench:
        rates = [f"{rate:,.0f} GFLOP/s in {name}" for name, rate in bench["matrix_gflops"].items()]
        facts.append(f"large matrix products at {' and '.join(rates)}")
    return ", ".join(fact for fact in facts if fact)


def _share(row: dict) -> str:
    """Shares of the matrix rates of a row that has them."""
    return " / ".join(f"{share:.0%}" for share in row["matrix_share"].values())


_SHARE = "share of the matrix rate, float32 / bfloat16"


def _step(bench: dict) -> list[str]:
    parts = []
    for rows, key, name in (
        ("histories", "history", "frames in memory"),
        ("contexts", "num_context", "context frames"),
    ):
        if not bench.get(rows):
            continue
        shared = "matrix_share" in bench[rows][0]
        measured = [part for part in _STEP_PARTS if f"{part}_ms" in bench[rows][0]]
        heads = [name, "steps per second", *measured, *([_SHARE] if shared else [])]
        lines = []
        for row in bench[rows]:
            times = [f"{row[f'{part}_ms']:.1f} ms" for part in measured]
            share = [_share(row)] if shared else []
            lines.append([f"{row[key]:,}", f"{row['steps_per_second']:.1f}", *times, *share])
        parts.append(_table(heads, lines))
    parts.append(
        f"{bench['denoising_steps']} denoising step{'s' if bench['denoising_steps'] > 1 else ''}, "
        f"{bench['num_context']} context frames where they do not vary{_attended(bench)}. A step after the longest "
        f"history takes "
        f"{bench['ratio']:.2f} times as long as after the shortest. Encoding is of frames that enter memory or are "
        "needed again."
    )
    return parts


def _attended(bench: dict) -> str:
    attended = bench.get("num_attended")
    return "" if attended is None else f" (attention reads the first {attended} of them, the look-up all)"


def _retrieval(bench: dict) -> list[str]:
    heads, parts = ["path", "frames in memory", "one query", "to remember", "agreement with brute force"], []
    for path in bench["paths"]:
        for row in path["histories"]:
            times = [f"{row['query_ms']:.2f} ms", f"{row['remember_ms']:.2f} ms"]
            parts.append([path["path"], f"{row['history']:,}", *times, f"{row['agreement']:.1%}"])
    ratios = " and ".join(f"{path['ratio']:.2f} ({path['path']})" for path in bench["paths"])
    note = (
        f"One world, {bench['num_context']} context frames; {bench['queries']} queries of each kind were timed and "
        f"{bench['checked']} compared. A query after the longest history takes {ratios} times as long as after the "
        "shortest. What is remembered is a frame of one pixel."
    )
    return [_table(heads, parts), note]


def _vector(bench: dict) -> list[str]:
    lines = [
        [
            f"{row['num_envs']:,}",
            f"{row['env_steps_per_second']:,.1f}",
            f"{row['step_ms']:,.1f} ms",
            f"{row['speedup']:.2f}",
            _share(row),
        ]
        for row in bench["batches"]
    ]
    first = bench["batches"][0]["num_envs"]
    against = "one world" if first == 1 else f"{first} worlds"
    heads = ["worlds", "env-steps per second, in all", "step of all", f"rate against {against}", _SHARE]
    parts = [
        _table(heads, lines),
        f"Random actions, {bench['num_context']} context frames{_attended(bench)}, {bench['array']} observations; "
        "shares are of a whole step.",
    ]
    if "ppo" in bench:
        ppo = bench["ppo"]
        parts.append(
            f"PPO of Stable-Baselines3 on {ppo['num_envs']} worlds learns at {ppo['learn_steps_per_second']:.1f} "
            f"env-steps per second, {ppo['ratio']:.2f} of the bare environment's {ppo['bare_steps_per_second']:.1f}; "
            f"the policy takes {ppo['forward_share'] + ppo['update_share']:.0%} of the time "
            f"({ppo['forward_share']:.0%} to act, {ppo['update_share']:.0%} to learn: {ppo['n_epochs']} epochs over "
            f"{ppo['rollout']} steps, batches of {ppo['batch_size']})."
        )
    return parts


def _memory(bench: dict) -> list[str]:
    lines = [
        [row["eviction"], *(f"{row[key]:.2f} dB" for key in ("first_db", "revisit_db", "loss_db", "repeat_db"))]
        + [f"{row['append_ms']:.2f} ms"]
        for row in bench["memories"]
    ]
    heads = ["memory", "first look", "look again", "lost against unlimited", "likeness of the looks", "to remember"]
    size, soak = bench["bytes_a_frame"], bench["soak"]
    seeds = ", ".join(map(str, bench["scenes"]["seeds"]))
    parts = [
        f"PSNR at {bench['revisits']} places of each of {len(bench['scenes']['seeds'])} test scenes (seeds {seeds}), "
        f"after {bench['steps']:,} steps, with at most {bench['capacity']:,} frames where the memory is bounded. A "
        f"remembered frame takes {sum(size.values()):,} bytes: "
        + ", ".join(f"{name} {value:,}" for name, value in size.items())
        + "."
    ]
    if None not in soak["resident_mb"]:
        weights = ", ".join(f"{value:,.0f}" for value in soak["resident_mb"])
        parts.append(
            f"Over a walk of {soak['steps']:,} steps without the network, {soak['capacity']:,} frames and the policy "
            f"{soak['eviction']}, the process holds {weights} MB after 20, 60 and 100 % of it."
        )
    return [_table(heads, lines), " ".join(parts)]


def _train(bench: dict) -> list[str]:
    parts = ("step", "repainting", "forward", "backward", "update")
    lines = [
        [row["case"], f"{row['targets_per_second']:.1f}", *(f"{row[f'{part}_ms']:,.0f} ms" for part in parts)]
        for row in bench["cases"]
    ]
    plain = bench["cases"][0]
    note = (
        f"A batch is {bench['targets']} targets with {bench['num_context']} context frames for each scene; "
        f"{bench['parameters'] / 1e6:.1f} million parameters in {bench['precision']}. Forwards and backwards the plain "
        f"step runs at {plain['gflops']:,.0f} GFLOP/s, {_share(plain)} of the matrix rate in float32 / bfloat16. To "
        f"render a batch takes {bench['rendering_ms']:,.0f} ms of another core."
    )
    return [_table(["step", "targets per second", *parts], lines), note]


def _page(bench: dict) -> list[str]:
    lines = [
        [
            str(row["number"]),
            f"{row['frames_per_second']:.1f}",
            f"{row['slowest']:.1f} to {row['fastest']:.1f}",
            f"{row['first_frame_s']:.2f} s, at most {row['latest_first_frame_s']:.2f} s",
            f"{row['server_cpu_ms']:.0f} ms, {row['browser_cpu_ms']:.0f} ms",
            f"{row['sent_per_second']:.1f}",
        ]
        for row in bench["browsers"]
    ]
    heads = ["browsers", "frames painted a second, each", "slowest to fastest", "first frame after"]
    heads += ["processor's time a frame, server, browser", "sent a second to clients that paint nothing, each"]
    first = ", before other work" if bench["realtime"] else ""
    note = (
        f"Headless Chromium beside the server, a key held for {bench['seconds']:g} s, {bench['repeats']} repeats. The "
        f"page asks for at most {bench['page_most']:.0f} frames a second, and the server gives at most 20. The load "
        f"average of the machine was {bench['load_before']:.1f} before a repeat{first}."
    )
    return [_table(heads, lines), note]


_SECTIONS: dict[str, tuple[str, Callable[[dict], list[str]]]] = {
    "step": ("A step of one environment", _step),
    "retrieval": ("The choice of context", _retrieval),
    "vector": ("Worlds in one batch", _vector),
    "memory": ("A bounded memory", _memory),
    "train": ("A training step", _train),
    "page": ("The web page", _page),
}
