"""Everybody who is here: places, idle visitors, and the threads that do what is not a step."""

import asyncio
import os
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect

from ctxmem_env.viewer.choice import Offer
from ctxmem_env.viewer.limits import MISTAKES, OPENING_SECONDS, Bucket, Limits
from ctxmem_env.viewer.messages import parse, parse_action
from ctxmem_env.viewer.rounds import Rounds
from ctxmem_env.viewer.visit import Visit
from ctxmem_env.viewer.visitor import Visitor

_WORKERS = 2  # threads that open, load, save and film
_PATIENCE = 5  # by how much they are nicer than those that step
_MESSAGES = 60.0  # a second, of one visitor
_OPENINGS, _AT_ONCE = 1 / 3, 5  # a second, of one place, and at once
_LOOK = 2.0  # seconds between two looks at who is idle


class House:
    """The visitors, and what they may do.

    Attributes:
        visitors: those who have a place, by their key. A place is free again when nothing is done for it any more, and
            remembers what was opened there: who comes back again and again gets no more done than who stays.
        counts: how many came, were turned away because all places were taken, or lost theirs.
    """

    def __init__(self, offer: Offer, limits: Limits):
        self.offer, self.limits = offer, limits
        self.visitors: dict[str, Visitor] = {}
        self.counts = {"visitors": 0, "turned_away": 0, "dismissed": 0, "most_at_once": 0}
        self.workers = ThreadPoolExecutor(_WORKERS, "work", initializer=_be_patient)
        self.rounds = Rounds(self.visitors.values, limits.visitors, limits.fps)
        self._places = deque(Bucket(_OPENINGS, _AT_ONCE) for _ in range(limits.visitors))  # free, the longest so first
        self._tasks: set[asyncio.Task] = set()

    def warm_up(self) -> None:
        """Loads the first model, and walks a little, so that the first visitor does not wait for it."""
        visit = Visit(self.offer)
        visit.open(self.offer.choose({"seed": 0}))
        for turn in (1.0, -1.0):
            visit.step(np.array([0, 0, turn, 0], np.float32))

    async def run(self) -> None:
        """Rounds and looks at who is idle, for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.rounds.run())
                group.create_task(self._watch())
        finally:
            self.workers.shutdown(wait=False, cancel_futures=True)

    async def receive(self, websocket: WebSocket) -> None:
        """Everything about one visitor, until the connection ends."""
        if not self._make_room():
            self.counts["turned_away"] += 1
            text = f"all {self.limits.visitors} places are taken; try again in a minute."
            await websocket.send_json({"type": "error", "text": text, "full": True})
            await websocket.close(1013)
            return
        visitor = Visitor(websocket, Visit(self.offer), self._places.popleft(), self.rounds.wake)
        self.visitors[visitor.key] = visitor
        self.counts["visitors"] += 1
        self.counts["most_at_once"] = max(self.counts["most_at_once"], len(self.visitors))
        visitor.tell(type="welcome", visit=visitor.key, offer=self.offer.describe())
        parts = {asyncio.create_task(visitor.send()), asyncio.create_task(self._listen(visitor))}
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            visitor.gone = True
            visitor.left.set()
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            with suppress(Exception):
                async with asyncio.timeout(1):
                    await websocket.close(1000 if visitor.goodbye is None else 1008, visitor.goodbye)
            self.rounds.wake()
            async with visitor.lock, visitor.transfer:
                self._free(visitor)

    async def _listen(self, visitor: Visitor) -> None:
        messages, mistakes = Bucket(_MESSAGES, _MESSAGES), 0
        while not visitor.gone:
            await asyncio.sleep(messages.take())  # unread messages hold back whoever sends more
            try:
                received = await visitor.websocket.receive()
            except (RuntimeError, WebSocketDisconnect):
                return
            if received["type"] == "websocket.disconnect":
                return
            try:
                self._obey(visitor, parse(received.get("text")))
            except ValueError as error:
                mistakes += 1
                visitor.fail(error)
                if mistakes > MISTAKES:
                    visitor.goodbye = "too many messages that make no sense"
                    return
            visitor.heard = time.monotonic()

    def _obey(self, visitor: Visitor, message: dict[str, Any]) -> None:
        if message["type"] == "move":
            action = parse_action(message.get("action"))
            _ = visitor.visit.env
            visitor.wish = action
            self.rounds.wake()
        elif message["type"] == "retrieve":
            name = self.offer.choose({"retrieval": message.get("retrieval")}, visitor.visit.choice).retrieval
            self._start(visitor, self._retrieve(visitor, name))
        else:
            choice = self.offer.choose(message, visitor.visit.choice)
            waiting, visitor.opening = visitor.opening is not None, choice
            if not waiting:
                self._start(visitor, self._open(visitor, visitor.openings.take()))

    def _start(self, visitor: Visitor, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, visitor: Visitor, wait: float) -> None:
        """Opens what was chosen last, after a while if this visitor has opened much."""
        try:
            async with asyncio.timeout(wait):
                await visitor.left.wait()
            visitor.openings.give_back()
            return
        except TimeoutError:
            pass
        try:
            frame = await visitor.work(self.workers, self._open_newest, visitor)
        except Exception as error:
            visitor.fail(error)
        else:
            visitor.wish = None
            visitor.show(frame)

    def _open_newest(self, visitor: Visitor) -> bytes:
        choice, visitor.opening = visitor.opening, None
        return visitor.visit.open(choice)

    async def _retrieve(self, visitor: Visitor, name: str) -> None:
        try:
            await visitor.work(self.workers, visitor.visit.retrieve, name)
            visitor.tell(type="retrieval", retrieval=name)
        except Exception as error:
            visitor.fail(error)

    def _make_room(self) -> bool:
        """Whether there is a place for one more; who has been idle for long gives way."""
        if self._places:
            return True
        idle = [one for one in self.visitors.values() if not one.busy and not one.transfer.locked()]
        idlest = min(idle, key=lambda visitor: visitor.heard, default=None)
        if idlest is None or time.monotonic() - idlest.heard < self.limits.yield_seconds:
            return False
        self._dismiss(idlest, "somebody else needed the place")
        return True

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            now = time.monotonic()
            for visitor in list(self.visitors.values()):
                patience = self.limits.idle_seconds if visitor.visit.choice is not None else OPENING_SECONDS
                if now - visitor.heard > patience and not visitor.busy:
                    self._dismiss(visitor, "nothing happened here for a long time")

    def _dismiss(self, visitor: Visitor, reason: str) -> None:
        self.counts["dismissed"] += 1
        visitor.goodbye, visitor.gone = reason, True
        self._free(visitor)
        visitor.tell(type="error", text=f"{reason}; open the page again to go on.")

    def _free(self, visitor: Visitor) -> None:
        if self.visitors.pop(visitor.key, None) is not None:
            self._places.append(visitor.openings)


def _be_patient() -> None:
    """Threads that step go first; Linux counts niceness by thread."""
    with suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _PATIENCE)
