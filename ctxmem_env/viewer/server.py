"""The server: the address, the token, and an end that tells what was done."""

import os
import re
import secrets
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ctxmem_env.errors import check_integer
from ctxmem_env.viewer.choice import Offer
from ctxmem_env.viewer.limits import MESSAGE_BYTES, Limits

TOKEN = "CTXMEM_TOKEN"  # the environment variable


class Serving:
    """A server that listens already and serves once it runs.

    Args:
        offer, limits: what visitors may choose, and how much.
        host, port: where to listen; port 0 takes a free one.
        hosts: names besides addresses and localhost under which the server may be asked for.

    Attributes:
        address: to be opened in a browser; it holds the token, if one is needed.

    Raises:
        ValueError: an address where nobody can listen, a token that is too weak, a limit out of range, or no FastAPI.
    """

    def __init__(
        self, offer: Offer, limits: Limits, host: str = "127.0.0.1", port: int = 8000, hosts: Sequence[str] = ()
    ):
        try:
            import uvicorn

            from ctxmem_env.viewer.app import make_app
            from ctxmem_env.viewer.guard import Guard, is_loopback
            from ctxmem_env.viewer.house import House
            from ctxmem_env.viewer.sockets import Http, WebSocket
        except ImportError as error:
            raise ValueError("the web page needs FastAPI; run `pip install 'ctxmem-env[serve]'`.") from error
        check_integer("visitors", limits.visitors, 1, 64)
        if not 0 < limits.fps <= 120:
            raise ValueError(f"fps={limits.fps!r}; expected steps a second, above 0 and at most 120.")
        local = is_loopback(host)
        token = _token(needed=not local)
        self._listener = _listen(host, check_integer("port", port, 0, 65535))
        self.house = House(offer, limits)
        self.guard = Guard(make_app(self.house), token, hosts, local)
        config = uvicorn.Config(
            self.guard,
            http=Http,
            ws=WebSocket,
            ws_max_size=MESSAGE_BYTES,
            ws_per_message_deflate=False,  # frames are packed already
            log_config=None,
            log_level="error",  # no line for each request that makes no sense
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=3,
        )
        self._server = uvicorn.Server(config)
        shown = host if ":" not in host else f"[{host}]"
        self.address = f"http://{shown}:{self._listener.getsockname()[1]}/" + (f"#{token}" if token else "")

    def run(self) -> dict:
        """Serve until `stop` is called; what happened."""
        began = time.monotonic()
        self._server.run(sockets=[self._listener])
        rounds = self.house.rounds
        return {
            "address": self.address.partition("#")[0],
            "seconds": round(time.monotonic() - began, 1),
            **self.house.counts,
            "refused": self.guard.refused,
            "steps": rounds.steps,
            "rounds": rounds.count,
            "worlds_a_call": round(rounds.rows / rounds.calls, 2) if rounds.calls else None,
        }

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._server.started

    def stop(self) -> None:
        """Let `run` end soon; to be called from another thread."""
        self._server.should_exit = True

    @contextmanager
    def until_signalled(self) -> Iterator[None]:
        """Within it SIGINT and SIGTERM let `run` end, now or when it begins, and do nothing else."""
        kept = {one: signal.signal(one, lambda *_: self.stop()) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in kept.items():
                signal.signal(one, handler)


def _token(needed: bool) -> str | None:
    token = os.environ.get(TOKEN)
    if token is None:
        return secrets.token_urlsafe(24) if needed else None
    if not re.fullmatch(r"[A-Za-z0-9_-]{16,128}", token):
        raise ValueError(f"{TOKEN} is no token; expected 16 to 128 letters, digits, - or _.")
    return token


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise ValueError(
            f"host={host!r}, port={port}: nobody can listen there ({error.strerror}); choose another port."
        ) from error
    return listener
