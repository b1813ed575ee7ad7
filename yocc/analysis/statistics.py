"""Statistics of one tensor over many pictures, in bounded memory and mergeable.

Bins are aligned at zero and their width is a power of two chosen from the largest magnitude seen. Coarsening such bins
is exact, so the statistics of two sets of pictures merge to precisely those of their union, in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
BINS = 4096
"""Bins on each side of zero; at least half of the wider side is in use, so 8-bit steps span 8 bins or more."""
_FINEST = -149
"""Exponent of the finest bin width, the smallest number of float32."""


@dataclass
class TensorStatistics:
    """Minimum, maximum, mean extremes and histogram of a tensor's values.

    Attributes:
        low: smallest value seen; infinity before any.
        high: largest value seen; minus infinity before any.
        exponent: bins are 2^exponent wide.
        counts: values in each bin, shape [2 * BINS]; bin i starts at (i - BINS) * 2^exponent.
        pictures: how many were taken in.
        lows: sum of their smallest values, exactly, as a rounded sum would depend on the order.
        highs: sum of their largest values.
    """

    low: float = math.inf
    high: float = -math.inf
    exponent: int = _FINEST
    counts: Array = field(default_factory=lambda: np.zeros(2 * BINS, dtype=np.int64))
    pictures: int = 0
    lows: Fraction = Fraction(0)
    highs: Fraction = Fraction(0)

    def add(self, low: float, high: float, sample: Array) -> None:
        """Take in one picture.

        Args:
            low: smallest value of the whole tensor.
            high: largest value of the whole tensor.
            sample: some or all of its values, shape [n].
        """
        self._widen(low, high)
        self.pictures += 1
        self.lows += Fraction(low)
        self.highs += Fraction(high)
        bins = np.floor(np.ldexp(sample.astype(np.float64), -self.exponent)).astype(np.int64)
        self.counts += np.bincount(np.clip(bins + BINS, 0, 2 * BINS - 1), minlength=2 * BINS)

    def merge(self, other: TensorStatistics) -> TensorStatistics:
        """Statistics of both sets of pictures together."""
        merged = TensorStatistics(
            self.low, self.high, self.exponent, self.counts.copy(),
            self.pictures + other.pictures, self.lows + other.lows, self.highs + other.highs,
        )  # fmt: skip
        if not other.counts.any() and other.low > other.high:
            return merged
        merged._widen(other.low, other.high)
        merged.counts += _coarsen(other.counts, merged.exponent - other.exponent)
        return merged

    @property
    def centres(self) -> Array:
        """Middle of each bin, shape [2 * BINS]."""
        centres: Array = np.ldexp(np.arange(-BINS, BINS) + 0.5, self.exponent)
        return centres

    def _widen(self, low: float, high: float) -> None:
        self.low, self.high = min(self.low, low), max(self.high, high)
        needed = _exponent(max(abs(self.low), abs(self.high)))
        if needed > self.exponent:
            self.counts = _coarsen(self.counts, needed - self.exponent)
            self.exponent = needed


def _exponent(magnitude: float) -> int:
    """Exponent of the narrowest bins whose range holds a magnitude."""
    if magnitude == 0:
        return _FINEST
    # frexp gives magnitude < 2^exponent, so BINS bins of 2^exponent / BINS reach beyond it.
    return max(_FINEST, math.frexp(magnitude)[1] - int(math.log2(BINS)))


def _coarsen(counts: Array, steps: int) -> Array:
    """Counts for bins 2^steps times as wide."""
    if steps == 0:
        return counts
    bins = (np.arange(-BINS, BINS) >> min(steps, 62)) + BINS
    return np.bincount(bins, weights=counts, minlength=2 * BINS).astype(np.int64)
