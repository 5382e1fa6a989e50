"""Prompts as numbers: Wan's text encoder (UMT5), asked once for each prompt."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ctxmem_env.generator.wan.folders import PREFIX

_LENGTH = 512  # tokens that Wan was trained with; what a prompt does not fill is zero
_KEPT = 256  # prompts whose numbers are kept


class PromptEncoder:
    """Embeddings (B, 512, dim) of prompts. The encoder is loaded for the first of them.

    Args:
        folder: a base with text_encoder/ and tokenizer/, or None: then every prompt is empty, and zero.
        dim: of an embedding.
        device: where the encoder computes.
    """

    def __init__(self, folder: Path | None, dim: int, device: torch.device) -> None:
        self.folder, self.dim, self.device = folder, dim, device
        self._known: dict[str, Tensor] = {}
        self._encoder = None

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> Tensor:
        asked = {}
        for prompt in dict.fromkeys(prompts):
            known = self._known.get(prompt)
            asked[prompt] = self._encode(prompt) if known is None else known
        others = {prompt: known for prompt, known in self._known.items() if prompt not in asked}
        self._known = dict(list((others | asked).items())[-_KEPT:])
        return torch.stack([asked[prompt] for prompt in prompts])

    def _encode(self, prompt: str) -> Tensor:
        if self.folder is None:
            if prompt:
                raise ValueError(f"prompt={prompt!r} was given, but the base has no text encoder; leave it out.")
            return torch.zeros(_LENGTH, self.dim, device=self.device)
        if self._encoder is None:
            self._encoder = self._load()
        tokenizer, encoder = self._encoder
        # As diffusers' WanPipeline asks; white space does not count.
        tokens = tokenizer(
            [" ".join(prompt.split())],
            padding="max_length",
            max_length=_LENGTH,
            truncation=True,
            add_special_tokens=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        mask = tokens.attention_mask.to(self.device)
        embedded = encoder(tokens.input_ids.to(self.device), mask).last_hidden_state[0]
        return (embedded * mask[0, :, None]).float()

    def _load(self):
        try:
            from transformers import AutoTokenizer, UMT5EncoderModel
        except ImportError as error:
            raise ImportError(
                'prompts need transformers, which is not installed; run `pip install "ctxmem-env[large]"`.'
            ) from error
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        try:
            encoder = UMT5EncoderModel.from_pretrained(self.folder / "text_encoder", dtype=dtype, use_safetensors=True)
            tokenizer = AutoTokenizer.from_pretrained(self.folder / "tokenizer", trust_remote_code=False)
        except Exception as error:  # whatever the libraries raise for files that are missing, cut or of another model
            raise ValueError(
                f"model='{PREFIX}{self.folder}' has a text_encoder/ or tokenizer/ that cannot be loaded "
                f"({type(error).__name__}: {str(error)[:200]}); fetch them again, or remove both."
            ) from error
        return tokenizer, encoder.eval().requires_grad_(False).to(self.device)
