"""Connections at the server: how long they may be silent, how many there may be, and what they may send."""

import json
import socket
import time
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served import Visitor, ask, served
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from ctxmem_env.viewer import sockets
from ctxmem_env.viewer.guard import PROTOCOL

SILENCE, WHOLE = 0.4, 1.2  # seconds, in place of those of the limits
MOST = 12  # connections
HANDSHAKE = (
    "GET /api/walk HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {PROTOCOL}"
    "\r\n\r\n"
).encode()


@pytest.fixture(scope="module")
def address(untrained_model):
    """A server that waits for less than usual."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sockets, "REQUEST_SECONDS", SILENCE)
        patch.setattr(sockets, "HTTP_SECONDS", WHOLE)
        patch.setattr(sockets, "CONNECTIONS", MOST)
        with served(untrained_model) as serving:
            yield serving.address


@contextmanager
def dialled(address):
    with socket.create_connection(("127.0.0.1", urlsplit(address).port), timeout=10) as one:
        yield one


def seconds_until_it_ends(one, began):
    """Seconds since `began` until the server ended the connection; what it said is thrown away."""
    try:
        while one.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - began


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_client_that_asks_for_nothing_is_let_go_at_its_deadline(address, share):
    began = time.monotonic()
    with dialled(address) as one:
        one.sendall(HANDSHAKE[: int(share * len(HANDSHAKE))])
        assert SILENCE - 0.05 < seconds_until_it_ends(one, began) < WHOLE


def test_a_client_that_asks_byte_by_byte_is_let_go_at_the_same_deadline(address):
    began = time.monotonic()
    with dialled(address) as one:
        with pytest.raises(OSError):
            for byte in HANDSHAKE:
                one.sendall(bytes([byte]))
                time.sleep(0.05)
        assert SILENCE - 0.05 < time.monotonic() - began < WHOLE + 0.5


def test_a_request_whose_body_never_ends_is_let_go_in_the_end(address):
    began = time.monotonic()
    with Visitor(address) as visitor, dialled(address) as one:
        head = (
            f"POST /api/photograph HTTP/1.1\r\nHost: localhost\r\nX-Visit: {visitor.key}\r\nContent-Length: 9\r\n\r\n"
        )
        one.sendall(head.encode())
        assert WHOLE - 0.05 < seconds_until_it_ends(one, began) < WHOLE + 5


def test_a_websocket_may_be_silent_for_longer(address):
    with Visitor(address) as visitor:
        time.sleep(WHOLE + 0.2)
        assert visitor.open(seed=0)["step"] == 0


def test_connections_are_bounded_and_the_next_one_is_taken_when_one_ends(address):
    with ExitStack() as stack:
        ones = [stack.enter_context(dialled(address)) for _ in range(MOST)]
        time.sleep(0.1)
        began = time.monotonic()
        with dialled(address) as one:
            assert seconds_until_it_ends(one, began) < SILENCE / 2
        ones[0].close()
        time.sleep(0.1)
        assert ask(address)[0] == 200


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG])
def test_pings_and_pongs_are_bounded(address, opcode):
    burst = int(4 * sockets._PINGS)
    with raw_visitor(address) as one:
        one.sendall(burst * frame(opcode, b"a"))
        assert asked_and_answered(one)
        with pytest.raises((ConnectionError, EOFError)):
            for _ in range(20):
                one.sendall(burst * frame(opcode, b"a"))
                asked_and_answered(one)


@pytest.mark.slow
def test_pings_now_and_then_are_answered_for_ever(address, monkeypatch):
    monkeypatch.setattr(sockets, "_PINGS", 50.0)
    with Visitor(address) as visitor:
        for _ in range(260):
            assert visitor.socket.ping().wait(5)
            time.sleep(0.02)


TEXT = json.dumps({"type": "sing"}).encode()


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, len(TEXT)), max_size=sockets._FRAGMENTS - 1))
def test_a_message_in_up_to_so_many_frames_is_the_same_message(address, cuts):
    places = [0, *sorted(cuts), len(TEXT)]
    pieces = [TEXT[first:last] for first, last in pairwise(places)]
    with raw_visitor(address) as one:
        one.sendall(fragments(pieces))
        assert b"'sing' is unknown" in hear(one)


@pytest.mark.parametrize("empty", [True, False])
def test_a_message_in_more_frames_ends_the_connection(address, empty):
    pieces = [b"" if empty else b" "] * (sockets._FRAGMENTS + 2)
    with raw_visitor(address) as one, pytest.raises((ConnectionError, EOFError)):
        one.sendall(fragments(pieces)[: -len(frame(Opcode.CONT, b""))])
        hear(one)


def test_who_does_not_take_the_last_bytes_is_gone_soon_after(address, monkeypatch):
    monkeypatch.setattr(sockets, "SEND_SECONDS", 0.3)
    with raw_visitor(address) as one:
        one.sendall(22 * frame(Opcode.TEXT, b"["))  # one more than is forgiven; the answer to its close never comes
        assert seconds_until_it_ends(one, time.monotonic()) < 5


def test_text_that_is_none_ends_the_connection_with_its_code(address):
    with Visitor(address) as visitor:
        visitor.socket.send(b"\xff", text=True)
        with pytest.raises(ConnectionClosed, match="1007"):
            visitor.hear()


def frame(opcode, data, fin=True):
    """A frame of a client."""
    return Frame(opcode, data, fin).serialize(mask=True, extensions=())


def fragments(pieces):
    """One message of text in so many frames."""
    last = len(pieces) - 1
    kinds = [Opcode.TEXT] + [Opcode.CONT] * last
    return b"".join(frame(kind, piece, i == last) for i, (kind, piece) in enumerate(zip(kinds, pieces, strict=True)))


@contextmanager
def raw_visitor(address):
    """A socket on which the handshake is done and the welcome is read."""
    with dialled(address) as one:
        one.sendall(HANDSHAKE)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += one.recv(1)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        assert b"welcome" in hear(one)
        yield one


def hear(one):
    """The next message that is no ping or pong; EOFError where the connection ends."""
    while True:
        head = take(one, 2)
        length = head[1]
        if length > 125:
            length = int.from_bytes(take(one, 2 if length == 126 else 8))
        data = take(one, length)
        if head[0] & 0x0F in (Opcode.TEXT, Opcode.BINARY):
            return data
        if head[0] & 0x0F == Opcode.CLOSE:
            raise EOFError(data)


def take(one, size):
    data = b""
    while len(data) < size:
        data += one.recv(size - len(data)) or end(data)
    return data


def end(data):
    raise EOFError(data)


def asked_and_answered(one):
    one.sendall(frame(Opcode.TEXT, TEXT))
    return b"'sing' is unknown" in hear(one)
