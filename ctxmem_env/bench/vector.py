"""`ctxmem bench vector`: env-steps a second, in all, of worlds that step in one batch."""

from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm

from ctxmem_env.bench.machine import MatrixRates, achieved, describe
from ctxmem_env.bench.measure import compiled, network_flops
from ctxmem_env.bench.ppo import bench_ppo, check_sb3
from ctxmem_env.bench.random_walk import RandomWalk
from ctxmem_env.device import resolve_device
from ctxmem_env.errors import check_integer
from ctxmem_env.generator import load_generator, traits_of

CPU_SIZES = (1, 2, 4, 8, 16, 32, 64)
GPU_SIZES = (*CPU_SIZES, 128, 256, 512, 1024, 2048, 4096)


def bench_vector(
    model: str = "nano",
    num_context: int = 8,
    num_envs: Sequence[int] | None = None,
    repeats: int = 5,
    steps: int = 20,
    threads: int = 1,
    device: str = "auto",
    array: str = "numpy",
    compile: bool = False,
    sb3: bool = False,
    quiet: bool = False,
) -> dict:
    """Steps every batch of `num_envs` worlds `repeats` times, in turn with the first of them.

    At most two batches exist at a time.

    Args:
        num_envs: numbers of worlds; None for 1 to 64, on a GPU to 4,096.
        steps: of all worlds, in one measurement.
        array: "numpy", or "torch" for observations that stay on the device.
        compile: use a compiled network; compiling falls into the run-up of each batch.
        sb3: also what `bench_ppo` measures.

    Returns:
        model, num_context, num_attended, denoising_steps, machine, matrix_gflops, array, compiled; vectorization, the
        environment's class; batches, a list with num_envs, env_steps_per_second of all worlds together, step_ms of one
        step of them all, speedup over the first batch measured in turn, network_gflop of such a step, when each world
        encodes one frame and paints one, and gflops and matrix_share, the rate of the network over the whole step, in
        all and as a share of matrix_gflops; ppo, with `sb3`.

    Raises:
        ValueError: a number below 1, an unknown model, device or array, or no Stable-Baselines3 for `sb3`.
    """
    if sb3:
        check_sb3()
    place = resolve_device(device)
    if num_envs is None:
        num_envs = GPU_SIZES if place.type == "cuda" else CPU_SIZES
    if len(num_envs) == 0:
        raise ValueError("num_envs is empty; expected numbers of worlds, at least one.")
    num_envs = [check_integer("num_envs", number, 1) for number in num_envs]
    repeats, steps = check_integer("repeats", repeats, 1), check_integer("steps", steps, 1)
    torch.set_num_threads(check_integer("threads", threads, 1))
    generator = load_generator(model, device)
    rates, flops = MatrixRates(place), network_flops(generator, num_context, place)
    arguments = {"model": compiled(generator) if compile else model, "num_context": num_context, "device": device}
    first = RandomWalk(num_envs[0], array=array, **arguments)
    batches = []
    for number in tqdm(num_envs, desc="bench vector", unit="batch", dynamic_ncols=True, disable=quiet):
        walk = first if number == num_envs[0] else RandomWalk(number, array=array, **arguments)
        rounds = []
        for _ in range(repeats):
            rates.read()
            own = walk.seconds(steps)
            rounds.append((own, own if walk is first else first.seconds(steps)))
        own, beside = np.array(rounds).T / steps
        speedup = np.median(beside / own) * number / num_envs[0]
        batches.append({"num_envs": number, "seconds": float(np.median(own)), "speedup": round(float(speedup), 3)})
        if walk is not first:
            walk.close()
    matrix_gflops = rates.medians()
    for batch in batches:
        seconds, network = batch.pop("seconds"), batch["num_envs"] * (flops.encode + flops.generate)
        batch["env_steps_per_second"] = round(batch["num_envs"] / seconds, 2)
        batch["step_ms"] = round(1000 * seconds, 3)
        batch["network_gflop"] = round(1e-9 * network, 3)
        batch |= achieved(network, seconds, matrix_gflops)
    results = {
        "bench": "vector",
        "model": model,
        "num_context": num_context,
        "num_attended": traits_of(generator).num_attended,
        "denoising_steps": generator.default_num_steps,
        "machine": describe(),
        "matrix_gflops": matrix_gflops,
        "array": array,
        "compiled": compile,
        "vectorization": type(first.envs.unwrapped).__name__,
        "batches": batches,
    }
    first.close()
    return results | ({"ppo": bench_ppo(repeats=repeats, **arguments)} if sb3 else {})
