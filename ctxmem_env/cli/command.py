"""What the subcommands of `ctxmem` have in common."""

from dataclasses import dataclass

from ctxmem_env.errors import check_integer


@dataclass(frozen=True, kw_only=True)
class Command:
    """What every subcommand has."""

    debug: bool = False
    """Show where an error comes from. CTXMEM_DEBUG=1 does the same."""
    quiet: bool = False
    """No progress and no notes on standard error; errors are still told."""
    json: bool = False
    """Tell errors on standard output too, as {"error": TEXT}, so that a script finds one line of JSON there, always."""


@dataclass(frozen=True, kw_only=True)
class TorchCommand(Command):
    """What every subcommand has that runs a generator."""

    threads: int = 1
    """Threads that torch may use. At this size more are seldom faster, and on a busy machine they are far slower."""

    def limit_threads(self) -> None:
        import torch

        torch.set_num_threads(check_integer("threads", self.threads, 1))
