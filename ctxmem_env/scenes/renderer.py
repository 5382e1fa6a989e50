"""Exact RGB and depth of batches of scenes, for any pose, on any device.

Shading does not depend on the viewpoint: a point of a surface has one colour. Textures are read at the mip level of
the pixel's footprint, and the pixels that more than one face can be seen in are averaged over several rays.
"""

import math
from functools import partial

import torch
from torch import Tensor

from ctxmem_env.camera import camera_to_world, focal
from ctxmem_env.scenes.geometry import BOX, CYLINDER, Scene
from ctxmem_env.scenes.textures import MAP_SIZE, TEXTURES, sample
from ctxmem_env.scenes.visibility import TILE, Candidates, trace, view_primitives

SKY_RADIUS = 100.0  # the sky is a sphere about the origin, so that it has an exact depth as well
_CHUNK_PIXELS = {"cpu": 8 * 64 * 64, "cuda": 512 * 64 * 64}
_ROTATED_GRID = torch.tensor([[-0.125, -0.375], [0.375, -0.125], [-0.375, 0.125], [0.125, 0.375]])
_CONTACT, _CONTACT_REACH = 0.28, 0.22  # darkening at the foot of a wall or in a corner, and its reach in metres
_LOD_BIAS, _GRAZING = -0.5, 0.75


