"""Arguments to a command, and one line for arguments that are none."""

import functools
import io
import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from importlib.metadata import version
from typing import Annotated, Any, get_args

import docstring_parser
import tyro

from ctxmem_env.errors import unknown_name

_WIDE = "10000"  # columns, so that tyro breaks no line that is looked for here
_BORDER = re.compile(r"[╭╮╰╯│─]+|^\||\|$|\+?-{3,}\+?")  # of boxes, and of those without Unicode


def parse(kinds: Any, names: dict[str, Sequence[str]], description: str, arguments: Sequence[str] | None) -> Any:
    """The command that arguments ask for.

    Args:
        kinds: of commands, as `tyro.cli` takes them.
        names: of the commands, and of those below each.
        description: of all.
        arguments: None for those of the process.

    Raises:
        ValueError: arguments that do not fit, in one line.
        SystemExit: help or the version was asked for, and printed.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["--version"]:
        packages = ", ".join(f"{name} {version(name)}" for name in ("ctxmem-env", "torch", "gymnasium"))
        print(f"{packages}, Python {platform.python_version()}")
        raise SystemExit(0)
    _check_names(names, arguments)
    said, columns = io.StringIO(), os.environ.get("COLUMNS")
    if {"-h", "--help"} & set(arguments):
        for kind in _classes(kinds):
            _write_out(kind)
    else:
        os.environ["COLUMNS"] = _WIDE
    try:
        with redirect_stderr(said):
            config = (tyro.conf.FlagCreatePairsOff,)
            return tyro.cli(kinds, prog="ctxmem", description=description, args=arguments, config=config)
    except SystemExit as end:
        if not end.code:
            raise
        raise ValueError(_in_one_line(said.getvalue(), arguments)) from None
    finally:
        os.environ.pop("COLUMNS", None)
        if columns is not None:
            os.environ["COLUMNS"] = columns


def _check_names(names: dict[str, Sequence[str]], arguments: list[str]) -> None:
    if not arguments:
        raise ValueError(f"which command? One of {', '.join(names)}; `ctxmem --help` tells what they do.")
    first, *rest = arguments
    if first.startswith("-"):
        return
    if first not in names:
        raise unknown_name("command", first, names)
    below = names[first]
    if below and not rest:
        raise ValueError(f"{first} what? One of {', '.join(below)}; `ctxmem {first} --help` tells what they do.")
    if below and not rest[0].startswith("-") and rest[0] not in below:
        raise unknown_name(first, rest[0], below)


def _classes(kinds: Any) -> Iterator[type]:
    """The classes of commands in a union of annotated ones, with what they inherit from."""
    if isinstance(kinds, type):
        yield from kinds.__mro__[:-1]
    for part in get_args(kinds):
        yield from _classes(part)


@functools.cache
def _write_out(kind: type) -> None:
    """Have help tell options without the line breaks of the source, and only defaults that say something."""
    hints = vars(kind).get("__annotations__", {})
    for told in docstring_parser.parse_from_object(kind).params:
        if told.arg_name in hints:
            text = " ".join(told.description.split())
            shown = tyro.conf.arg(help=text, help_behavior_hint=_default)
            hints[told.arg_name] = Annotated[hints[told.arg_name], shown]


def _default(label: str) -> str:
    return "" if label in ("None", "False", "") else f"(default: {label})"


def _in_one_line(said: str, arguments: list[str]) -> str:
    """What tyro says in a box, without the box: what is wrong, the nearest option, and where help is."""
    lines = [_BORDER.sub("", line).strip() for line in said.splitlines()]
    lines = [line for line in lines[1:] if line]
    text = " ".join(lines)
    words = []
    for word in arguments:
        if word.startswith("-"):
            break
        words.append(word)
    help_line = f"see `ctxmem {' '.join(words[:2] if words[:1] == ['bench'] else words[:1])} --help`."
    if match := re.search(r"Unrecognized options: (\S+?),? ", text + " "):
        near = re.search(r"Perhaps you meant: (--[\w-]+)", text)
        hint = f"Did you mean {near[1]}? " if near else ""
        return f"option {match[1]} is unknown. {hint}Or {help_line}" if near else f"{match[1]} is unknown; {help_line}"
    if "Missing from" in text:
        options = [line for line in lines if re.match(r"--\w|[A-Z]+$", line)]
        missing = [line.split()[0] for line in options] or ["an argument"]
        return f"{', '.join(missing)} is missing; {help_line}"
    if match := re.search(r"Error parsing (\S+): .*? from \[(.*?)\]", text):
        kind = re.search(r"Argument helptext: (\S+ [A-Z|]+|\S+)", text)
        expected = f" expected {kind[1]};" if kind else ""
        return f"{match[1]}={match[2]} is not understood;{expected} {help_line}"
    return re.split("Argument helptext|For full helptext", text)[0].strip().rstrip(".") + f"; {help_line}"
