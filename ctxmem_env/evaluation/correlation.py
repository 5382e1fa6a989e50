"""Correlation of paired values."""

import math
from collections.abc import Sequence

import numpy as np


def pearson(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Pearson's r of n pairs, in [-1, 1]; None where all values of a side are equal, or n < 2."""
    pairs = np.array([one, other], np.float64)
    if pairs.shape[1] < 2 or (np.ptp(pairs, axis=1) == 0).any():
        return None
    return round(float(np.corrcoef(pairs)[0, 1]), 4)


def pearson_interval(r: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a correlation over `count` pairs, at least 4, by Fisher's transformation."""
    if abs(r) == 1:
        return r, r
    centre, half = math.atanh(r), 1.96 / math.sqrt(count - 3)
    return math.tanh(centre - half), math.tanh(centre + half)


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's rank correlation of n pairs, in [-1, 1]: Pearson's r of their ranks."""
    return pearson(_ranks(one), _ranks(other))


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks (n,) from 0; equal values share the mean of theirs."""
    values = np.asarray(values, np.float64)
    below = (values < values[:, None]).sum(1)
    return below + ((values == values[:, None]).sum(1) - 1) / 2
