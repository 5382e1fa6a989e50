"""Clients of the web page: walkers, who wait for every frame, and a crowd that does nothing it should.

python -m ctxmem_env.selftest.crowd ADDRESS CLIENTS SECONDS MESSAGES CONNECTIONS SEED [KIND ...]

keeps so many clients of `KINDS` at the server for so long, who send in all at most so many messages and make so many
connections a second, and prints what they did as JSON. A client whose connection ends makes another one. Whatever the
server sends is searched for what it must tell nobody.
"""

import asyncio
import itertools
import json
import os
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

from ctxmem_env.viewer.guard import PROTOCOL
from ctxmem_env.viewer.limits import Bucket
from ctxmem_env.viewer.messages import unpack

SECRETS = (b"Traceback", b'File "', b"/site-packages/", b"/tmp/", *(str(p).encode() for p in (Path.home(), Path.cwd(),
           Path(__file__).parents[2])))  # fmt: skip
_OPEN = json.dumps({"type": "open", "style": "any"})
_TURNS = [json.dumps({"type": "move", "action": [0, 0, turn, 0]}) for turn in (1, -1)]
_GARBAGE = ("", "[", "{}", "null", '{"type": "sing"}', '{"type": "move", "action": [9, 9]}', "x" * 4000, "[" * 4000,
            '{"type": "open", "model": "../../etc/passwd"}', "\0", b"\xff\xfe", b"", b"a" * 4000)  # fmt: skip


class Walker:
    """A visitor who moves when the last frame has come; `steps` counts, `slowest` is the longest wait in seconds."""

    def __init__(self, address: str):
        self.address, self.steps, self.slowest = address, 0, 0.0
        self.leaks: Counter[str] = Counter()

    async def open(self) -> "Walker":
        """Come in and open a world."""
        self.socket = await _enter(self.address)
        await self.hear()
        await self.socket.send(_OPEN)
        await self.hear()
        return self

    async def walk(self, until: float) -> None:
        """Move until then, on the clock of `time.monotonic`."""
        while (began := time.monotonic()) < until:
            await self.socket.send(_TURNS[self.steps % 2])
            await self.hear()
            self.steps += 1
            self.slowest = max(self.slowest, time.monotonic() - began)

    async def hear(self) -> dict[str, Any]:
        """The next message; RuntimeError for an error of the server."""
        data = await self.socket.recv()
        _search(data, self.leaks)
        message = json.loads(data) if isinstance(data, str) else unpack(data)[0]
        if message["type"] == "error":
            raise RuntimeError(message["text"])
        return message


