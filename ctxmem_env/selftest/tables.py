"""Markdown of the reliability report: no figure is typed by hand."""

from statistics import median
from typing import Any

from ctxmem_env.selftest.report import failures

_WORDS = {"again": "a new environment", "restored": "a state that was kept", "loaded": "a file"}


def reliability_summary(report: dict[str, dict[str, Any]]) -> str:
    """One table: what was tried, how often, and what came of it."""
    rows = []
    if "fuzz" in report:
        told = report["fuzz"]
        count = f"{told['inputs']:,} inputs on {len(told['parsers'])} parsers, {told['guided']:,} guided by coverage"
        slowest = max(parser["slowest_ms"] for parser in told["parsers"].values()) / 1000
        rows.append(("broken files and arguments", count, f"{_count(told['undocumented'], 'undocumented error')}; "
                     f"the slowest took {slowest:.1f} s"))  # fmt: skip
    if "kills" in report:
        parts = [told for told in report["kills"].values() if isinstance(told, dict) and "kills" in told]
        kills, lost = (sum(told[name] for told in parts) for name in ("kills", "lost"))
        torn, different = (sum(told.get(name, 0) for told in parts) for name in ("torn", "different"))
        came = f"{_count(lost, 'save')} lost; of {torn} unfinished files none was taken for a world"
        rows.append(("kills while saving and training", f"{kills} SIGKILL", came if not different else "not the same"))
    if "faults" in report:
        faults = report["faults"]["faults"]
        lost = sum(bool(fault["lost"] or fault["left"]) for fault in faults)
        tried = f"{len(faults)} times, {len({fault['writer'] for fault in faults})} kinds of files"
        rows.append(("full disk, read-only folder, signals", tried, f"{_count(lost, 'former file')} lost or littered"))
    if "server" in report:
        server = report["server"]
        crowd = f"{server['clients']} clients, {server['hour']['made']:,} connections"
        rows.append(("a crowd at the web page", crowd, _server_text(server)))
    if "soak" in report:
        soak = report["soak"]
        came = f"{_count(soak['not_finite'], 'value')} not finite; memory grew by {soak['growth_percent']} % over the "
        came += f"last 80 %; rotations off by {soak['turn_error']:.1e}, positions by {soak['drift_m']:.1e} m"
        walk = f"{soak['steps']:,} steps of {soak['model']}, {soak['capacity']} frames remembered"
        rows.append(("a long walk", walk, came))
    if "repeats" in report:
        rows += _repeats_rows(report["repeats"])
    broken = [f"What did not hold: {'; '.join(failures(report))}."] if failures(report) else []
    return "\n\n".join([_table(("tried", "how often", "what came of it"), rows), *broken, _where(report)])


def _repeats_rows(repeats: dict[str, Any]) -> list[tuple[str, str, str]]:
    equal = [_WORDS[name] for name, same in repeats["bit_equal"].items() if same]
    unequal = [_WORDS[name] for name, same in repeats["bit_equal"].items() if not same]
    came = f"the same to the bit from {', '.join(equal)}" + (f"; not from {', '.join(unequal)}" if unequal else "")
    rows = [("the same walk again, one thread", f"{repeats['steps']} steps", came)]
    for name, apart in repeats["apart"].items():
        text = f"pixels differ by at most {apart['largest']} of 255; {apart['share']:.2%} of values differ"
        rows.append((f"the same walk, {name}", f"{repeats['steps']} steps", text))
    return rows


def reliability_section(report: dict[str, dict[str, Any]]) -> str:
    """All of it: each parser, each kind of kill, each fault."""
    parts = []
    if "fuzz" in report:
        rows = [(name, *_parser_row(told)) for name, told in report["fuzz"]["parsers"].items()]
        heads = ("parser", "inputs", "guided by coverage", "accepted", "slowest", "undocumented errors")
        parts += ["### Broken files and arguments", _table(heads, rows)]
    if "kills" in report:
        kills = {name: told for name, told in report["kills"].items() if isinstance(told, dict) and "kills" in told}
        rows = [
            (name, *(str(told.get(key, "-")) for key in ("kills", "lost", "torn", "taken", "different")))
            for name, told in kills.items()
        ]
        heads = ("what was killed", "kills", "saves lost", "unfinished files", "of them taken for whole", "different")
        parts += ["### Kills", _table(heads, rows)]
    if "faults" in report:
        parts += ["### Faults", _table(("fault", "file", "by", "what came"), _fault_rows(report["faults"]["faults"]))]
    if "server" in report:
        parts += ["### A crowd at the web page", *_server_section(report["server"])]
    if "soak" in report:
        parts += ["### A long walk", _soak_text(report["soak"])]
    return "\n\n".join([*parts, _where(report)])


