"""The rule of `fov`: the newest frame, then greedily whichever adds most to what is expected to be shown of a view.

A frame shows a point of the view with a probability, its quality, inside its sector, and else not. The quality falls
with the distance between the two cameras, for walls are unknown, and hide the more the further these are apart; with
their difference in pitch; and a little with the frame's place in the order of time, for a copy of a copy degrades.
On simulated walks the greedy choice finds more of what memory holds than the k - 1 highest scores do.

The newest frame, the anchor, counts as showing nothing: it is itself a copy, and what it was made from must be found
too. Where cameras share a memory, each has the newest frame of its own as anchor. `choose_among_all` applies the rule
to a batch of worlds; `ctxmem_env.nearby` to one world with a spatial index.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ctxmem_env.overlap import FINE_GRID, in_sector, in_view_frame, pitch_overlap

BEST_PROBABILITY = 0.95  # that a frame from the very same place shows a point of its sector
PARALLAX_SCALE = 2.0  # metres between two cameras at which that probability has fallen by e
AGE_DISCOUNT = 0.05  # from the oldest frame to the newest
NEIGHBOUR_GAP = 2  # frames as near in time as this are neighbours,
NEIGHBOUR_DISCOUNT = 1e-12  # and a pick's neighbour comes after every other frame that overlaps


def choose_among_all(
    memory_poses: Tensor,
    lengths: Tensor,
    pose: Tensor,
    num_context: int,
    fov: Tensor,
    most_compared: int | None = 4096,
    anchors: Tensor | None = None,
    cameras: int = 1,
) -> Tensor:
    """Indices int64 (B, k) of the anchor and of those that the rule picks, -1 for an empty slot.

    Args:
        memory_poses: (B, T, 6), oldest first, padded behind.
        lengths: int64 (B,), frames of each world.
        pose: (B, 6), the new view.
        num_context: k, at least 1.
        fov: float64 (B,), degrees.
        most_compared: of more frames only this many, those of highest quality, are compared, so that time and
            storage stay within bounds; None: all, which makes the choice exact.
        anchors: int64 (B,), frames to take first; None: the newest ones.
        cameras: that took turns in adding these frames; neighbours are the frames of one of them.
    """
    picked = (lengths - 1 if anchors is None else anchors)[:, None]
    indices = F.pad(picked, (0, num_context - 1), value=-1)
    if memory_poses.shape[1] == 0:
        return indices
    x, y, z, heading, pitch = in_view_frame(memory_poses, pose)
    candidates = torch.arange(memory_poses.shape[1], device=pose.device).expand(len(pose), -1)
    near = torch.exp((x * x + y * y + z * z).sqrt() / -PARALLAX_SCALE)
    older = 1 - AGE_DISCOUNT * candidates / lengths[:, None].clamp_min(1)
    quality = BEST_PROBABILITY * near * older * pitch_overlap(pitch, fov)
    quality = quality.masked_fill((candidates >= lengths[:, None]) | (candidates == picked), 0.0)
    if most_compared is not None and candidates.shape[1] > most_compared:
        candidates = quality.topk(most_compared, dim=1).indices
        x, y, heading, quality = (value.gather(1, candidates) for value in (x, y, heading, quality))
    shown = quality[:, None] * in_sector(x, y, heading, fov, FINE_GRID)
    hidden = shown.new_ones(*shown.shape[:2], 1)
    weight = shown.new_ones(candidates.shape)
    for slot in range(1, num_context):
        apart = (candidates - picked).abs()
        near_pick = apart <= NEIGHBOUR_GAP * cameras
        if cameras > 1:
            near_pick &= apart % cameras == 0
        weight = weight.where(~near_pick, NEIGHBOUR_DISCOUNT * weight).masked_fill(candidates == picked, 0.0)
        gain, best = ((shown * hidden).sum(1) * weight).max(-1, keepdim=True)
        picked = candidates.gather(1, best).masked_fill(gain <= 0, -1)
        indices[:, slot : slot + 1] = picked
        hidden = hidden * (1 - shown.gather(2, best[:, None].expand(-1, shown.shape[1], -1)))
    return indices
