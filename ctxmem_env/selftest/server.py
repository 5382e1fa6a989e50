"""The server of the web page in a crowd that means it no good: what good visitors get, and what is left of the others.

Server and clients are processes of their own, each on a core of its own where there are two. Rounds take turns: in a
quiet one every place is taken by a walker, in a flood a few walkers stay and the crowd of `ctxmem_env.selftest.crowd`
fights for the other places; a walker is owed the same share of the machine in both. Then the crowd comes and goes as
often as in an hour, while the process is weighed.
"""

import asyncio
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ctxmem_env.selftest.crowd import Walker, crowd_at
from ctxmem_env.selftest.soak import growth_percent
from ctxmem_env.viewer.server import TOKEN

HOUR = 3600.0
_CALM = 1.5  # seconds between rounds, in which a crowd comes to be or is forgotten
_PATIENCE = 4  # times as many weighings as there should be, where the machine is slow
_IDLE = 15.0  # seconds until threads and connections of those who are gone have ended


@dataclass(frozen=True)
class Load:
    """How much: places of the server, walkers among them, clients of the crowd and what they may do in a second."""

    places: int = 8
    walkers: int = 4
    clients: int = 200
    messages: float = 1000.0
    connections: float = 10.0
    rounds: int = 5
    seconds: float = 8.0
    returns: int = 36_000  # connections while the process is weighed, as many as in an hour
    rush: float = 270.0  # of them a second
    weighings: int = 12


QUICK = Load(clients=40, rounds=1, seconds=3.0, returns=200, rush=100.0, weighings=3)


def serve_under_load(load: Load = Load(), model: str = "nano", quiet: bool = True) -> dict[str, Any]:
    """What walkers get with and without a crowd, and what is left of the crowd when it is gone.

    Returns:
        steps_per_second of the walkers: lists of `alone`, where there is nobody else, `quiet` and `flood`; fair_share,
        the median of flood over that of quiet; slowest_s, the longest wait for a frame; crowd, what it did; hour, how
        many connections an hour of the flood makes, how many were made, and resident_mb, growth_percent, descriptors
        and threads, before and after; leaks, texts that nobody should have been told.
    """
    with _server(load, model) as (address, process):
        return asyncio.run(_try(load, address, _Process(process.pid), quiet))


async def _try(load: Load, address: str, process: "_Process", quiet: bool) -> dict[str, Any]:
    rates: dict[str, list[float]] = {"alone": [], "quiet": [], "flood": []}
    slowest = dict.fromkeys(rates, 0.0)
    walkers = [await _come(address) for _ in range(load.walkers)]
    crowd: dict[str, Any] = {}
    fillers = [await _come(address) for _ in range(load.places - load.walkers)]
    await asyncio.gather(*(walker.walk(time.monotonic() + load.seconds) for walker in (*walkers, *fillers)))

    async def measure(kind: str, others: Sequence[Walker]) -> None:
        before, began = sum(walker.steps for walker in walkers), time.monotonic()
        for walker in walkers:
            walker.slowest = 0.0
        until = began + load.seconds
        await asyncio.gather(*(walker.walk(until) for walker in (*walkers, *others)))
        rates[kind].append((sum(walker.steps for walker in walkers) - before) / (time.monotonic() - began))
        slowest[kind] = max(slowest[kind], *(walker.slowest for walker in walkers))
        if not quiet:
            print(f"{kind}: {rates[kind][-1]:.1f} steps a second", file=sys.stderr, flush=True)

    for number in range(load.rounds):
        await measure("quiet", fillers)
        await _leave(fillers)
        await asyncio.sleep(_CALM)
        await measure("alone", [])
        async with _crowd(load, address, load.seconds + 2 * _CALM, number) as did:
            await asyncio.sleep(_CALM)
            await measure("flood", [])
            _add(crowd, json.loads(await did.read()))
        await asyncio.sleep(_CALM)
        fillers = [await _come(address) for _ in fillers]
    await _leave([*walkers, *fillers])
    await asyncio.sleep(_IDLE)
    hour = await _weigh(load, address, process, quiet)
    leaks: dict[str, int] = {}
    for told in (crowd.pop("leaks", {}), hour["crowd"].pop("leaks", {}), *(w.leaks for w in (*walkers, *fillers))):
        _add(leaks, told)
    middle = {kind: median(values) for kind, values in rates.items()}
    return {
        **{name: getattr(load, name) for name in ("places", "walkers", "clients", "rounds", "seconds")},
        "messages_per_second": load.messages,
        "connections_per_second": load.connections,
        "steps_per_second": {kind: [round(rate, 2) for rate in values] for kind, values in rates.items()},
        "fair_share": round(middle["flood"] / middle["quiet"], 3),
        "of_alone": round(middle["flood"] / middle["alone"], 3),
        "slowest_s": {kind: round(seconds, 2) for kind, seconds in slowest.items()},
        "crowd": crowd,
        "hour": {"connections": round(HOUR * load.connections)} | hour,
        "leaks": leaks,
    }


