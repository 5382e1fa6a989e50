"""Wan's transformer with clean context frames and cameras, as Context-as-Memory has them (arXiv:2506.03141).

Latents of the context are concatenated to the noisy ones along the frame axis. They are clean, so their time is 0, and
their positions follow those of the noisy frames, which keep theirs. A camera, the 12 numbers of [R, t], goes through
one linear layer in each block, and is added to all tokens of its frame behind self-attention. That layer begins at
zero: a base checkpoint starts as it was. The paper's base has spatial attention and then one over space and time, and
adds the camera between the two; Wan's blocks have the second alone.
"""

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ctxmem_env.camera import camera_to_world, invert_rigid

CAMERA = 12  # numbers of a camera


def camera_numbers(way: Tensor, context: Tensor) -> Tensor:
    """Cameras (B, F + k, 12) of poses (B, F, 6) that are painted, then of those (B, k, 6) of the context.

    Camera-to-world rotation and place in metres, in OpenCV axes, from the first camera that is painted, as diffusers'
    SanaWM has them: so that nothing depends on where the world has its origin.
    """
    matrices = camera_to_world(torch.cat([way, context], 1).float())
    relative = invert_rigid(matrices[:, :1]) @ matrices
    return relative[..., :3, :].flatten(-2)


class ContextBlock(nn.Module):
    """A block of Wan, with the camera added behind self-attention."""

    def __init__(self, block: nn.Module, dim: int) -> None:
        super().__init__()
        self.block = block
        self.camera = nn.Linear(CAMERA, dim)
        nn.init.zeros_(self.camera.weight)
        nn.init.zeros_(self.camera.bias)

    def forward(
        self,
        x: Tensor,
        text: Tensor,
        modulation: Tensor,
        rotary: tuple[Tensor, Tensor],
        cameras: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        """x (B, frames, tokens, dim), text (B, L, dim), modulation (B, frames, 6, dim), cameras (B, frames, 12)."""
        b, frames = self.block, x.shape[1]
        parts = (b.scale_shift_table[None] + modulation.float()).unbind(2)
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = (part[:, :, None] for part in parts)

        def flat(normed: Tensor) -> Tensor:
            return normed.type_as(x).flatten(1, 2)

        attended = b.attn1(flat(b.norm1(x.float()) * (1 + scale) + shift), None, mask, rotary)
        x = (x.float() + attended.unflatten(1, (frames, -1)) * gate).type_as(x)
        x = x + self.camera(cameras.to(self.camera.weight.dtype)).type_as(x)[:, :, None]
        x = x + b.attn2(flat(b.norm2(x.float())), text, None, None).unflatten(1, (frames, -1))
        hidden = b.ffn(flat(b.norm3(x.float()) * (1 + ffn_scale) + ffn_shift)).unflatten(1, (frames, -1))
        return (x.float() + hidden.float() * ffn_gate).type_as(x)


class ContextTransformer(nn.Module):
    """Velocities of noisy latents, beside clean latents of remembered frames.

    Args:
        base: Wan's transformer, which becomes part of this one.
    """

    def __init__(self, base: WanTransformer3DModel) -> None:
        super().__init__()
        dim = base.config.num_attention_heads * base.config.attention_head_dim
        base.blocks = nn.ModuleList(ContextBlock(block, dim) for block in base.blocks)
        self.base = base
        self.checkpointing = False  # compute blocks again for their gradients, which takes less memory

    @property
    def device(self) -> torch.device:
        return self.base.patch_embedding.weight.device

    def forward(
        self,
        noisy: Tensor,
        time: Tensor,
        text: Tensor,
        cameras: Tensor,
        context: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Velocities (B, C, F, h, w), noise less clean latents.

        Args:
            noisy: (B, C, F, h, w), (1 - time) * clean + time * noise.
            time: (B,), from 1 for noise to 0.
            text: (B, L, text_dim).
            cameras: (B, F + k, 12), see `camera_numbers`.
            context: clean latents (B, C, k, h, w); k may be 0.
            mask: bool (B, k), False for an empty slot; None where all are in use.
        """
        base, frames = self.base, noisy.shape[2]
        latents = torch.cat([noisy, context.to(noisy)], 2)
        rotary = base.rope(latents)
        x = base.patch_embedding(latents.to(base.patch_embedding.weight.dtype))
        rows = x.shape[-2:]
        x = x.flatten(3).permute(0, 2, 3, 1)  # (B, F + k, tokens, dim)
        times = 1000 * torch.cat([time[:, None].expand(-1, frames), time.new_zeros(len(time), context.shape[2])], 1)
        embedded, modulation, text, _ = base.condition_embedder(
            times.flatten(), text.to(x.dtype), None, timestep_seq_len=times.shape[1]
        )
        modulation = modulation.unflatten(2, (6, -1))
        attended = None
        if mask is not None:
            attended = torch.cat([mask.new_ones(len(mask), frames), mask], 1)
            attended = attended.repeat_interleave(x.shape[2], 1)[:, None, None]
        for block in base.blocks:
            arguments = x, text, modulation, rotary, cameras, attended
            again = self.checkpointing and torch.is_grad_enabled()
            x = checkpoint(block, *arguments, use_reentrant=False) if again else block(*arguments)
        shift, scale = (base.scale_shift_table[None] + embedded[:, :frames, None]).chunk(2, 2)
        x = (base.norm_out(x[:, :frames].float()) * (1 + scale) + shift).type_as(x)
        x = base.proj_out(x).unflatten(-1, (1, 2, 2, -1)).unflatten(2, rows)
        return x.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3).float()
