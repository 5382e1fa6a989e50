"""Names of torch devices, the memory that is free on them, and that which this process holds."""

from pathlib import Path

import torch
from torch import Tensor


def check_device(device: str) -> str:
    """The name itself; ValueError unless it is "auto" or a name that torch knows. No device is touched."""
    try:
        torch.device("cpu" if device == "auto" else device)
    except (RuntimeError, TypeError, ValueError):
        raise ValueError(f"device={device!r} is not a torch device; expected 'auto', 'cpu' or 'cuda'.") from None
    return device


def resolve_device(device: str) -> torch.device:
    """The device of that name; "auto" is the first GPU where there is one. ValueError when it is not here."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=check_device(device))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={device!r} is not available here ({error}); use 'auto' or 'cpu'.") from None
    return torch.device(device)


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies matrices in it (GPUs, CPUs with AMX or AVX-512 BF16), else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    fast = _has_unit("_is_amx_tile_supported") or _has_unit("_is_avx512_bf16_supported")
    return torch.bfloat16 if device.type == "cpu" and fast else torch.float32


def _has_unit(name: str) -> bool:
    """What torch says of this CPU; not public yet, and one of which it cannot tell counts as one without."""
    return getattr(torch.cpu, name, lambda: False)()


def sums_depend_on_rows(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a product's rows differ by rounding with the number of rows that are multiplied at once.

    The libraries of CPUs add up in another order then, in single precision, and in AMX's tiles.
    """
    return device.type == "cpu" and (dtype == torch.float32 or _has_unit("_is_amx_tile_supported"))


def same_values(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are alike in device, type, shape and values; of what lies in the same memory none is read."""
    if (one.device, one.dtype, one.shape) != (other.device, other.dtype, other.shape):
        return False
    return (one.data_ptr() == other.data_ptr() and one.stride() == other.stride()) or torch.equal(one, other)


def available_bytes(device: str | torch.device) -> int | None:
    """Memory that is free on a device, or None where that is not known."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.is_file() else []
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    return None if kilobytes is None else 1024 * kilobytes


def resident_mb() -> float | None:
    """Resident memory of this process in 10^6 bytes, as Linux tells it; None elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), None)
    return None if kilobytes is None else round(1024 * kilobytes / 1e6, 1)


def is_host(tensor: Tensor) -> bool:
    """Whether a look at the values of `tensor` waits for no other device.

    Within a step values are checked only then; what comes from outside is checked everywhere, where it comes in.
    """
    return tensor.device.type == "cpu"
