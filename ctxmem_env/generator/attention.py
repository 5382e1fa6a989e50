"""Attention between frames whose cameras differ: relative camera encoding and 2-D rotary positions.

Half of every head is turned by the camera (PRoPE, arXiv:2507.10496), the other half by the patch's place in its frame
(RoPE). PRoPE turns queries by P_q^T and keys and values by P_k^-1, so that only P_q P_k^-1 matters, with P = K [R | t].
We apply that product to the keys and values alone: the same attention, no large world coordinates that cancel, and
what is cached of a remembered frame depends on that frame only.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctxmem_env.camera import camera_to_world, focal, invert_rigid

# Translations enter the camera matrices in units of a few metres, the size of a room.
_METRES = 4.0


def relative_cameras(target_poses: Tensor, context_poses: Tensor, fov: Tensor) -> Tensor:
    """P_target P_context^-1 (B, S, k, 4, 4) of poses (B, S, 6) and (B, k, 6) that share a fov (B,) in degrees."""
    target = invert_rigid(camera_to_world(target_poses.float()))
    context = camera_to_world(context_poses.float())
    relative = target[:, :, None] @ context[:, None]
    relative[..., :3, 3] /= _METRES
    f = focal(fov)[:, None, None, None]
    scale = torch.cat([f, f, torch.ones_like(f), torch.ones_like(f)], dim=-1)
    return relative * scale[..., :, None] / scale[..., None, :]


def rotary_table(rows: int, columns: int, dim: int, device: torch.device) -> Tensor:
    """Cosines and sines (2, rows * columns, dim) of 2-D rotary positions; a quarter of `dim` each for row and column."""
    frequency = 10.0 ** (-torch.arange(dim // 4, device=device) / (dim // 4))
    row = torch.arange(rows, device=device).repeat_interleave(columns)
    column = torch.arange(columns, device=device).repeat(rows)
    angle = torch.cat([row[:, None] * frequency, column[:, None] * frequency], dim=-1)
    return torch.stack([angle.cos().repeat(1, 2), angle.sin().repeat(1, 2)])


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """The last `table.shape[-1]` channels of x (..., tokens, channels), turned by a rotary table."""
    plain, turned = x.split([x.shape[-1] - table.shape[-1], table.shape[-1]], dim=-1)
    cos, sin = table.to(x)
    first, second = turned.chunk(2, dim=-1)
    return torch.cat([plain, turned * cos + torch.cat([-second, first], dim=-1) * sin], dim=-1)


def turn_by_camera(x: Tensor, relative: Tensor) -> Tensor:
    """Keys or values x (B, k, tokens, heads, c), seen from S targets: (B, S, k, tokens, heads, c).

    The first half of the channels is read as vectors of four and turned by `relative` (B, S, k, 4, 4).
    """
    half = x.shape[-1] // 2
    vectors = x[..., :half].unflatten(-1, (-1, 4)).flatten(2, 4)  # (B, k, tokens * heads * half / 4, 4)
    turned = vectors[:, None] @ relative.transpose(-1, -2).to(x.dtype)
    turned = turned.view(*relative.shape[:3], *x.shape[2:4], half)
    return torch.cat([turned, x[:, None, ..., half:].expand(*turned.shape[:-1], -1)], dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention. With 64 queries the score matrix is small, and on a CPU two plain products beat the fused
    kernel, whose backward pass alone took a fifth of a training step; elsewhere the fused kernel is used."""
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e4)
    return scores.softmax(-1, dtype=q.dtype) @ v


class HeadNorm(nn.Module):
    """RMS normalisation of each head's queries or keys, in the precision that they come in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype))


class FrameAttention(nn.Module):
    """Tokens of a frame attend to their own frame and, where given, to the keys and values of remembered frames."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.query_norm = HeadNorm(dim // num_heads)
        self.key_norm = HeadNorm(dim // num_heads)

    def forward(
        self, x: Tensor, rotary: Tensor, remembered: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> Tensor:
        """x (N, tokens, dim); remembered keys and values (N, heads, tokens', c) and their mask (N, 1, 1, tokens')."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotate(self.query_norm(q), rotary), rotate(self.key_norm(k), rotary)
        mask = None
        if remembered is not None:
            keys, values, mask = remembered
            own = mask.new_ones(*mask.shape[:3], k.shape[2])
            k, v, mask = torch.cat([k, keys], 2), torch.cat([v, values], 2), torch.cat([own, mask], 3)
        return self.out(attend(q, k.to(q), v.to(q), mask).transpose(1, 2).flatten(2))


class RememberedFrames(nn.Module):
    """Keys and values that a target layer reads from remembered frames: computed once when a frame is remembered."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.key_norm = HeadNorm(dim // num_heads)

    def forward(self, tokens: Tensor, rotary: Tensor) -> Tensor:
        """tokens (N, tokens, dim) -> keys and values (N, 2, tokens, heads, c)."""
        k, v = self.kv(tokens).unflatten(-1, (2, self.num_heads, -1)).unbind(2)
        k = rotate(self.key_norm(k).transpose(1, 2), rotary).transpose(1, 2)
        return torch.stack([k.to(v.dtype), v], dim=1)

    @staticmethod
    def seen_from(kv: Tensor, relative: Tensor) -> tuple[Tensor, Tensor]:
        """kv (B, k, 2, tokens, heads, c) turned into the frames of S targets: two (B * S, heads, k * tokens, c)."""
        turned = turn_by_camera(kv.flatten(2, 3), relative)  # keys and values are tokens side by side
        turned = turned.unflatten(3, (2, -1)).flatten(0, 1)
        keys, values = turned.permute(2, 0, 4, 1, 3, 5).flatten(3, 4)
        return keys, values
