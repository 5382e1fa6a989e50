"""A server of the web page in a thread, and visitors in Python, for the tests."""

import asyncio
import json
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
from websockets.sync.client import connect

from ctxmem_env.viewer.choice import Offer
from ctxmem_env.viewer.guard import PROTOCOL
from ctxmem_env.viewer.house import House
from ctxmem_env.viewer.limits import Bucket, Limits
from ctxmem_env.viewer.messages import unpack
from ctxmem_env.viewer.pictures import from_png
from ctxmem_env.viewer.server import Serving
from ctxmem_env.viewer.visitor import Visitor as Served

FORWARD, LEFT, RIGHT, STAY = [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, -1, 0], [0, 0, 0, 0]


@contextmanager
def served(model, limits=None, host="127.0.0.1", hosts=(), **offer):
    """A server that is up."""
    serving = Serving(Offer([str(model)], "cpu", **offer), limits or Limits(fps=100), host, 0, hosts)
    serving.house.warm_up()
    thread = threading.Thread(target=serving.run)
    thread.start()
    wait_until(lambda: serving.running)
    try:
        yield serving
    finally:
        serving.stop()
        thread.join(30)
        assert not thread.is_alive()


def wait_until(condition, seconds=10.0):
    """Until it holds; an error if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def ask(address, method="GET", path="/", body=None, **headers):
    """Status, headers and body of a request."""
    place = urlsplit(address)
    connection = HTTPConnection("127.0.0.1", place.port, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()
    finally:
        connection.close()


class Visitor:
    """A visitor who waits for every answer."""

    def __init__(self, address, token=None, **options):
        place = urlsplit(address)
        self.address = address
        protocols = [PROTOCOL] + ([f"token.{token}"] if token else [])
        url = f"ws://127.0.0.1:{place.port}/api/walk"
        self._connection = connect(url, subprotocols=protocols, compression=None, max_size=None, **options)
        self.socket = self._connection.__enter__()
        self.welcome = self.hear()
        self.key = self.welcome.get("visit")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._connection.__exit__(*error)

    def say(self, **message):
        self.socket.send(json.dumps(message))

    def hear(self, timeout=30):
        """The next message; of a frame the header, with its parts."""
        data = self.socket.recv(timeout)
        if isinstance(data, str):
            return json.loads(data)
        header, parts = unpack(data)
        return header | {"pictures": parts}

    def open(self, **choice):
        self.say(type="open", **choice)
        return self.hear()

    def move(self, action):
        self.say(type="move", action=action)
        return self.hear()

    def ask(self, method, path, body=None):
        return ask(self.address, method, path, body, X_Visit=self.key)

    def upload(self, path, body):
        """Status and error, or the first frame."""
        status, _, answer = self.ask("POST", path, body)
        return (status, self.hear()) if status == 200 else (status, json.loads(answer)["error"])


def picture(frame):
    """The frame itself, uint8 (H, W, 3)."""
    return from_png(frame["pictures"]["frame"]).astype(np.uint8)


class Socket:
    """A WebSocket whose frames are on their way until `taken` is set; `sent` has what has arrived."""

    def __init__(self):
        self.begun, self.taken, self.sent = asyncio.Event(), asyncio.Event(), asyncio.Queue()

    async def send_json(self, message):
        self.sent.put_nowait(message["type"])

    async def send_bytes(self, frame):
        self.begun.set()
        await self.taken.wait()
        self.sent.put_nowait(frame)


class Walk:
    """What is done to a world; all but steps waits for `gate`."""

    def __init__(self):
        self.begun, self.gate, self.stepped, self.done = threading.Event(), threading.Event(), threading.Event(), []

    def step(self, action):
        self.done.append("step")
        self.stepped.set()
        return b"step"

    def wait(self, name):
        self.begun.set()
        assert self.gate.wait(20)
        self.done.append(name)
        return name.encode()

    retrieve = wait


@asynccontextmanager
async def house_of(count):
    """A house whose rounds do not run yet, and its visitors."""
    house = House(None, Limits(visitors=count, fps=1000))
    visitors = [Served(Socket(), Walk(), Bucket(1, 1), house.rounds.wake) for _ in range(count)]
    house.visitors.update((visitor.key, visitor) for visitor in visitors)
    try:
        yield house, visitors
    finally:
        for visitor in visitors:
            visitor.visit.gate.set()
        house.workers.shutdown()
