"""Attention between frames whose cameras differ: relative camera encoding and 2-D rotary positions.

Half of every head is turned by the camera (PRoPE, arXiv:2507.10496), the other half by the patch's place in its frame
(RoPE). PRoPE turns queries by P_q^T and keys and values by P_k^-1, so that only P_q P_k^-1 matters, with P = K [R | t].
We measure both from one reference camera, the first target's: the same attention, but no large world coordinates that
cancel, and what is cached of a remembered frame depends on that frame only.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ctxmem_env.camera import Cameras, constant, full_precision

# Translations enter the camera matrices in units of a few metres, the size of a room.
_METRES = 4.0


@full_precision
def relative_cameras(cameras: Cameras, reference: int) -> Tensor:
    """P_reference P^-1 (B, n, 4, 4) of cameras, with that one of each world as the reference."""
    relative = cameras.from_world[:, reference, None] @ cameras.to_world
    relative[..., :3, 3] /= _METRES
    f = cameras.focal[:, None, None]
    scale = torch.cat([f, f, torch.ones_like(f), torch.ones_like(f)], dim=-1)
    return relative * scale[..., :, None] / scale[..., None, :]


@constant
def rotary_table(rows: int, columns: int, channels: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Cosines and signed sines (2, rows * columns, channels) of 2-D rotary positions, for `rotate`.

    They leave the first half of the channels as it is; half of the other's angles are for each axis.
    """
    pairs = channels // 4
    frequency = 10.0 ** (-torch.arange(pairs // 2, device=device) / (pairs // 2))
    row = torch.arange(rows, device=device).repeat_interleave(columns)
    column = torch.arange(columns, device=device).repeat(rows)
    angle = torch.cat([row[:, None] * frequency, column[:, None] * frequency], dim=-1)
    plain = angle.new_zeros(len(angle), 2 * pairs)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.cat([plain + 1, cos, cos], -1), torch.cat([plain, -sin, sin], -1)]).to(dtype)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """The second half of the channels of x (..., tokens, channels), turned by a rotary table."""
    cos, sin = table
    partner = x.unflatten(-1, (2, 2, -1)).flip(-2).flatten(-3)  # the other one of each pair
    return torch.addcmul(x * cos, partner, sin)


def turn_by_camera(x: Tensor, cameras: Tensor) -> Tensor:
    """x (N, heads, tokens, c) with the first half of its channels, read as vectors of four, turned by (N, 4, 4)."""
    vectors, rest = x.chunk(2, dim=-1)
    turned = vectors.reshape(len(x), -1, 4) @ cameras.transpose(-1, -2).to(x.dtype)
    return torch.cat([turned.view(vectors.shape), rest], dim=-1)


def _for_all_vectors(matrices: Tensor, count: int) -> Tensor:
    """Matrices (..., 4, 4) repeated along the diagonals of (..., 4 count, 4 count).

    One product with mostly zeros is faster than many with matrices of four rows, and in bfloat16 by far.
    """
    each = torch.eye(count, dtype=matrices.dtype, device=matrices.device)[:, None, :, None]
    return (each * matrices[..., None, :, None, :]).flatten(-2).flatten(-3, -2)


@dataclass
class Remembered:
    """What the views of B scenes read in one layer, all seen from each scene's reference camera.

    keys, values (B, heads, n, c); mask (B, 1, 1, n), None for all; to_view (B S, 4, 4): P P_reference^-1 of S views,
    None where each scene has one, which is the reference; nowhere (2, heads, 1, c): a key and value that every view has
    beside its own, in its own frame.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor | None
    to_view: Tensor | None
    nowhere: Tensor


class HeadNorm(nn.Module):
    """The weights of RMS normalisation of each head's queries or keys."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))


def normalise(x: Tensor, weight: Tensor) -> Tensor:
    """RMS normalisation of x (..., channels), in the precision that it comes in."""
    return F.rms_norm(x, x.shape[-1:]) * weight.to(x.dtype)


