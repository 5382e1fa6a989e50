"""`ctxmem selftest`: the reliability report."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from ctxmem_env.cli.command import Command


@dataclass(frozen=True, kw_only=True)
class SelfTest(Command):
    """Try to break the package on this machine: broken inputs, kills, full disks, a crowd at the web page, a long walk.

    Takes some minutes; the whole of it, with --full, some hours. The exit code is 1 where something did not hold.
    """

    full: bool = False
    """A million inputs, 240 kills, 100,000 steps and an hour of a crowd, as for the report in the README."""
    parts: Annotated[tuple[str, ...] | None, arg(metavar="PART [PART ...]")] = None
    """Some of faults, kills, repeats, fuzz, server and soak. By default all; server needs the extra `serve`."""
    parsers: Annotated[tuple[str, ...] | None, arg(metavar="PARSER [PARSER ...]")] = None
    """Parsers that are fuzzed, such as world_file; of others stays what FILE holds. By default all."""
    out: Annotated[Path | None, arg(metavar="FILE")] = None
    """JSON file to keep the report in; parts of it that are not tried stay."""
    folder: Annotated[Path | None, arg(metavar="FOLDER")] = None
    """Where fuzz and soak keep what they have done, so that they go on when the command is given again."""

    def run(self) -> dict:
        from ctxmem_env.selftest.report import make_report, parts_here

        parts = parts_here() if self.parts is None else self.parts
        report = make_report(parts, self.full, self.out, self.folder, self.quiet, self.parsers)
        if report["failures"]:
            print(json.dumps(report))
            sys.exit(1)
        return report
