"""What goes over the WebSocket: JSON from the page, and JSON with pictures to it.

From the page, one JSON object a message, at most 4 KiB:

- `{"type": "open", "model", "style", "task", "retrieval", "seed"}` opens a world; what is left out is as before, and
  the seed is drawn.
- `{"type": "move", "action": [dx, dy, dyaw, dpitch]}`, as continuous actions, from -1 to 1. Of several that have not
  been carried out yet the newest counts.
- `{"type": "retrieve", "retrieval"}` goes on in the same world with another choice of context.

To the page, as text `{"type": "welcome", "visit": key, "offer": {...}}` and `{"type": "error", "text"}`; and as bytes a
frame: the length of a JSON object, four bytes, big-endian; that object; and the pictures that its `parts` lists as
[name, bytes], one after the other.
"""

import json
import struct
from typing import Any

import numpy as np

from ctxmem_env.errors import unknown_name
from ctxmem_env.viewer.limits import MESSAGE_BYTES

TYPES = ("open", "move", "retrieve")


def parse(text: str | None) -> dict[str, Any]:
    """The message, whose type is one of `TYPES`; ValueError for anything else."""
    if text is None or len(text) > MESSAGE_BYTES:
        raise ValueError(f"expected a message of text, at most {MESSAGE_BYTES} characters.")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the message is not JSON; expected an object with a type.") from None
    if not isinstance(message, dict):
        raise ValueError(f"the message is a {type(message).__name__}; expected an object with a type.")
    kind = message.get("type")
    if kind not in TYPES:
        raise unknown_name("type", kind if isinstance(kind, str) else type(kind).__name__, TYPES)
    return message


def parse_action(action: Any) -> np.ndarray:
    """A continuous action float32 (4,); ValueError unless it is a list of four numbers from -1 to 1."""
    numbers = isinstance(action, list) and len(action) == 4
    numbers = numbers and all(isinstance(n, int | float) and not isinstance(n, bool) for n in action)
    if not numbers or not all(abs(n) <= 1 for n in action):  # NaN compares false
        raise ValueError("action: expected four numbers from -1 to 1: dx, dy, dyaw, dpitch.")
    return np.array(action, np.float32)


def pack(header: dict[str, Any], parts: dict[str, bytes]) -> bytes:
    """A frame for the page."""
    text = json.dumps(header | {"parts": [[name, len(part)] for name, part in parts.items()]}).encode()
    return b"".join((struct.pack(">I", len(text)), text, *parts.values()))


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What `pack` was given, for clients in Python."""
    (length,) = struct.unpack(">I", data[:4])
    header, at, parts = json.loads(data[4 : 4 + length]), 4 + length, {}
    for name, size in header["parts"]:
        parts[name] = data[at : at + size]
        at += size
    return header, parts
