"""Run by torchrun: a run of Wan's training whose weights accelerate shards over the ranks, against one that keeps them.

accelerate itself shards on accelerators alone, so its state is told here that it does. All else is its own.
"""

import dataclasses
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from ranks import leave
from safetensors.torch import load_file

from ctxmem_env.config import load_config
from ctxmem_env.training.wan import train_wan
from ctxmem_env.training.wan_config import WanTrainConfig

TINY = Path(__file__).parent.parent / "configs" / "wan_tiny.yaml"
PLUGIN = {
    "fsdp_version": 2,
    "auto_wrap_policy": "transformer_based_wrap",
    "transformer_cls_names_to_wrap": ["ContextBlock"],
    "state_dict_type": "FULL_STATE_DICT",
    "cpu_ram_efficient_loading": False,
}


def adapter(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "adapter" / "adapter.safetensors")


if __name__ == "__main__":
    train, out = sys.argv[1], Path(sys.argv[2])
    config = dataclasses.replace(load_config(WanTrainConfig, TINY), train=train)
    whole = train_wan(config, out / "whole", quiet=True)
    Accelerator(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    AcceleratorState().fsdp_plugin = FullyShardedDataParallelPlugin(**PLUGIN)
    sharded = train_wan(config, out / "sharded", quiet=True)
    assert sharded["trained"] == whole["trained"]
    # In four steps weights go up to 3.5e-3 far, and some of whose gradient is nearly 0 another way.
    expected, found = adapter(out / "whole"), adapter(out / "sharded")
    for name in expected.keys() | found.keys():
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=2e-4)
    # A run that was cut off goes on, without the moments of the optimiser.
    train_wan(dataclasses.replace(config, num_steps=2), out / "cut", quiet=True)
    assert train_wan(config, out / "cut", quiet=True)["steps"] == 4
    leave("equal")
