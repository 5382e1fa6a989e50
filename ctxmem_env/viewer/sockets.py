"""Connections that do not keep what they hold: deadlines and bounds that uvicorn leaves open."""

from asyncio import TimerHandle

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ctxmem_env.viewer.limits import CONNECTIONS, HTTP_SECONDS, REQUEST_SECONDS, SEND_SECONDS, Bucket

_FRAGMENTS = 64  # of a message
_PINGS = 5.0  # a second, and pongs


class Http(H11Protocol):
    """HTTP whose client must ask soon, and be done before long."""

    def connection_made(self, transport):
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
            return
        self._deadlines = [
            self.loop.call_later(REQUEST_SECONDS, self._hang_up, True),
            self.loop.call_later(HTTP_SECONDS, self._hang_up, False),
        ]

    def connection_lost(self, exc):
        self._forget_deadlines()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event):
        self._forget_deadlines()
        super().handle_websocket_upgrade(event)

    def _hang_up(self, silent_only: bool) -> None:
        if not silent_only or self.cycle is None:
            self.transport.abort()

    def _forget_deadlines(self) -> None:
        for deadline in getattr(self, "_deadlines", ()):
            deadline.cancel()


class WebSocket(WebSocketsSansIOProtocol):
    """A WebSocket that is gone soon after its task is, whether the client takes the last bytes or not."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._pings = Bucket(_PINGS, 4 * _PINGS)
        self._end: TimerHandle | None = None

    def on_task_complete(self, task):
        super().on_task_complete(task)
        if not self.disconnected:
            self._end = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def connection_lost(self, exc):
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def handle_ping(self):
        super().handle_ping()
        self._count_ping()

    def handle_pong(self, event):
        super().handle_pong(event)
        self._count_ping()

    def handle_cont(self, event):
        super().handle_cont(event)
        if len(self.frames) > _FRAGMENTS:
            self.transport.abort()

    def _count_ping(self) -> None:
        if self._pings.take() > 0:
            self.transport.abort()