async def _weigh(load: Load, address: str, process: "_Process", quiet: bool) -> dict[str, Any]:
    """The process while the crowd makes `load.returns` connections; nobody else is there, and in the end nobody."""
    before, began = process.look(), time.monotonic()
    seconds = load.returns / load.rush / load.weighings
    rush = (load.messages * load.rush / load.connections, load.rush)
    crowd, weighed = {"connections": 0}, []
    while crowd["connections"] < load.returns and len(weighed) < _PATIENCE * load.weighings:
        _add(crowd, await crowd_at(address, load.clients, seconds, *rush, 1000 + len(weighed)))
        await asyncio.sleep(_CALM)
        weighed.append((crowd["connections"], process.look()["resident_mb"]))
        if not quiet:
            print(f"{crowd['connections']:,} connections: {weighed[-1][1]:.0f} MB", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    await asyncio.sleep(_IDLE)
    after = process.look()
    return {
        "made": crowd["connections"],
        "seconds": round(seconds, 1),
        "crowd": crowd,
        "resident_mb": [round(megabytes, 1) for _, megabytes in weighed],
        "growth_percent": growth_percent(weighed),
        "descriptors": [before["descriptors"], after["descriptors"]],
        "threads": [before["threads"], after["threads"]],
    }


async def _come(address: str) -> Walker:
    """A walker who comes again until there is a place."""
    end = time.monotonic() + 60
    while True:
        try:
            return await Walker(address).open()
        except (RuntimeError, OSError):
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.5)


async def _leave(walkers: Sequence[Walker]) -> None:
    await asyncio.gather(*(walker.socket.close() for walker in walkers))


class _Process:
    """The server as the system sees it."""

    def __init__(self, pid: int):
        self._place = Path(f"/proc/{pid}")

    def look(self) -> dict[str, float]:
        told = (self._place / "status").read_text()
        megabytes = int(re.search(r"VmRSS:\s+(\d+)", told)[1]) / 1024
        threads = int(re.search(r"Threads:\s+(\d+)", told)[1])
        return {"resident_mb": megabytes, "threads": threads, "descriptors": len(list((self._place / "fd").iterdir()))}


def _cores() -> tuple[set[int], set[int]]:
    """For the server, and for those who ask."""
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[0]}, {cores[1]}) if len(cores) == 2 else (set(cores), set(cores))


@contextmanager
def _server(load: Load, model: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address and the process of `ctxmem serve`, which is up; this process is on the other core meanwhile."""
    mine, (own, other) = os.sched_getaffinity(0), _cores()
    command = [sys.executable, "-m", "ctxmem_env", "serve", "--port", "0", "--models", model]
    command += ["--visitors", str(load.places)]
    environment = os.environ | {TOKEN: secrets.token_urlsafe(24)}
    os.sched_setaffinity(0, own)  # which it inherits
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:
        os.sched_setaffinity(0, other)
        lines: list[str] = []
        try:
            for line in process.stderr:
                lines.append(line)
                if "http://" in line:
                    break
            else:
                raise RuntimeError(f"`ctxmem serve` did not begin: {''.join(lines[-5:])}")
            address = line.split()[1]
            reader = threading.Thread(target=lines.extend, args=(process.stderr,), daemon=True)
            reader.start()
            yield address, process
            process.send_signal(signal.SIGINT)
            process.wait(30)
        finally:
            process.kill()
            os.sched_setaffinity(0, mine)


@asynccontextmanager
async def _crowd(load: Load, address: str, seconds: float, seed: int) -> AsyncIterator[asyncio.StreamReader]:
    """A crowd in a process of its own; in the end it tells what it did."""
    numbers = map(str, (load.clients, seconds, load.messages, load.connections, seed))
    words = ("-m", "ctxmem_env.selftest.crowd", address, *numbers)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = await asyncio.create_subprocess_exec(sys.executable, *words, **pipes)
    try:
        yield process.stdout
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        raise
    finally:
        await process.wait()


def _add(sums: dict[str, Any], told: dict[str, Any]) -> None:
    """Add numbers, of dicts within, too."""
    for name, value in told.items():
        if isinstance(value, dict):
            _add(sums.setdefault(name, {}), value)
        else:
            sums[name] = sums.get(name, 0) + value
