"""One visitor: the newest wish, the newest frame, and work that is done one piece after the other."""

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from ctxmem_env.viewer.choice import Choice
from ctxmem_env.viewer.limits import SEND_SECONDS, Bucket
from ctxmem_env.viewer.visit import Visit

if TYPE_CHECKING:
    from fastapi import WebSocket

log = logging.getLogger("ctxmem_env.viewer")
INTERNAL = "something went wrong in the server; its log tells what. The world is as it was."
_TEXTS = 8  # messages that wait to be sent


class Visitor:
    """What is known of one connection.

    Attributes:
        key: what the page shows to upload and download; nobody else can guess it.
        openings: of worlds, how many are due.
        lock: held by whoever works on `visit`; transfer: while something is uploaded or downloaded.
        wake: called when a step may have become possible, see `ready`.
        wish: the action that is to be carried out next, float32 (4,), or None.
        opening: the choice that is to be opened next, or None.
        due: when the next step may begin, on the clock of `time.monotonic`.
        heard: when something was last asked for.
        gone: nothing more is done for this one; goodbye: why, if not by its own wish; left: set once it is gone.
    """

    def __init__(self, websocket: "WebSocket", visit: Visit, openings: Bucket, wake: Callable[[], None] = lambda: None):
        self.websocket, self.visit, self.openings, self.wake = websocket, visit, openings, wake
        self.key = secrets.token_urlsafe(16)
        self.lock, self.transfer = asyncio.Lock(), asyncio.Lock()
        self.wish: np.ndarray | None = None
        self.opening: Choice | None = None
        self.due = 0.0
        self.heard = time.monotonic()
        self.gone = False
        self.goodbye: str | None = None
        self.left = asyncio.Event()
        self.steps = 0
        self._pending = 0  # pieces of work that go on or wait for the lock
        self._frame: bytes | None = None
        self._texts: deque[dict[str, Any]] = deque(maxlen=_TEXTS)
        self._news = asyncio.Event()

    @property
    def busy(self) -> bool:
        """Whether a step or other work goes on or is due; a lock that somebody waits for is free for a moment, too."""
        return self._pending > 0 or self.lock.locked()

    def ready(self, now: float) -> bool:
        """Whether the next round should take this visitor along."""
        return self.wants() and not self.busy and self._frame is None and now >= self.due

    def wants(self) -> bool:
        """Whether there is a step to be made, sooner or later."""
        return self.wish is not None and not self.gone

    def show(self, frame: bytes) -> None:
        """Send a frame, the newest of those that were not sent yet."""
        self._frame = frame
        self._news.set()

    def tell(self, **message: Any) -> None:
        """Send a message of text."""
        self._texts.append(message)
        self._news.set()

    async def send(self) -> None:
        """Sends what there is to send until the visitor does not take it in time, or is gone."""
        with suppress(Exception):
            while not self.gone:
                await self._news.wait()
                self._news.clear()
                async with asyncio.timeout(SEND_SECONDS):
                    while self._texts:
                        await self.websocket.send_json(self._texts.popleft())
                    if (frame := self._frame) is not None:
                        await self.websocket.send_bytes(frame)
                        if self._frame is frame:  # a newer one, shown meanwhile, is news
                            self._frame = None
                            self.wake()
        self.gone = True

    async def work(self, pool: Any, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function of `visit` returns, once no step and no other work is going on; in a thread of the pool."""
        self._pending += 1
        try:
            async with self.lock:
                self.heard = time.monotonic()
                return await asyncio.get_running_loop().run_in_executor(pool, self._unless_gone, function, *arguments)
        finally:
            self._pending -= 1
            self.wake()

    def _unless_gone(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self.gone:  # while it waited for its turn
            raise ValueError("the visitor is gone.")
        return function(*arguments)

    def fail(self, error: BaseException) -> None:
        """Tell the page of an error: its text where it was meant for the user, and no more than that otherwise."""
        self.tell(type="error", text=explain(error))


def explain(error: BaseException) -> str:
    """What a visitor may know of an error; the rest goes to the log."""
    if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
        return str(error)
    log.error("while serving a visitor", exc_info=error)
    return INTERNAL
