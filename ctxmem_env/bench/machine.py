"""The machine that figures were measured on: what it is, and how fast it multiplies large matrices."""

import platform
import time
from pathlib import Path

import numpy as np
import torch

from ctxmem_env.evaluation.run import describe_machine

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_SIZES = {"cpu": 1024, "cuda": 8192}  # side of the matrices: large enough that nothing but arithmetic counts
_MULTIPLIES = 3  # in one reading


def describe() -> dict:
    """Processor, cores, threads, its units for bfloat16, GPU, system, and the software."""
    return describe_machine() | {"bfloat16": _bfloat16_units(), "os": platform.platform(aliased=True)}


def _bfloat16_units() -> list[str]:
    """Instructions of this processor for bfloat16, as Linux names them."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    return sorted({"avx512_bf16", "amx_bf16"} & set(flags))


def synchronize() -> None:
    """Wait until a GPU, if there is one, has done what it was asked to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class MatrixRates:
    """How fast `device` multiplies large square matrices, read now and then between other measurements."""

    def __init__(self, device: str | torch.device) -> None:
        self.device = torch.device(device)
        self._size = _SIZES.get(self.device.type, _SIZES["cpu"])
        self._readings: list[list[float]] = []
        self._read()  # the first multiply sets up what later ones use

    def _read(self) -> list[float]:
        """GFLOP/s of each of `DTYPES`."""
        rates = []
        for dtype in DTYPES.values():
            matrix = torch.full((self._size, self._size), 0.5, dtype=dtype, device=self.device)
            synchronize()
            began = time.perf_counter()
            for _ in range(_MULTIPLIES):
                torch.mm(matrix, matrix)
            synchronize()
            rates.append(_MULTIPLIES * 2e-9 * self._size**3 / (time.perf_counter() - began))
        return rates

    def read(self) -> None:
        self._readings.append(self._read())

    def medians(self) -> dict[str, float]:
        """GFLOP/s in float32 and in bfloat16, medians of the readings."""
        return {name: round(float(rate), 2) for name, rate in zip(DTYPES, np.median(self._readings, 0), strict=True)}


def achieved(flops: float, seconds: float, rates: dict[str, float]) -> dict:
    """GFLOP/s of `flops` in `seconds`, and their share of each of the rates of `MatrixRates.medians`."""
    rate = 1e-9 * flops / seconds
    return {"gflops": round(rate, 3), "matrix_share": {name: round(rate / full, 4) for name, full in rates.items()}}
