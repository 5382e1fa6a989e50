"""Run by torchrun: Wan's network whose blocks are sharded over the ranks (FSDP), against the same one whole."""

import torch
import torch.distributed as dist
from diffusers import WanTransformer3DModel
from ranks import leave
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from wan_folders import TRANSFORMER

from ctxmem_env.generator.wan.store import add_lora
from ctxmem_env.generator.wan.transformer import ContextTransformer


def make() -> ContextTransformer:
    torch.manual_seed(0)
    model = ContextTransformer(WanTransformer3DModel(**TRANSFORMER))
    add_lora(model, 2, 2)
    return model.requires_grad_(True)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    whole, sharded = make(), make()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for block in sharded.base.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    drawn = [torch.randn(shape) for shape in ((1, 4, 2, 4, 6), (1, 7, 16), (1, 5, 12), (1, 4, 3, 4, 6))]
    arguments = drawn[0], torch.rand(1), *drawn[1:]
    outputs = [model(*arguments) for model in (whole, sharded)]
    for output in outputs:
        output.square().mean().backward()
    cameras = [model.base.blocks[0].camera.weight for model in (whole, sharded)]
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(cameras[1].grad.full_tensor(), cameras[0].grad)
    assert cameras[0].grad.any() and len(cameras[1].to_local()) * dist.get_world_size() == len(cameras[0])
    leave("equal")