@torch.no_grad()
def render(
    scene: Scene,
    poses: Tensor,
    fov: float | Tensor,
    height: int,
    width: int,
    antialias: bool = True,
) -> tuple[Tensor, Tensor]:
    """What cameras see in a batch of scenes.

    Args:
        scene: B scenes (`stack_scenes`).
        poses: (B, n, 6) on the scene's device, see `ctxmem_env.camera`.
        fov: horizontal field of view in degrees, in (0, 180): a number or (B,).
        height, width: pixels.
        antialias: average several rays in the pixels at edges.

    Returns:
        frames uint8 (B, n, height, width, 3), and z-depth in metres of the ray through each pixel's centre,
        float32 (B, n, height, width). The sky is 100 m away from the origin.

    Raises:
        ValueError: a scene that is not a batch, poses of another shape or not finite, a fov or size out of range.
    """
    fov = _check(scene, poses, fov, height, width)
    batch, n = poses.shape[:2]
    flat = poses.reshape(batch * n, 6).float()
    owner = torch.arange(batch, device=flat.device).repeat_interleave(n)
    scale = 1 / focal(fov)[owner]
    prims = max(int((scene.kind != 0).sum(1).max()), 1)
    table = _face_table(scene)
    frames = torch.empty(batch * n, height, width, 3, dtype=torch.uint8, device=flat.device)
    depth = torch.empty(batch * n, height, width, device=flat.device)
    step = max(_CHUNK_PIXELS.get(flat.device.type, _CHUNK_PIXELS["cpu"]) // (height * width), 1)
    for start in range(0, batch * n, step):
        part = slice(start, start + step)
        frames[part], depth[part] = _render_chunk(
            scene, table, prims, owner[part], flat[part], scale[part], height, width, antialias
        )
    return frames.view(batch, n, height, width, 3), depth.view(batch, n, height, width)


def _check(scene: Scene, poses: Tensor, fov: float | Tensor, height: int, width: int) -> Tensor:
    if not scene.batched:
        raise ValueError("scene is a single scene; render takes a batch, so pass stack_scenes([scene])")
    batch = len(scene.kind)
    if not isinstance(poses, Tensor) or poses.ndim != 3 or poses.shape[0] != batch or poses.shape[2] != 6:
        got = tuple(poses.shape) if isinstance(poses, Tensor) else type(poses).__name__
        raise ValueError(f"poses is {got}; expected a tensor (B, n, 6) with B = {batch}, the number of scenes")
    if not bool(torch.isfinite(poses).all()):
        raise ValueError("poses holds NaN or infinity; expected finite x, y, z [m], yaw, pitch, roll [rad]")
    for name, value in (("height", height), ("width", width)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; expected a positive number of pixels")
    fov = torch.as_tensor(fov, dtype=torch.float32, device=poses.device)
    if fov.ndim > 1 or (fov.ndim == 1 and len(fov) != batch):
        raise ValueError(f"fov has shape {tuple(fov.shape)}; expected one number or ({batch},), one for each scene")
    if not bool(((fov > 0) & (fov < 180)).all()):
        raise ValueError(f"fov is {fov.tolist()}; expected degrees between 0 and 180, both excluded")
    return fov.expand(batch)


def _face_table(scene: Scene) -> Tensor:
    """(32, B * P * 6): what shading has to know of every face, one column each.

    0-3, 4-7 texture coordinates s, t as affine functions of the world point; 8-10 normal; 11 map index;
    12 log2 of texels per metre; 13-21 three colours; 22-25 lamp and falloff; 26-31 the room's box.
    The curved face has its centre and repeats in 0-3, the inverse squared radii in 8-10, and -1 - map in 11.
    """
    batch, prims = scene.kind.shape
    world = torch.arange(batch, device=scene.kind.device)[:, None, None]
    material, room = scene.face_material, scene.face_room
    scale = scene.material_scale[world, material]
    fit = scale == 0
    cos, sin, zero, one = scene.yaw.cos(), scene.yaw.sin(), torch.zeros_like(scene.yaw), torch.ones_like(scene.yaw)
    axes = torch.stack([cos, sin, zero, -sin, cos, zero, zero, zero, one], dim=-1).view(batch, prims, 3, 3)
    s_axis, t_axis = [1, 1, 0, 0, 0, 0], [2, 2, 2, 2, 1, 1]
    coordinates, span = [], []
    for axis, sign in ((s_axis, 1.0), (t_axis, -1.0)):
        size = 2 * scene.half[:, :, axis]
        per_metre = sign / torch.where(fit, size, scale)
        direction = axes[:, :, axis] * per_metre[..., None]
        anchor = torch.where(fit, 0.5 - (direction * scene.centre[:, :, None]).sum(-1), 0.0)
        coordinates.append(torch.cat([direction, anchor[..., None]], dim=-1))
        span.append(torch.where(fit, size, scale))
    normal = torch.stack(
        [-axes[:, :, 0], axes[:, :, 0], -axes[:, :, 1], axes[:, :, 1], -axes[:, :, 2], axes[:, :, 2]], 2
    )
    texture = scene.material_texture[world, material]
    colours = scene.material_colours[world, material] * scene.room_light[world, room][..., None, :]
    lit = _sun_light(normal, scene.sun[:, None, None])
    curved = (scene.kind != BOX)[..., None] & (torch.arange(6, device=lit.device) == 0)
    lit = torch.where(curved, 1.0, lit)
    # A face that lies in a wall of its room is not darkened by that wall itself.
    box = scene.room_box[world, room]
    middle = scene.centre[:, :, None] + normal * scene.half.repeat_interleave(2, dim=2)[..., None]
    own = ((middle - box[..., :3]).abs() < 0.06) | ((box[..., 3:] - middle).abs() < 0.06)
    lit = torch.where((own & (normal.abs() > 0.9)).any(-1) & ~curved, lit / (1 - _CONTACT), lit)
    table = torch.cat(
        [
            *coordinates,
            normal,
            torch.where(curved, -1 - texture, texture)[..., None].float(),
            torch.log2(MAP_SIZE / torch.minimum(*span).clamp(min=0.05))[..., None],
            (colours * lit[..., None, None]).flatten(-2),
            scene.room_lamp[world, room],
            box,
        ],
        dim=-1,
    )
    repeats = (2 * math.pi * scene.half[..., 0] / scale[..., 0].clamp(min=0.1)).round().clamp(min=1)
    radii = scene.half.clamp(min=1e-3) ** -2
    radii[..., 2] = torch.where(scene.kind == CYLINDER, 0.0, radii[..., 2])
    head = torch.cat([scene.centre, repeats[..., None], coordinates[1][:, :, 0], radii], dim=-1)
    table[:, :, 0, :11] = torch.where(curved[:, :, :1], head, table[:, :, 0, :11])
    return table.reshape(-1, 32).T.contiguous()


def _sun_light(normal: Tensor, sun: Tensor) -> Tensor:
    """Half-Lambert: even the faces that look away from the light differ from one another."""
    facing = 0.5 + 0.5 * (normal * sun[..., :3]).sum(-1)
    return 1 - sun[..., 3] + sun[..., 3] * facing * 1.15


def _tile_centres(height: int, width: int, device: torch.device) -> tuple[Tensor, int, int]:
    """Centres (T, 2) in image coordinates (x in [-1, 1] over the width), rows and columns of the tiles."""
    rows, columns = -(-height // TILE), -(-width // TILE)
    x = (torch.arange(columns, device=device) + 0.5) * (2 * TILE / width) - 1
    y = ((torch.arange(rows, device=device) + 0.5) * 2 * TILE - height) / width
    return torch.stack(torch.broadcast_tensors(x, y[:, None]), dim=-1).reshape(-1, 2), rows, columns


def _render_chunk(
    scene: Scene, table: Tensor, prims: int, owner: Tensor, poses: Tensor, scale: Tensor, height: int, width: int,
    antialias: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    frames, device, pixel = len(poses), poses.device, 2 / width
    matrix = camera_to_world(poses)
    origin = matrix[:, :3, 3]
    rays = matrix[:, :3, :3] * torch.stack([scale, scale, torch.ones_like(scale)], dim=-1)[:, None]
    centres, rows, columns = _tile_centres(height, width, device)
    candidates = Candidates(view_primitives(scene, prims, owner, origin, rays), centres, TILE / width)
    place = (torch.arange(TILE, device=device) - (TILE - 1) / 2) * pixel
    offsets = torch.stack(torch.broadcast_tensors(place, place[:, None]), dim=-1).reshape(-1, 2)
    w, key = trace(candidates.at_tiles(), frames * len(centres), offsets)
    row = candidates.face_rows(None, w, key)

    def image(values: Tensor) -> Tensor:
        values = values.view(frames, rows, columns, TILE, TILE).transpose(2, 3)
        return values.reshape(frames, rows * TILE, columns * TILE)[:, :height, :width].contiguous()

    w, row = image(w), image(row)
    x = (torch.arange(width, device=device) + 0.5) * pixel - 1
    y = (torch.arange(height, device=device) + 0.5) * pixel - height / width
    xy = torch.stack(torch.broadcast_tensors(x, y[:, None]), dim=-1).reshape(-1, 2)
    d = (rays @ torch.cat([xy, torch.ones_like(xy[:, :1])], dim=1).T).transpose(0, 1).reshape(3, -1)
    frame = torch.arange(frames, device=device).repeat_interleave(height * width)
    footprint = torch.log2(pixel * scale) + _LOD_BIAS
    shade = partial(_shade, scene, table, owner, footprint)
    rgb, depth = shade(frame, origin.T.repeat_interleave(height * width, dim=1), d, w.flatten(), row.flatten())
    if antialias:
        edge = _edges(row).flatten().nonzero().flatten()
        at = edge % (height * width)
        tile = torch.div(at // width, TILE, rounding_mode="floor") * columns + at % width // TILE
        cells, grid = frame.index_select(0, edge) * len(centres) + tile, _ROTATED_GRID.to(device) * pixel
        sub_w, sub_key = trace(candidates.at_pixels(cells, xy.index_select(0, at)), len(edge), grid)
        sub_row = candidates.face_rows(cells, sub_w, sub_key)
        mixed = (sub_row != row.flatten().index_select(0, edge)[:, None]).any(1).nonzero().flatten()
        edge, sub_w, sub_row = edge[mixed], sub_w[mixed].flatten(), sub_row[mixed].flatten()
        which = frame[edge].repeat_interleave(len(grid))
        position = (xy[at[mixed], None] + grid).reshape(-1, 2)
        m = rays.permute(1, 2, 0).reshape(9, -1).index_select(1, which).view(3, 3, -1)
        sub_d = m[:, 0] * position[:, 0] + m[:, 1] * position[:, 1] + m[:, 2]
        colour, _ = shade(which, origin.T.index_select(1, which), sub_d, sub_w, sub_row)
        rgb[:, edge] = colour.view(3, -1, len(grid)).mean(-1)
    frames_rgb = rgb.clamp_(0, 1).mul_(255).add_(0.5).to(torch.uint8).view(3, frames, height, width)
    return frames_rgb.permute(1, 2, 3, 0), depth.view(frames, height, width)


def _edges(row: Tensor) -> Tensor:
    """Pixels (F, H, W) that have a neighbour to the side, above or below on another face."""
    edge = torch.zeros_like(row, dtype=torch.bool)
    across, down = row[:, :, 1:] != row[:, :, :-1], row[:, 1:] != row[:, :-1]
    edge[:, :, 1:] |= across
    edge[:, :, :-1] |= across
    edge[:, 1:] |= down
    edge[:, :-1] |= down
    return edge


def _shade(
    scene: Scene, table: Tensor, owner: Tensor, footprint: Tensor, frame: Tensor, o: Tensor, d: Tensor, w: Tensor,
    row: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Colours (3, N) in [0, 1] and z-depths (N,) of N hits (`row` < 0: the sky) along the rays o + z d."""
    sky = (row < 0).nonzero().flatten()
    face = table.index_select(1, row.clamp(min=0))
    z = 1 / w.clamp(min=1e-6)
    p = torch.addcmul(o, d, z)
    s = (face[:3] * p).sum(0).add_(face[3])
    t = (face[4:7] * p).sum(0).add_(face[7])
    slope = (face[8:11] * d).sum(0)
    texture = face[11].int()
    light = 1 / (1 + face[25] * (p - face[22:25]).square_().sum(0))
    curved = (texture < 0).nonzero().flatten()
    if len(curved):
        f, q = face.index_select(1, curved), p.index_select(1, curved)
        q = q - f[:3]
        normal = q * f[8:11]
        normal = normal / normal.norm(dim=0).clamp(min=1e-9)
        s[curved] = torch.atan2(q[1], q[0]) * f[3] / (2 * math.pi)
        texture[curved] = -1 - texture[curved]
        slope[curved] = (normal * d.index_select(1, curved)).sum(0)
        light[curved] *= _sun_light(normal.T, scene.sun[owner[frame[curved]]])
    # A pixel's footprint is long by 1 / cos of the angle of incidence, on one of its two sides. A level between
    # the two sides comes closest to the mean over many rays: bias and exponent were fitted to that.
    stretch = d.square().sum(0).div_(slope.square_().clamp_(min=1e-6)).clamp_(max=900.0)
    lod = stretch.log2_().mul_(_GRAZING / 2).add_(z.log2()).add_(footprint.index_select(0, frame)).add_(face[12])
    a, b = sample(texture, s, t, lod)
    gap = torch.cat([p - face[26:29], face[29:32] - p]).mul_(1 / _CONTACT_REACH).square_().add_(1)
    light *= 1 - _CONTACT * gap.reciprocal_().sum(0)
    c0 = face[13:16]
    rgb = ((face[16:19] - c0).mul_(a).add_(c0).addcmul_(face[19:22] - c0, b)).mul_(light)
    if len(sky):
        colour, distance = _sky(scene.sky[owner[frame[sky]]], o[:, sky], d[:, sky])
        rgb[:, sky], z[sky] = colour, distance
    return rgb, z


def _sky(palette: Tensor, o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    dd, od = d.square().sum(0), (o * d).sum(0)
    z = (-od + (od.square() - dd * (o.square().sum(0) - SKY_RADIUS**2)).clamp(min=0).sqrt()) / dd
    p = (o + d * z) / SKY_RADIUS
    up = p[2].clamp(min=0)
    zenith, horizon, cloud = palette.unbind(1)
    colour = torch.lerp(horizon.T, zenith.T, up.sqrt())
    texture = torch.full_like(z, TEXTURES["clouds"][0], dtype=torch.int32)
    a, _ = sample(texture, 0.2 * p[0] / (up + 0.3), 0.2 * p[1] / (up + 0.3), torch.zeros_like(z))
    return torch.lerp(colour, cloud.T, 0.85 * a * (up * 4).clamp(max=1)), z
