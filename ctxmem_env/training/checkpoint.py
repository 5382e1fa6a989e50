"""Checkpoints of a training run: safetensors and JSON, written whole or not at all."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from ctxmem_env.atomic import open_whole


def flatten_optimizer(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """The state of an optimiser as tensors named prefix.<parameter>.<entry>."""
    return {
        f"{prefix}.{index}.{entry}": torch.as_tensor(value)
        for index, state in optimizer.state_dict()["state"].items()
        for entry, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str) -> None:
    """Give an optimiser the state that `flatten_optimizer` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix + "."):
            index, entry = name[len(prefix) + 1 :].split(".")
            state.setdefault(int(index), {})[entry] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def save_checkpoint(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """One file: tensors, and `facts` (JSON types) in its header."""
    tensors = {name: value.detach().contiguous() for name, value in tensors.items()}
    data = save(tensors, metadata={"facts": json.dumps(facts)})
    with open_whole(path) as file:
        file.write(data)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save_checkpoint` wrote. Raises ValueError for a file that is not a whole checkpoint."""
    data = Path(path).read_bytes()
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        facts = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["facts"])
    except Exception as error:
        raise ValueError(
            f"checkpoint: {path} is truncated or not a training checkpoint ({error}); "
            "remove it to start over, or put an intact copy in its place"
        ) from error
    return tensors, facts
