"""Who steps when: rounds in which every visitor who wants to move makes one step, and nobody two."""

import asyncio
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ctxmem_env.viewer.sharing import Round
from ctxmem_env.viewer.visitor import Visitor

_TOGETHER = 0.006  # seconds that a round waits for those of the last one, whose wishes are on their way
_LATER = 1.0  # seconds; a look at what nobody announced


class Rounds:
    """The rounds of the `visitors`, a collection that may change at any time.

    Shares are fair by construction: a round waits for nobody's network, and a visitor whose last frame was not taken
    yet, or whose world is being opened, is left out until the next one.

    Attributes:
        count, steps, calls, rows: rounds and the steps in them; calls of generators and the worlds in those.
    """

    def __init__(self, visitors: Callable[[], Collection[Visitor]], places: int, fps: float):
        self._visitors, self._interval = visitors, 1.0 / fps
        self._pool = ThreadPoolExecutor(places, "step")
        self._changed = asyncio.Event()
        self._last: list[Visitor] = []
        self.count = self.steps = self.calls = self.rows = 0

    def wake(self) -> None:
        """There is something new to do."""
        self._changed.set()

    async def run(self) -> None:
        """For ever."""
        try:
            while True:
                await self._wait_for(lambda now: any(v.ready(now) for v in self._visitors()), None)
                late = time.monotonic() + _TOGETHER
                await self._wait_for(lambda now: all(v.ready(now) or v.gone for v in self._last), late)
                await self._step([v for v in self._visitors() if v.ready(time.monotonic())])
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _wait_for(self, condition: Callable[[float], bool], until: float | None) -> None:
        while not condition(now := time.monotonic()) and (until is None or now < until):
            self._changed.clear()
            ends = [now + _LATER] if until is None else [until]
            ends += [v.due for v in self._visitors() if v.wants() and v.due > now]
            try:
                async with asyncio.timeout(max(0.0, min(ends) - now)):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _step(self, movers: list[Visitor]) -> None:
        began, shared = time.monotonic(), Round(len(movers))
        self._last = movers
        if not movers:
            return
        wishes = [mover.wish for mover in movers]
        for mover in movers:
            await mover.lock.acquire()  # at once: `ready` saw in this very moment that nobody holds it or waits for it
            mover.wish, mover.due = None, began + self._interval
        loop = asyncio.get_running_loop()
        jobs = zip(movers, wishes, strict=True)
        try:
            tasks = [loop.run_in_executor(self._pool, _step_in, shared, *job) for job in jobs]
            results = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for mover in movers:
                mover.lock.release()
        self.count += 1
        self.steps += len(movers)
        self.calls, self.rows = self.calls + len(shared.batches), self.rows + sum(shared.batches)
        for mover, result in zip(movers, results, strict=True):
            mover.steps += 1
            if isinstance(result, BaseException):
                mover.fail(result)
            else:
                mover.show(result)


def _step_in(shared: Round, visitor: Visitor, action: np.ndarray) -> bytes:
    with shared.member():
        return visitor.visit.step(action)
