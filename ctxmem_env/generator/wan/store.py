"""Wan models from disk, and adapters onto it: loaded when everything about them is known to fit."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from ctxmem_env.atomic import whole_folder
from ctxmem_env.generator.wan.folders import FORMAT, Adapter, Base, Found, find_wan, read_base, refuse
from ctxmem_env.generator.wan.generator import WanGenerator
from ctxmem_env.generator.wan.options import WanOptions
from ctxmem_env.generator.wan.text import PromptEncoder
from ctxmem_env.generator.wan.transformer import ContextTransformer

_TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2"]  # layers that get a LoRA


def load_wan(model: str, device: torch.device) -> WanGenerator:
    """The generator of `model`, "wan:" and a folder or hub id. What is broken is refused before a tensor is loaded."""
    found = find_wan(model)
    check(found)
    return build(found, device)


def build(found: Found, device: torch.device) -> WanGenerator:
    """The generator of a base and an adapter that were checked, in bfloat16 on a GPU."""
    adapter = found.adapter
    tensors = None if adapter is None else _finite(adapter)
    fast = torch.bfloat16 if device.type == "cuda" else torch.float32
    base = WanTransformer3DModel.from_pretrained(
        found.base.folder / "transformer", torch_dtype=fast, use_safetensors=True
    )
    vae = AutoencoderKLWan.from_pretrained(found.base.folder / "vae", use_safetensors=True)
    transformer = ContextTransformer(base)
    if tensors is not None:
        if adapter.lora is not None:
            add_lora(transformer, **adapter.lora)
        transformer.load_state_dict(tensors, strict=False)  # each in the precision of what it replaces
    prompts = PromptEncoder(
        found.base.folder if found.base.takes_text else None, found.base.architecture["text_dim"], device
    )
    transformer, vae = (part.eval().requires_grad_(False).to(device) for part in (transformer, vae))
    generator = WanGenerator(transformer, vae, prompts, found.options, found.base.takes_text)
    generator.weights_sha256 = None if adapter is None else adapter.sha256
    return generator


def add_lora(transformer: ContextTransformer, rank: int, alpha: int) -> None:
    """Low-rank matrices beside those of attention and feed-forward, which begin at zero."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError('LoRA needs peft, which is not installed; run `pip install "ctxmem-env[large]"`.') from error
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=_TARGETS), transformer.base)


def is_adapter(name: str) -> bool:
    """Whether the parameter of a `ContextTransformer` is none of the base."""
    return ".camera." in name or "lora_" in name


def save_adapter(
    folder: Path,
    tensors: dict[str, Tensor],
    base: str,
    architecture: dict[str, Any],
    options: WanOptions,
    lora: dict[str, int] | None,
    trained: str,
) -> Path:
    """Write an adapter, whole or not at all: the `tensors` of a `ContextTransformer` that were trained.

    Other arguments as in adapter.json, see `folders`.
    """
    with whole_folder(folder) as new:
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        weights = new / "adapter.safetensors"
        save_file(tensors, weights)
        with weights.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        facts = {
            "format": FORMAT,
            "base": base,
            "architecture": architecture,
            "options": asdict(options),
            "lora": lora,
            "trained": trained,
            "sha256": sha256,
        }
        (new / "adapter.json").write_text(json.dumps(facts, indent=2) + "\n")
    return folder


def make_base(folder: Path, transformer: dict[str, Any], vae: dict[str, Any], seed: int = 0) -> Base:
    """A base of that shape with random weights and no text encoder: to try things out, and to measure speed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        WanTransformer3DModel(**transformer).save_pretrained(folder / "transformer")
        AutoencoderKLWan(**vae).save_pretrained(folder / "vae")
    return read_base(folder)


def check(found: Found) -> None:
    """ValueError unless a base is of one piece, and an adapter fits it; no tensor is loaded."""
    check_base(found.base)
    if found.adapter is not None:
        check_adapter(found.adapter, found.base)


def check_base(base: Base) -> None:
    """ValueError unless its weights are those of networks as its configurations describe them, which are made without
    weights.

    Tensors that no such network has are passed over, as diffusers does, unless they are of further layers.
    """
    for part, kind in (("transformer", WanTransformer3DModel), ("vae", AutoencoderKLWan)):
        try:
            with torch.device("meta"):
                network = kind.from_config(kind.load_config(base.folder / part))
        except Exception as error:  # whatever comes of values that nobody wrote
            refuse(base.folder, f"has {part}/config.json, of which no network can be made ({error})")
        expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        layers = {name for name in base.shapes[part] if name.startswith("blocks.")}
        for name in sorted(expected.keys() | layers):
            if expected.get(name) != base.shapes[part].get(name):
                refuse(
                    base.folder,
                    f"has a {part} whose {name} is {base.shapes[part].get(name, 'missing')}, and by its config.json "
                    f"{expected.get(name, 'none')}: the two are not of one model",
                )


def check_adapter(adapter: Adapter, base: Base) -> None:
    """ValueError unless its tensors are those of a network of a checked base's shape, which is made without weights."""
    config = WanTransformer3DModel.load_config(base.folder / "transformer")
    with torch.device("meta"):
        transformer = ContextTransformer(WanTransformer3DModel.from_config(config))
        if adapter.lora is not None:
            add_lora(transformer, **adapter.lora)
    expected = {
        name: tuple(value.shape)
        for name, value in transformer.state_dict().items()
        if adapter.trained == "all" or is_adapter(name)
    }
    for name in sorted(expected.keys() | adapter.shapes.keys()):
        if expected.get(name) != adapter.shapes.get(name):
            refuse(
                adapter.folder,
                f"has {name} of shape {adapter.shapes.get(name, 'none')}, expected {expected.get(name, 'none')}: it is "
                "not of the base that it names",
            )


def _finite(adapter: Adapter) -> dict[str, Tensor]:
    tensors = load_file(adapter.folder / "adapter.safetensors")
    for name, value in tensors.items():
        if not bool(value.isfinite().all()):
            refuse(adapter.folder, f"has {name} with NaN or infinity")
    return tensors