class FrameAttention(nn.Module):
    """Tokens of a frame attend to their own frame and, where given, to the keys and values of remembered frames."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.query_norm = HeadNorm(dim // num_heads)
        self.key_norm = HeadNorm(dim // num_heads)

    def query_and_key(self, both: Tensor, rotary: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised and turned queries, scaled by 1 / sqrt(c), and keys, of both (2, N, heads, tokens, c)."""
        weight = torch.stack([self.query_norm.weight * both.shape[-1] ** -0.5, self.key_norm.weight])
        return rotate(normalise(both, weight[:, None, None, None]), rotary).unbind()

    def forward(self, x: Tensor, rotary: Tensor, remembered: Remembered | None = None) -> Tensor:
        """x (N, tokens, dim); with `remembered`, N = B S and all views of a scene read the same keys and values."""
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        (q, k), v = self.query_and_key(qkv[:2], rotary), qkv[2]
        if remembered is None:
            found = _attend(q, k, v)
        else:
            nowhere = remembered.nowhere[:, None].expand(-1, len(x), -1, -1, -1)
            own = [[n.to(its), its] for n, its in zip(nowhere, (k, v), strict=True)]
            read = _read_alone if remembered.to_view is None else _read_together
            found = read(q, *own, remembered)
        return self.out(found.transpose(1, 2).flatten(2))


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    scores = q @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e4)
    return scores.softmax(-1, dtype=v.dtype) @ v


def _read_alone(q: Tensor, k: list[Tensor], v: list[Tensor], remembered: Remembered) -> Tensor:
    """What queries (B, heads, tokens, c) of one view a scene find among its own keys and those of the scene."""
    k, v = torch.cat([*k, remembered.keys.to(q)], dim=2), torch.cat([*v, remembered.values.to(v[-1])], dim=2)
    mask = remembered.mask
    if mask is not None:
        mask = F.pad(mask, (k.shape[2] - mask.shape[-1], 0), value=True)
    return _attend(q, k, v, mask)


def _read_together(q: Tensor, k: list[Tensor], v: list[Tensor], remembered: Remembered) -> Tensor:
    """What queries (B S, heads, tokens, c) of S views a scene find among their own keys and those of the scene."""
    k, v = torch.cat(k, dim=2), torch.cat(v, dim=2)
    scenes, tokens = len(remembered.keys), q.shape[2]

    def together(x: Tensor) -> Tensor:  # (B S, heads, tokens, c) -> (B, heads, S tokens, c)
        return x.unflatten(0, (scenes, -1)).transpose(1, 2).flatten(2, 3)

    def apart(x: Tensor) -> Tensor:
        return x.unflatten(2, (-1, tokens)).transpose(1, 2).flatten(0, 1)

    # With M = P P_reference^-1: q . (M k) = (M^T q) . k, and what is found there comes back by M.
    to_view = remembered.to_view
    reading = together(turn_by_camera(q, to_view.mT)) @ remembered.keys.to(q).transpose(-1, -2)
    reading = apart(reading if remembered.mask is None else reading.masked_fill(~remembered.mask, -1e4))
    scores = torch.cat([q @ k.transpose(-1, -2), reading], dim=-1).softmax(-1, dtype=v.dtype)
    own, reading = scores.split([k.shape[2], reading.shape[-1]], dim=-1)
    return own @ v + turn_by_camera(apart(together(reading) @ remembered.values.to(v)), to_view)


class RememberedFrames(nn.Module):
    """Keys and values that a target layer reads from remembered frames: computed once when a frame is remembered."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.kv = nn.Linear(dim, 2 * dim, bias=False)
        self.key_norm = HeadNorm(dim // num_heads)

    def forward(self, tokens: Tensor, rotary: Tensor) -> Tensor:
        """tokens (N, tokens, dim) -> keys and values (N, 2, heads, tokens, c)."""
        k, v = self.kv(tokens).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return torch.stack([rotate(normalise(k, self.key_norm.weight), rotary).to(v.dtype), v], dim=1)

    @staticmethod
    def from_reference(keys_values: Tensor, cameras: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """keys_values (B, k, 2, heads, tokens, c), cameras (B, k, 4, 4) as in `Remembered`: two (B, heads, n, c).

        In `dtype`, by default their own: they are kept in half precision, in which not every CPU multiplies.
        """
        batch, slots, _, heads, tokens, channels = keys_values.shape
        # Written straight to where attention reads them, and turned there: a copy of all takes as long as the turn.
        turned = keys_values.new_empty(2, batch, heads, slots, tokens, channels, dtype=dtype)
        turned.permute(1, 3, 0, 2, 4, 5).copy_(keys_values)
        vectors = turned[..., : channels // 2]
        vectors.copy_(vectors @ _for_all_vectors(cameras.mT.to(turned.dtype), channels // 8)[:, None])
        keys, values = turned.flatten(3, 4)
        return keys, values
