"""What views are to show: the truth where it was seen, and what stands for it where it was not."""

from typing import NamedTuple

import torch
from torch import Tensor

from ctxmem_env.camera import cameras_at
from ctxmem_env.generator.extend import beyond_memory
from ctxmem_env.generator.lookup import MIN_DEPTH, UNKNOWN, times_nearer
from ctxmem_env.generator.transformer import Seen

_NEARER = 1.6  # what has come so many times nearer shows more than was seen of it
_ENLARGED = 2.0  # times, at most, that more detail is asked of what has come nearer


class Target(NamedTuple):
    """Of S views of each of B scenes.

    colours (B, S, 3, H, W) in [-1, 1] and log_depth (B, S, H, W), which counts where `measured`, bool (B, S, H, W);
    stands_in (B, S, 1, H, W): 1 where something else than the truth is asked for, 0 elsewhere.
    """

    colours: Tensor
    log_depth: Tensor
    measured: Tensor
    stands_in: Tensor


@torch.no_grad()
def make_target(batch: dict[str, Tensor], seen: Seen, clean: Tensor) -> Target:
    """The true frames `clean` (B, S, 3, H, W), but what is seen of memory where there are many right answers.

    Where nothing is remembered that is the example that `carry_on` gives. After a walk over own frames (a batch with
    `known`) it is whatever is remembered of what the true frames did not show: it is to stay as it was.
    """
    log_depth = batch["depth"].clamp(min=MIN_DEPTH).log()
    measured = batch["depth"] > 0  # a capture may not tell it
    if seen.hints is None:
        return Target(clean, log_depth, measured, torch.zeros_like(clean[:, :, :1]))
    hints, there = seen.hints, beyond_memory(seen.hints)
    colours, its_depth = hints.example, hints.example_depth
    if "known" in batch:
        covered, there = hints.covered > 0, ~batch["known"][:, :, None]
        colours = torch.where(covered, hints.thrown, colours)
        its_depth = torch.where(covered, hints.thrown_depth, its_depth)
    has_depth = there & (its_depth > UNKNOWN)
    log_depth = torch.where(has_depth, its_depth, log_depth[:, :, None])[:, :, 0]
    colours = torch.where(there, colours, clean)
    return Target(colours, log_depth, measured | has_depth[:, :, 0], there.to(clean))


@torch.no_grad()
def detail(batch: dict[str, Tensor], seen: Seen, target: Target) -> Tensor:
    """How many times more detail there is to be than the target's colours have, (B, S, 1, H, W), 1 or more.

    What was made up on a walk over own frames and has come nearer is to show finer detail than it did.
    """
    if seen.hints is None or "known" not in batch:
        return torch.ones_like(target.stands_in)
    times = times_enlarged(batch, seen, target.log_depth)[:, :, None]
    return torch.where((seen.hints.covered > 0) & (target.stands_in > 0), times, 1.0)


@torch.no_grad()
def judged(batch: dict[str, Tensor], seen: Seen, target: Target) -> Tensor:
    """Where a critic looks, (B, S, 1, H, W) in [0, 1]: at all that is not remembered, has come much nearer or is soft.

    The average of all details that such pixels may have is none.
    """
    painted = torch.maximum(target.stands_in, magnified(batch)[:, :, None].to(target.stands_in))
    if "soft" in batch:
        painted = torch.maximum(painted, batch["soft"].to(painted)[:, None, None, None, None])
    return painted if seen.hints is None else torch.maximum(painted, 1 - seen.hints.covered)


@torch.no_grad()
def magnified(batch: dict[str, Tensor]) -> Tensor:
    """Which pixels of the true views (B, S, H, W) are remembered, but only from `_NEARER` times as far away or more."""
    log_depth = batch["depth"].clamp(min=MIN_DEPTH).log()
    views, context = (cameras_at(batch[name], batch["fov"]) for name in ("poses", "context_poses"))
    nearer = times_nearer(log_depth, views, batch["context_depth"], context, batch["mask"]) > _NEARER
    return nearer & (batch["depth"] > 0)


@torch.no_grad()
def times_enlarged(batch: dict[str, Tensor], seen: Seen, log_depth: Tensor) -> Tensor:
    """How many times larger than in any remembered frame views show their pixels: (B, S, H, W), up to `_ENLARGED`.

    log_depth (B, S, H, W): log of the pixels' depth in metres. 1 where some frame shows one as large or larger, or
    none shows it.
    """
    times = times_nearer(log_depth.float(), seen.views, batch["context_depth"], seen.context, batch["mask"])
    return times.nan_to_num(1.0).clamp(1.0, _ENLARGED)