def _fault_rows(faults: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    rows: dict[tuple[str, str, str], set[str]] = {}
    for fault in faults:
        bad = [f"{name} {', '.join(fault[name])}" for name in ("lost", "left") if fault[name]]
        came = fault["error"].split(":")[0] + ("; " + "; ".join(bad) if bad else "; what was there is as it was")
        rows.setdefault((fault["fault"], fault["writer"], fault["by"]), set()).add(came)
    return [(*key, " / ".join(sorted(came))) for key, came in rows.items()]


def _soak_text(soak: dict[str, Any]) -> str:
    memory = soak["resident_mb"]
    contrast = soak["contrast"]
    lives = f"{soak['lives']} process{'es' if soak['lives'] > 1 else ''}"
    return (
        f"{soak['steps']:,} random steps in one world of {soak['model']} (weights {str(soak['weights_sha256'])[:12]}) "
        f"that remembers {soak['capacity']} frames, in {lives}: {soak['collisions']:,} collisions; resident memory "
        f"from {memory[0]:,.0f} to {memory[-1]:,.0f} MB, growth over the last 80 % {soak['growth_percent']} %; poses "
        f"at most {soak['drift_m']:.1e} m and {soak['drift_rad']:.1e} rad from the same motions in double precision. "
        f"The standard deviation of a frame's pixels was {contrast[0]:.1f} in the first hundredth and "
        f"{contrast[-1]:.1f} in the last."
    )


def _server_text(server: dict[str, Any]) -> str:
    hour = server["hour"]
    return (
        f"{server['walkers']} good visitors keep {server['fair_share']:.0%} of their share; memory grew by "
        f"{hour['growth_percent']} % over the last 80 %; file descriptors from "
        f"{hour['descriptors'][0]} to {hour['descriptors'][1]}, threads from {hour['threads'][0]} to "
        f"{hour['threads'][1]}; "
        f"{_count(sum(server['leaks'].values()), 'text')} told that nobody should know"
    )


def _server_section(server: dict[str, Any]) -> list[str]:
    rates, slowest, hour, crowd = (server[name] for name in ("steps_per_second", "slowest_s", "hour", "crowd"))
    who = {
        "quiet": f"{server['walkers']} of {server['places']} walkers, one in each place",
        "alone": f"{server['walkers']} walkers, and nobody else",
        "flood": f"{server['walkers']} walkers, and {server['clients']} others for the other places",
    }
    rows = [
        (text, ", ".join(f"{rate:.1f}" for rate in rates[kind]), f"{median(rates[kind]):.1f}", f"{slowest[kind]:.2f} s")
        for kind, text in who.items()
    ]
    kinds = ", ".join(f"{name.removesuffix(' ended')} {n:,}" for name, n in sorted(crowd.items()) if "ended" in name)
    weights = hour["resident_mb"]
    return [
        _table(("who is there", "steps a second of the walkers, in each round", "median", "slowest frame"), rows),
        f"In a flood the crowd sent {crowd['messages']:,} messages over {crowd['connections']:,} connections, at most "
        f"{server['messages_per_second']:,.0f} and {server['connections_per_second']:,.0f} a second; connections that "
        f"were ended, by what they did: {kinds}. Then it made {hour['made']:,} connections and sent "
        f"{hour['crowd']['messages']:,} messages in {hour['seconds']:,.0f} s, where an hour of the flood brings "
        f"{hour['connections']:,} connections: resident memory from {weights[0]:,.0f} to {weights[-1]:,.0f} MB. "
        f"{_server_text(server)}.",
    ]


def _parser_row(told: dict[str, Any]) -> tuple[str, ...]:
    counts = (f"{told[name]:,}" for name in ("inputs", "guided", "accepted"))
    return (*counts, f"{told['slowest_ms']:,.0f} ms", str(len(told["findings"])))


def _where(report: dict[str, dict[str, Any]]) -> str:
    tried = [*report.values(), *report.get("fuzz", {}).get("parsers", {}).values()]
    machines = [told["machine"] for told in tried if "machine" in told]
    machines = {f"{machine['cpu']}, torch {machine['torch']}" for machine in machines}
    whole = all(told.get("full", True) for told in report.values())
    return f"`ctxmem selftest{' --full' if whole else ''}`; {'; '.join(sorted(machines))}."


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, ("---",) * len(heads), *rows))
