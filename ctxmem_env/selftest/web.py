"""What the web page takes in, for the fuzzer; each function gets an empty folder and gives a `Target`.

Messages, photographs and worlds go to a `Visit`, as a connection hands them on.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ctxmem_env.selftest.calls import read_object
from ctxmem_env.selftest.files import parts_of_world, tiny_generator, whole_world
from ctxmem_env.selftest.mutate import SEPARATOR
from ctxmem_env.selftest.target import Target


def web_message(folder: Path) -> Target:
    """Messages on the WebSocket, and what is done with those that make sense."""
    from ctxmem_env.viewer.messages import parse, parse_action

    offer, visit = _visit(folder)

    def obey(text: str) -> None:
        message = parse(text)
        if message["type"] == "move":
            visit.step(parse_action(message.get("action")))
        elif message["type"] == "retrieve":
            visit.retrieve(offer.choose({"retrieval": message.get("retrieval")}, visit.choice).retrieval)
        else:
            visit.open(offer.choose(message, visit.choice))

    seeds = [
        {"type": "open", "style": "library", "task": "point_goal", "retrieval": "recent", "seed": 3},
        {"type": "open", "model": "model", "style": "any", "task": "explore", "seed": None},
        {"type": "move", "action": [0.5, 0, -1, 0.25]},
        {"type": "retrieve", "retrieval": "none"},
    ]
    told = _told(obey, folder)
    return Target(
        [json.dumps(seed).encode() for seed in seeds], lambda data: told(data.decode(errors="replace")), (ValueError,)
    )


def web_photograph(folder: Path) -> Target:
    """Uploaded photographs, with the two numbers of the request, which are floats by then."""
    _, visit = _visit(folder)
    rng = np.random.default_rng(0)
    picture, seeds = Image.fromarray(rng.integers(256, size=(20, 30, 3), dtype=np.uint8)), []
    for kind, numbers in (("PNG", {"fov": 65.0}), ("JPEG", {"fov": 90, "distance": 3.5}), ("WEBP", {"fov": 30.0})):
        buffer = io.BytesIO()
        picture.save(buffer, kind)
        seeds.append(SEPARATOR.join([json.dumps(numbers).encode(), buffer.getvalue()]))
    told = _told(visit.photograph, folder)

    def run(data: bytes) -> None:
        numbers, *parts = data.split(SEPARATOR)
        given = read_object(numbers).items()  # an int may be larger than a float
        given = {name: float(str(value)) for name, value in given if isinstance(value, int | float)}
        told(SEPARATOR.join(parts), given.get("fov", 65.0), given.get("distance"))

    return Target(seeds, run, (ValueError,))


def web_world(folder: Path) -> Target:
    """Uploaded worlds: as bytes, and as a table and arrays whose checksums are right."""
    _, visit = _visit(folder)
    path = folder / "world.ctxworld"
    path.write_bytes(visit.save())
    seeds = [path.read_bytes(), SEPARATOR.join(parts_of_world(path))]
    told = _told(visit.load, folder)

    def run(data: bytes) -> None:
        parts = data.split(SEPARATOR)
        path.write_bytes(data if len(parts) == 1 else whole_world(*parts))
        told(path)
        visit.step(np.zeros(4, np.float32))

    return Target(seeds, run, (ValueError,))


def _visit(folder: Path) -> tuple:
    """An offer of one tiny model, and a visit to it in which a world is open."""
    from ctxmem_env.viewer.choice import Offer
    from ctxmem_env.viewer.visit import Visit

    offer = Offer([str(tiny_generator(folder / "model"))], "cpu", num_context=2, memory_capacity=64)
    visit = Visit(offer)
    visit.open(offer.choose({"seed": 0}))
    return offer, visit


def _told(function: Callable, folder: Path) -> Callable:
    """`function`, of whose errors a visitor is told: their text was meant for users and holds no path of this host."""
    from ctxmem_env.viewer.visitor import explain

    def tell(*arguments: Any) -> None:
        try:
            function(*arguments)
        except UnicodeError as error:
            raise AssertionError(f"not meant for users: {error!r}") from error
        except ValueError as error:
            text = explain(error).encode(errors="replace").decode()
            assert text == str(error) and str(folder) not in text, f"cannot be sent, or tells of the host: {error!r}"
            raise

    return tell