class Crowd:
    """What a crowd at an address may do, and what it has done.

    counts: connections, messages, and by kind how often a connection was ended; leaks: what of `SECRETS` was told.
    """

    def __init__(self, address: str, messages: float, connections: float, seed: int):
        self.address, self.rng = address, random.Random(seed)
        place = urlsplit(address)
        self.host, self.port, self.token = place.hostname, place.port, place.fragment
        self._messages, self._connections = Bucket(messages, 1), Bucket(connections, 1)
        self.counts: Counter[str] = Counter()
        self.leaks: Counter[str] = Counter()
        self.over = False

    async def message(self) -> None:
        """Wait until one more may be sent."""
        await asyncio.sleep(self._messages.take())
        self.counts["messages"] += 1

    async def client(self, kind: Callable[["Crowd"], Any]) -> None:
        """One client after the other, until it is over."""
        while not self.over:  # a group of tasks that fails while it is cancelled forgets that it was
            await asyncio.sleep(self._connections.take())
            self.counts["connections"] += 1
            with suppress(Exception):  # the server ends it, sooner or later
                await kind(self)
            self.counts[f"{kind.__name__} ended"] += 1

    @asynccontextmanager
    async def visit(self, **options: Any) -> AsyncIterator[ClientConnection]:
        """A WebSocket that ends without a word."""
        visit = await _enter(self.address, **options)
        try:
            yield visit
        finally:
            visit.transport.abort()

    @asynccontextmanager
    async def dial(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """The same for a connection on which nothing was said yet."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def request(self, method: str, path: str, *headers: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", f"Authorization: Bearer {self.token}"]
        return "\r\n".join([*lines, *headers, "", ""]).encode()

    async def listen(self, read: Callable[[], Any]) -> None:
        """Take what comes until the connection ends."""
        while data := await read():
            _search(data, self.leaks)


async def garbage(crowd: Crowd) -> None:
    """Messages that make no sense."""
    async with crowd.visit() as visit, asyncio.TaskGroup() as group:
        group.create_task(crowd.listen(visit.recv))
        while True:
            await crowd.message()
            await visit.send(crowd.rng.choice(_GARBAGE))


async def frames(crowd: Crowd) -> None:
    """Bytes that are no frames of a WebSocket, or frames that end nothing."""
    async with crowd.visit() as visit:
        for i in range(crowd.rng.randrange(1, 200)):
            await crowd.message()
            if visit.transport.is_closing():
                return
            head = bytes((0x00 if i else 0x01, 0x83)) + bytes(4)  # more of a message that never ends
            visit.transport.write(head + b"abc" if crowd.rng.random() < 0.9 else crowd.rng.randbytes(20))
        await crowd.listen(visit.recv)


async def stall(crowd: Crowd) -> None:
    """Ask for frames and take none of them."""
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        own.setblocking(False)
        await asyncio.get_running_loop().sock_connect(own, (crowd.host, crowd.port))
        async with crowd.visit(sock=own) as visit:
            visit.transport.pause_reading()
            visit.transport.write(_masked(_OPEN))
            while not visit.transport.is_closing():
                visit.transport.write(_masked(_TURNS[0]))
                await crowd.message()


async def flood(crowd: Crowd) -> None:
    """Moves, pings and pongs without waiting for anything."""
    async with crowd.visit() as visit, asyncio.TaskGroup() as group:
        group.create_task(crowd.listen(visit.recv))
        await visit.send(_OPEN)
        for i in itertools.count():
            await crowd.message()
            await (visit.send(_TURNS[i % 2]) if i % 3 else visit.ping() if i % 2 else visit.pong())


async def half_open(crowd: Crowd) -> None:
    """The beginning of a handshake, or nothing at all."""
    whole = crowd.request("GET", "/api/walk", "Upgrade: websocket", "Connection: Upgrade")
    async with crowd.dial() as (reader, writer):
        writer.write(whole[: crowd.rng.randrange(len(whole))])
        await crowd.listen(lambda: reader.read(4096))


async def slow(crowd: Crowd) -> None:
    """A request, or an upload, a byte at a time."""
    upload = crowd.request("POST", "/api/photograph", "Content-Length: 1000000")
    whole = crowd.rng.choice((upload, crowd.request("GET", "/", "X: " + "y" * 9000))) + bytes(1000)
    async with crowd.dial() as (reader, writer), asyncio.TaskGroup() as group:
        group.create_task(crowd.listen(lambda: reader.read(4096)))
        for byte in whole:
            await crowd.message()
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.2)


async def vanish(crowd: Crowd) -> None:
    """Open a world and be gone, mostly at once."""
    async with crowd.visit() as visit:
        await crowd.message()
        visit.transport.write(_masked(_OPEN))
        await asyncio.sleep(0.5 * crowd.rng.random() ** 4)


async def knock(crowd: Crowd) -> None:
    """Requests of other pages, for what there is not, or that make no sense; some end before they are answered."""
    asked = crowd.rng.choice(("/api/offer", "/api/walk", "/../../etc/passwd", "/api/world", "/%2e%2e/app.py", "/"))
    other = crowd.rng.choice(("Origin: http://evil.example", "X-Visit: " + "a" * 22, "Content-Length: x", "A: \xff"))
    await crowd.message()
    async with crowd.dial() as (reader, writer):
        writer.write(crowd.request(crowd.rng.choice(("GET", "POST", "BREW")), asked, other))
        if crowd.rng.random() < 0.7:
            await crowd.listen(lambda: reader.read(65536))


KINDS = {kind.__name__: kind for kind in (garbage, frames, stall, flood, half_open, slow, vanish, knock)}


async def _enter(address: str, **options: Any) -> ClientConnection:
    """A WebSocket to the server; the address holds the token."""
    place = urlsplit(address)
    protocols = [PROTOCOL] + ([f"token.{place.fragment}"] if place.fragment else [])
    url, quiet = f"ws://{place.netloc}/api/walk", {"ping_interval": None, "close_timeout": 1, "open_timeout": 60}
    return await connect(url, subprotocols=protocols, compression=None, max_size=None, proxy=None, **quiet, **options)


def _masked(text: str) -> bytes:
    """A frame of text, under a mask of zeros."""
    data = text.encode()
    assert len(data) < 126
    return bytes((0x81, 0x80 | len(data), 0, 0, 0, 0)) + data


def _search(data: bytes | str, leaks: Counter[str]) -> None:
    data = data.encode(errors="replace") if isinstance(data, str) else data
    leaks.update(secret.decode() for secret in SECRETS if secret in data)


async def crowd_at(
    address: str,
    clients: int,
    seconds: float,
    messages: float,
    connections: float,
    seed: int,
    kinds: Sequence[str] = tuple(KINDS),
) -> dict:
    """What so many clients did in that time, `Crowd.counts` and `leaks`."""
    crowd = Crowd(address, messages, connections, seed)
    tasks = [asyncio.create_task(crowd.client(KINDS[kinds[i % len(kinds)]])) for i in range(clients)]
    await asyncio.wait(tasks, timeout=seconds)
    crowd.over = True
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {**crowd.counts, "leaks": dict(crowd.leaks)}


def main(words: Sequence[str]) -> None:
    address, (clients, seconds, messages, connections, seed), kinds = words[0], map(float, words[1:6]), words[6:]
    told = asyncio.run(
        crowd_at(address, int(clients), seconds, messages, connections, int(seed), kinds or tuple(KINDS))
    )
    print(json.dumps(told), flush=True)
    os._exit(0)  # what is still open ends with the process


if __name__ == "__main__":
    main(sys.argv[1:])
