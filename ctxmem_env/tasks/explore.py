"""Seeing ground that was not seen before."""

import torch
from torch import Tensor

from ctxmem_env.camera import focal
from ctxmem_env.overlap import MAX_RANGE
from ctxmem_env.tasks.task import Beginning, Task

_CELL = 0.25  # metres
_SIDE = 256  # cells
_COLUMNS = 96  # looks of a view, closer than cells at any distance that counts
_BEFORE = 0.1  # metres before a surface


class Explore(Task):
    """See ground that was not seen before.

    Ground counts as seen, in cells of 0.25 m, up to the surface that the middle row of the frame shows (by the model's
    own depth) and to 8 m, the range of retrieval's overlap. That overlap itself would pay nothing for walking on: it
    finds all but the end of a view in the view a step behind, and knows no walls. The tour does not count as seen, and
    nothing more than 32 m from the start counts.
    `info` holds `new_area`, what a step has shown for the first time, and `seen_area`, all since the start, in m^2.

    Cameras that share a world share the map of it, around the start of the first one: the reward is that of the team,
    the same for each camera. Ground pays once, whoever sees it, and once where several see it in the same step.

    Randomisation: that of the start.
    Success: none.
    Dense reward: square metres seen for the first time.
    Sparse reward: 1 for each full 10 square metres that have been seen.
    Episode end: only at the time limit.
    """

    needs_depth = True

    def open(self, num_worlds: int, height: int, width: int, device: torch.device) -> None:
        # One more cell, for what is not on the map.
        self.seen = torch.zeros(num_worlds, _SIDE * _SIDE + 1, dtype=torch.bool, device=device)
        self.start = torch.zeros(num_worlds, 2, device=device)
        self.fov, self.new_area, self.seen_area = (torch.zeros(num_worlds, device=device) for _ in range(3))

    def begin(self, world: int, beginning: Beginning, drawn: None) -> None:
        first = world - world % self.cameras
        own, team = slice(world, world + 1), slice(first, first + self.cameras)
        self.fov[world] = beginning.fov
        if world == first:
            self.start[team], self.seen[team] = beginning.poses[-1, :2], False
        self.seen[team] |= self._look(beginning.poses[-1:].to(self.start), beginning.depth[-1:].to(self.start), own)
        self.new_area[team], self.seen_area[team] = 0.0, _area(self.seen[own])[0]

    def evaluate(self, poses: Tensor, frames: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        shown = self._look(poses, depth, slice(None))
        if self.cameras > 1:
            shown = shown.unflatten(0, (-1, self.cameras)).any(1).repeat_interleave(self.cameras, 0)
        self.seen = self.seen | shown
        before, self.seen_area = self.seen_area, _area(self.seen)
        self.new_area = self.seen_area - before
        reward = self.new_area.clone() if self.dense else (self.seen_area / 10).floor() - (before / 10).floor()
        return reward, poses.new_zeros(len(poses), dtype=torch.bool)

    def inform(self) -> dict[str, Tensor]:
        return {"new_area": self.new_area.clone(), "seen_area": self.seen_area.clone()}

    def _look(self, poses: Tensor, depth: Tensor, worlds: slice) -> Tensor:
        """The cells that views from poses (n, 6) with depth (n, H, W) show, bool (n, cells)."""
        height, width = depth.shape[-2:]
        column = torch.arange(_COLUMNS, device=depth.device)
        reach = depth[:, height // 2, column * width // _COLUMNS].float() - _BEFORE
        along = (torch.arange(int(MAX_RANGE / _CELL), device=depth.device) + 0.5) * _CELL
        side = (1 - (2 * column + 1) / _COLUMNS) / focal(self.fov[worlds])[:, None]
        ahead = (along * poses[:, 4, None].cos())[:, None]  # (n, 1, steps)
        left = along * side[..., None]  # (n, columns, steps)
        cos, sin = poses[:, 3].cos()[:, None, None], poses[:, 3].sin()[:, None, None]
        offset = (poses[:, :2] - self.start[worlds])[..., None, None]
        x = ((offset[:, 0] + ahead * cos - left * sin) / _CELL).floor().long() + _SIDE // 2
        y = ((offset[:, 1] + ahead * sin + left * cos) / _CELL).floor().long() + _SIDE // 2
        shown = (along <= reach[..., None]) & (x >= 0) & (x < _SIDE) & (y >= 0) & (y < _SIDE)
        cell = (x * _SIDE + y).where(shown, _SIDE * _SIDE).flatten(1)
        return torch.zeros_like(self.seen[worlds]).scatter_(1, cell, True)


def _area(seen: Tensor) -> Tensor:
    return seen[:, :-1].sum(1) * _CELL**2
