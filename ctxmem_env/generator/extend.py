"""Beyond what is remembered: frames carried on over their borders, an example of what may be there."""

import torch
from torch import Tensor

from ctxmem_env.camera import Cameras, full_precision, rays_of
from ctxmem_env.generator.lookup import MIN_DEPTH, UNKNOWN, first_smallest


@torch.no_grad()
@full_precision
def extend(
    frames: Tensor, depth: Tensor, context: Cameras, mask: Tensor, views: Cameras
) -> tuple[Tensor, Tensor, Tensor]:
    """Remembered frames carried on beyond their borders, as S new views see them: an example of what may be there.

    Each frame is wound around its camera like the picture on a cylinder, again and again: beyond its right border it
    begins anew at its left one. A direction of the new view is looked up in the frame that comes nearest to it, at
    its own elevation, so that a floor stays a floor; where the cameras stand is ignored. That is no geometry but an
    example of the place, as sharp as what was seen. Winding does not degenerate where views follow each other in
    small steps: mirrored frames would repeat a strip as narrow as the step, and their outermost column would smear.

    Above and below a frame its rows go on mirrored. Arguments as in `lookup.splat`. Returns colours (B, S, 3, H, W),
    log depth (B, S, 1, H, W), `UNKNOWN` where the frame has none, and how far the direction lies beyond the frame's
    borders (B, S, 1, H, W), in radians of azimuth and half heights of the frame: 0 inside it, pi where nothing is
    remembered.
    """
    height, width = depth.shape[2:]
    poses, context_poses = views.poses, context.poses
    rotations = context.to_world[..., :3, :3]  # (B, k, 3, 3)
    rays = rays_of(height, width, views.focal).flatten(1, 2)[:, None]
    rays = rays @ views.to_world[..., :3, :3].transpose(-1, -2)  # (B, S, HW, 3), in the world
    level = rays[..., :2].norm(dim=-1)
    f = views.focal[:, None, None]
    border, upper = torch.atan(1 / f), torch.atan(height / width / f)
    yaw, pitch = context_poses[:, None, :, None, 3], context_poses[:, None, :, None, 4]
    azimuth = torch.atan2(rays[..., 1], rays[..., 0])[:, :, None] - yaw  # (B, S, k, HW)
    azimuth = torch.remainder(azimuth + torch.pi, 2 * torch.pi) - torch.pi
    moved = (azimuth.abs() - border[:, :, None]).clamp(min=0)
    # A little is added for rows that are not in the frame either, and for every metre between the cameras.
    above = (torch.atan2(rays[..., 2], level)[:, :, None] - pitch).abs()
    apart = (poses[:, :, None, :3] - context_poses[:, None, :, :3]).norm(dim=-1)[..., None]
    effort = moved + 0.3 * (above - upper[:, :, None]).clamp(min=0) + 0.1 * apart
    slot = first_smallest(effort.masked_fill(~mask[:, None, :, None], torch.inf))  # (B, S, 1, HW)
    moved, azimuth = moved.gather(2, slot)[:, :, 0], azimuth.gather(2, slot)[:, :, 0]
    slot = slot[:, :, 0]
    wound = torch.remainder(azimuth + border, 2 * border) - border
    turn = wound - azimuth
    x, y = rays[..., 0], rays[..., 1]
    turned = torch.stack([x * turn.cos() - y * turn.sin(), x * turn.sin() + y * turn.cos(), rays[..., 2]], dim=-1)
    each = rotations.flatten(2)[:, None].expand(-1, poses.shape[1], -1, -1)
    each = each.gather(2, slot[..., None].expand(-1, -1, -1, 9)).unflatten(-1, (3, 3))
    x, y, z = (turned[..., None] * each).sum(-2).unbind(-1)
    z = z.clamp(min=0.2)
    column, row = x / z * f, y / z * f * (width / height)
    height_ratio = row.abs().clamp(min=1)  # to that of the frame's border
    moved = moved + (height_ratio - 1)
    mirrored = (torch.remainder(row - 1, 4) - 2).abs() - 1
    column = ((column + 1) * (width / 2)).long().clamp(0, width - 1)

    def at(values: Tensor, row: Tensor) -> Tensor:  # (B, k, c, H, W) -> (B, S, c, HW)
        row = ((row + 1) * (height / 2)).long().clamp(0, height - 1)
        place = ((slot * height + row) * width + column)[:, :, None].expand(-1, -1, values.shape[2], -1)
        return values.transpose(1, 2).flatten(2)[:, None].expand(-1, poses.shape[1], -1, -1).gather(3, place)

    anything = mask.any(1)[:, None, None, None]
    colours = at(frames, mirrored) * anything
    log_depth = at(depth.clamp(min=MIN_DEPTH).log()[:, :, None], row)
    # The point lies as far away along the level as the example's, where z of the new view is 1 on its own ray; above
    # and below the frame it lies as high as the frame's border, as on a floor or a ceiling.
    log_depth = torch.where(log_depth > UNKNOWN, log_depth - (z * height_ratio)[:, :, None].log(), log_depth)
    moved = torch.where(anything[..., 0], moved.clamp(max=3.0), torch.pi)
    shape = (*poses.shape[:2], -1, height, width)
    return colours.reshape(shape), (log_depth * anything).reshape(shape), moved.view(shape)
