"""Depth of frames from outside by what their cameras' motion tells: where do several of them see the same thing?

A plane sweep with semi-global matching (Hirschmueller 2008), around an estimate that a network made of single frames.
Which depth, of some dozens, makes a pixel look the same in the frames that were taken elsewhere? The estimate counts
where they do not tell: on a plain wall, or where the camera only turned. In a second pass the depths of all frames
are to agree as well, so that those of a turn on the spot learn from one another.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ctxmem_env.camera import camera_to_world, focal, full_precision, invert_rigid, pixel_rays

NEAREST, FURTHEST, LEVELS = 0.3, 60.0, 64  # metres, and depths between them that are tried, evenly in the logarithm
_AT_ONCE = 16  # frames
_ALIKE, _APART = 2, 6  # frames that each is compared with: those most alike, and those with the best parallax
_PARALLAX = 0.1  # of the depth, between two cameras: so much tells it best, and no pixel looks different for it
_TURN = 0.3  # how much a parallax that is e times that, or an e-th of it, counts beside a turn
BASELINE = 0.1  # metres between two cameras, below which they see the same whatever the depth is
EXACT = "donot_use_mm_for_euclid_dist"  # the faster way subtracts squares, and loses centimetres far from the origin
# Costs of a pixel, in units of its mean difference of colours in [0, 1]:
_MOST = 0.2  # of a difference
_ESTIMATE = 0.02  # of a depth that is e times the estimate, or an e-th of it, beside one frame that was compared
_DISAGREEING = 0.1  # of a depth that no other frame has; half of it at a difference of 7 %
_STEP, _EDGE = 0.04, 0.3  # of neighbours that are one level apart, or more, where both have the same colour


@torch.no_grad()
@full_precision
def refine_depth(frames: Tensor, depth: Tensor, poses: Tensor, fov: Tensor) -> Tensor:
    """Depth (N, H, W) in metres, from an estimate of it, that frames from several places agree upon.

    frames (N, H, W, 3) uint8; depth (N, H, W); poses (N, 6); fov (N,) degrees. The estimate comes back where all
    cameras stand in one place.
    """
    places = poses[:, :3].float()
    if not bool((torch.cdist(places, places, compute_mode=EXACT) > BASELINE).any()):
        return depth
    logs = torch.linspace(math.log(NEAREST), math.log(FURTHEST), LEVELS, device=depth.device)
    colours = frames.movedim(-1, 1).float() / 255
    estimate = depth.float().clamp(min=0.05).log()

    cameras, typical = (poses.float(), fov.float()), estimate.flatten(1).median(1).values.exp()

    def sights() -> Iterator["_Sight"]:  # one after the other, for each fills some dozens of megabytes
        return (_Sight(i, colours, *cameras, logs, typical[i]) for i in range(len(frames)))

    # In half precision, for those of a long capture are many: half a megabyte a frame of 64 x 64 pixels.
    compared = [
        (sight.difference().half(), sight.witnesses(own)) for sight, own in zip(sights(), estimate, strict=True)
    ]
    cost, witnesses = map(torch.stack, zip(*compared, strict=True))
    cost += (_ESTIMATE / witnesses)[:, None] * (logs[:, None, None] - estimate[:, None]).abs().clamp_(max=2.0)
    found = _smoothest(cost, colours, logs, estimate)
    for own, sight in zip(cost, sights(), strict=True):
        own += _DISAGREEING * sight.disagreement(found)
    return _smoothest(cost, colours, logs, estimate).exp()


class _Sight:
    """One of the frames, its pixels at all depths that are tried, and where the frames beside it see those."""

    def __init__(self, number: int, colours: Tensor, poses: Tensor, fov: Tensor, logs: Tensor, typical: Tensor) -> None:
        self.colours, self.own, self.logs = colours, colours[number], logs
        height, width = colours.shape[2:]
        away = (poses[:, :3] - poses[number, :3]).norm(dim=-1)
        self.beside = _beside(number, poses, away, typical)
        self.elsewhere = away[self.beside] > BASELINE
        relative = invert_rigid(camera_to_world(poses[self.beside])) @ camera_to_world(poses[number])
        rays = pixel_rays(height, width, fov[number]).flatten(0, 1).mT  # (3, HW)
        directions = (relative[:, :3, :3] @ rays)[:, None]
        points = directions * logs.exp()[:, None, None] + relative[:, None, :3, 3:]  # (n, levels, 3, HW)
        z = points[:, :, 2].clamp(min=0.05)
        place = points[:, :, :2] * (focal(fov[self.beside])[:, None, None] / z)[:, :, None]
        place = place * place.new_tensor([[1.0], [width / height]])
        inside = (points[:, :, 2] > 0.1) & (place.abs() < 1).all(2)
        self.grid = place.mT.clamp(-2, 2)  # (n, levels, HW, 2)
        shape = *place.shape[:2], height, width
        self.inside, self.log_z = inside.view(shape), z.log().view(shape)

    def _at(self, images: Tensor, rows: Tensor) -> Tensor:
        """What images (n, c, H, W) show at this frame's pixels, (n, c, levels, H, W)."""
        found = F.grid_sample(images, self.grid[rows], "bilinear", padding_mode="border", align_corners=False)
        return found.unflatten(-1, self.own.shape[1:])

    def difference(self) -> Tensor:
        """How differently a pixel looks at each depth in the frames from elsewhere, (levels, H, W)."""
        elsewhere = self.elsewhere
        if not bool(elsewhere.any()):
            return self.log_z.new_zeros(self.log_z.shape[1:])
        shown = self._at(self.colours[self.beside[elsewhere]], elsewhere)
        difference = (shown - self.own[:, None]).abs().mean(1).clamp(max=_MOST)
        difference = F.avg_pool2d(difference, 3, stride=1, padding=1, count_include_pad=False)
        inside = self.inside[elsewhere]
        # The better half of the frames that look there: from the others it may be hidden.
        order = difference.masked_fill_(~inside, torch.inf).sort(0).values
        count = (inside.sum(0) + 1) // 2
        counted = torch.arange(len(order), device=order.device)[:, None, None, None] < count
        least = order.where(counted, 0.0).sum(0) / count.clamp(min=1)
        return _unbiased(least, inside.any(0))

    def witnesses(self, log_depth: Tensor) -> Tensor:
        """How many frames from elsewhere look at a pixel, were it at that log depth (H, W); at least one.

        A difference is a mean of theirs, so the more they are, the less an estimate counts beside it.
        """
        level = (log_depth - self.logs[0]) / (self.logs[1] - self.logs[0])
        level = level.round().long().clamp(0, LEVELS - 1)
        return self.inside[self.elsewhere].sum(0).gather(0, level[None])[0].clamp(min=1)

    def disagreement(self, log_depth: Tensor) -> Tensor:
        """Share of the frames beside it that have another depth there, (levels, H, W), given that of all frames."""
        everywhere = torch.ones_like(self.elsewhere)
        known = self._at(log_depth[self.beside, None], everywhere)[:, 0]
        error = ((self.log_z - known).abs() / 0.15).clamp(max=1)
        count = self.inside.sum(0)
        return _unbiased((error * self.inside).sum(0) / count.clamp(min=1), count > 0)


