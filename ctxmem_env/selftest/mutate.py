"""Inputs made from inputs: what `ctxmem_env.selftest.fuzz` tries on a parser.

An input is one or more parts with `SEPARATOR` between them: the files of a capture, or the header and the body of one
file. A mutation changes one part as what it is: JSON by its values, text by its words and lines, anything else by its
bytes.
"""

import json
import re
from typing import Any

import numpy as np

SEPARATOR = b"\n\xff--\xff\n"
LONGEST = 1 << 16  # bytes of an input

_DEEP = 100_000
_NUMBERS = (0, -1, 1, 2, 7, 255, 256, 65536, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30,
            10**400, 0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"))  # fmt: skip
_TEXTS = ("", "a", "0", "-1", "nan", "1e999", "0" * 5000, "../outside.png", "/etc/passwd", "images/link.png", "images",
          "images/loop", "a\0b", "x" * 5000, "..", ".", "\ud800", "\u202e", "%s%n", "{0}", "__class__", "owner/name",
          "file:///etc/passwd", "٣", "no", "float32", "object")  # fmt: skip
_VALUES: tuple[Any, ...] = (*_NUMBERS, *_TEXTS, None, True, False, [], {}, [[]], [None], {"": None}, [0] * 2000)
_WORDS = (b"0", b"-1", b"nan", b"inf", b"1e999", b"99999999999999999999", b"9" * 5000, b"0x10", b"1_0", b"#", b"",
          b"\0", b"../../etc/passwd", b"\xff", b"x" * 5000, b"*a", b"&a",
          b"!!python/object:os.system", b"2001-99-99", b"? ",
          b"[" * 3000, b"{a: " * 1000, b"- " * 3000, b"<<", b"!!binary", b"---", b"%YAML 9.9")  # fmt: skip


def mutate(data: bytes, rng: np.random.Generator, others: list[bytes]) -> bytes:
    """Another input, made of one and perhaps a part of another of `others`; at most `LONGEST` bytes where it grew."""
    parts = data.split(SEPARATOR)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(parts)))
        if rng.random() < 0.05:
            pieces = others[int(rng.integers(len(others)))].split(SEPARATOR)
            parts[at] = pieces[min(at, len(pieces) - 1)]
        else:
            parts[at] = _mutate_part(parts[at], rng)
    made = SEPARATOR.join(parts)
    return made if len(made) <= max(LONGEST, len(data)) else made[:LONGEST]


def _mutate_part(part: bytes, rng: np.random.Generator) -> bytes:
    kind = rng.random()
    if part[:1] in (b"{", b"[") and kind < 0.85:
        try:
            return json.dumps(_mutate_value(json.loads(part), rng)).encode(errors="surrogatepass")
        except (ValueError, RecursionError):
            return _mutate_bytes(part, rng)
    text = sum(byte < 9 or byte > 126 for byte in part[:200]) == 0
    return _mutate_text(part, rng) if text and kind < 0.9 else _mutate_bytes(part, rng)


def _mutate_value(value: Any, rng: np.random.Generator) -> Any:
    """JSON of which one value, key or list is another."""
    places = list(_places(value))
    if not places or rng.random() < 0.02:
        return _deep(rng) if rng.random() < 0.1 else _pick(_VALUES, rng)
    owner, key = _pick(places, rng)
    choice = rng.integers(8)
    if choice <= 3:
        owner[key] = _pick(_VALUES, rng)
    elif choice == 4:
        del owner[key]
    elif choice == 5 and isinstance(owner[key], int | float) and not isinstance(owner[key], bool):
        owner[key] += _pick((1, -1, 0.5, 1e-3, 100) if abs(owner[key]) < 2**53 else (1, -1), rng)
    elif choice == 6:
        other, name = _pick(places, rng)
        owner[key] = json.loads(json.dumps(other[name])) if name in other or isinstance(other, list) else None
    elif isinstance(owner, list):
        owner.insert(key, owner[key])
    else:
        owner[_pick(_TEXTS, rng)] = owner.pop(key)
    return value


def _places(value: Any):
    """Every (container, key) in a JSON value."""
    stack = [value]
    while stack:
        owner = stack.pop()
        items = owner.items() if isinstance(owner, dict) else enumerate(owner) if isinstance(owner, list) else ()
        for key, inner in list(items)[:200]:
            yield owner, key
            if isinstance(inner, dict | list):
                stack.append(inner)


def _deep(rng: np.random.Generator) -> Any:
    value: Any = 0
    for _ in range(int(rng.integers(10, 900))):  # as deep as `json.dumps` goes; bytes go deeper
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def _mutate_text(part: bytes, rng: np.random.Generator) -> bytes:
    choice = rng.integers(6)
    if choice == 0:
        lines = part.split(b"\n")
        at = int(rng.integers(len(lines)))
        lines[at : at + 1] = [lines[at]] * int(rng.integers(0, 3))
        return b"\n".join(lines)
    if choice == 1:
        return _mutate_bytes(part, rng)
    words = [match.span() for match in re.finditer(rb"[^\s,:*\[\]]+", part)] or [(0, 0)]
    first, last = _pick(words, rng)
    word = _pick(_WORDS, rng)
    if choice == 2:
        other = _pick(words, rng)
        word = part[slice(*other)]
    elif choice == 3:
        first = last
    return part[:first] + word + part[last:]


def _mutate_bytes(part: bytes, rng: np.random.Generator) -> bytes:
    if not part:
        return bytes(rng.integers(0, 256, int(rng.integers(0, 16)), dtype=np.uint8))
    at, choice = int(rng.integers(len(part))), rng.integers(7)
    size = int(rng.integers(1, 9))
    if choice == 0:
        return part[:at] + bytes([part[at] ^ 1 << int(rng.integers(8))]) + part[at + 1 :]
    if choice == 1:
        return part[:at]
    if choice == 2:
        return part[:at] + part[at + size :]
    if choice == 3:
        return part[:at] + part[at : at + size] * int(rng.integers(2, 5)) + part[at + size :]
    if choice == 4:
        return b"[" * _DEEP if rng.random() < 0.01 else part[:at] + bytes(rng.bytes(size)) + part[at + size :]
    number = int(_pick(_NUMBERS[:16], rng)) % 2**64
    width = int(_pick((1, 2, 4, 8), rng))
    stored = (number % 256**width).to_bytes(width, "little" if rng.random() < 0.7 else "big")
    return part[:at] + stored + part[at + width :]


def _pick(values, rng: np.random.Generator) -> Any:
    return values[int(rng.integers(len(values)))]
