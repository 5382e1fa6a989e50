"""What frames show of other views, by exact depth: the truth that retrieval from poses alone can only guess."""

import torch
from torch import Tensor

from ctxmem_env.camera import DEFAULT_FOV, cameras_at
from ctxmem_env.evaluation.protocols import Walked, Walks
from ctxmem_env.generator.lookup import SAME_SURFACE, locate


def shown(depth: Tensor, poses: Tensor, other_depth: Tensor, other_poses: Tensor) -> Tensor:
    """Which pixels of S views k other frames of the same scene show: bool (S, k, H, W).

    depth (S, H, W) in metres and poses (S, 6) of the views, other_depth (k, H, W) and other_poses (k, 6) of the frames,
    all exact and with the default field of view.
    """
    parts = []
    mask, fov = torch.ones(1, len(other_poses), dtype=torch.bool), torch.tensor([DEFAULT_FOV])
    for first in range(0, len(poses), 8):  # as many views as a cache can hold
        views = cameras_at(poses[None, first : first + 8], fov)
        log_depth = depth[None, first : first + 8].log()
        _, evidence, visible = locate(log_depth, views, other_depth[None], cameras_at(other_poses[None], fov), mask)
        parts.append((visible & (evidence.disagreement < SAME_SURFACE))[0])
    return torch.cat(parts)


def shown_by_context(walks: Walks, walked: Walked, world: int) -> Tensor:
    """Which pixels of each step's view the frames of its context show, bool (steps, k, H, W); False for empty slots.

    By the true depth of the walk, so it means something where memory holds true frames, or views as true.
    """
    parts = []
    for t, indices in enumerate(walked.indices[world]):
        now, used = walks.seeded + t, indices.clamp_min(0)
        view = walks.depth[world, now : now + 1], walks.poses[world, now : now + 1]
        seen = shown(*view, walks.depth[world, used], walks.poses[world, used])[0]
        parts.append(seen & (indices >= 0)[:, None, None])
    return torch.stack(parts)


def seeded_share(walks: Walks, world: int) -> Tensor:
    """The share of each step's view that the frames show which opened the world, (steps,)."""
    seeded = walks.seeded
    seed = walks.depth[world, :seeded], walks.poses[world, :seeded]
    seen = shown(walks.depth[world, seeded:], walks.poses[world, seeded:], *seed)
    return seen.any(1).float().mean((1, 2))