def _beside(number: int, poses: Tensor, away: Tensor, typical: Tensor) -> Tensor:
    """Which frames a frame is compared with: those that look most as it does, and those with the best parallax.

    away (N,): metres between the cameras; typical: the frame's median depth.
    """
    itself = torch.arange(len(poses), device=poses.device) == number
    turn = 1 - torch.cos(poses[:, 3] - poses[number, 3]) * torch.cos(poses[:, 4] - poses[number, 4])
    alike = (turn + away / typical).masked_fill(itself, torch.inf)
    parallax = turn + _TURN * (away / (_PARALLAX * typical)).log().abs()
    parallax = parallax.masked_fill(away <= BASELINE, torch.inf)
    orders = ((effort, effort.argsort()[:count]) for effort, count in ((alike, _ALIKE), (parallax, _APART)))
    return torch.cat([order[effort[order].isfinite()] for effort, order in orders]).unique()


def _unbiased(cost: Tensor, seen: Tensor) -> Tensor:
    """Costs (levels, H, W) with the pixel's mean at depths where no other frame looks: that tells nothing of them."""
    count = seen.sum(0)
    mean = cost.where(seen, 0.0).sum(0) / count.clamp(min=1)
    return cost.where(seen, mean)


def _smoothest(cost: Tensor, colours: Tensor, logs: Tensor, estimate: Tensor) -> Tensor:
    """The log depth (N, H, W) that costs least (N, levels, H, W), neighbours included, between two levels.

    The estimate where that is the nearest or furthest of all.
    """
    if len(cost) > _AT_ONCE:
        parts = zip(*(part.split(_AT_ONCE) for part in (cost, colours, estimate)), strict=True)
        return torch.cat([_smoothest(one, of_one, logs, guess) for one, of_one, guess in parts])
    total = torch.zeros_like(cost, dtype=torch.float32)
    for turned in (False, True):
        for back in (False, True):
            parts = (part.transpose(-1, -2) if turned else part for part in (cost.float(), colours))
            parts = (part.flip(-2) if back else part for part in parts)
            passed = _pass_on(*parts)
            passed = passed.flip(-2) if back else passed
            total += passed.transpose(-1, -2) if turned else passed
    best = total.argmin(1, keepdim=True)
    middle = best.clamp(1, len(logs) - 2)
    below, at, above = (total.gather(1, middle + i)[:, 0] for i in (-1, 0, 1))
    shift = (below - above) / (2 * (below - 2 * at + above)).clamp(min=1e-6)
    level = middle[:, 0] + shift.clamp(-0.5, 0.5)
    return torch.where((best == middle)[:, 0], logs[0] + level * (logs[1] - logs[0]), estimate)


def _pass_on(cost: Tensor, colours: Tensor) -> Tensor:
    """Costs (N, levels, H, W) with the least that the rows above add to them, in one direction."""
    rows = cost.unbind(2)
    jump = _STEP + _EDGE * torch.exp(-20 * (colours[:, :, 1:] - colours[:, :, :-1]).abs().mean(1))
    total = [rows[0]]
    for row, edge in zip(rows[1:], jump.unbind(1), strict=True):
        before = total[-1]
        least = before.amin(1, keepdim=True)
        nearer = F.pad(before[:, 1:], (0, 0, 0, 1), value=torch.inf)
        further = F.pad(before[:, :-1], (0, 0, 1, 0), value=torch.inf)
        way = torch.minimum(torch.minimum(nearer, further) + _STEP, torch.minimum(before, least + edge[:, None]))
        total.append(row + way - least)
    return torch.stack(total, dim=2)
