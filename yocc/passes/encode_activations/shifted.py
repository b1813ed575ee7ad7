"""Choosing the levels of an activation: a code, shifted and scaled to where its values are.

Levels of a log-scale code crowd around its 0, and half of a signed code's are negative. Behind an activation such as
SiLU, whose negative values end at -0.278, these are hardly used; where values are shifted above 0, all levels are.
Choi & Kim, "Hardware-friendly Log-scale Quantization for CNNs with Activation Functions Containing Negative Values"
(ISOCC 2021), rescale the distribution for that; here it is a shift, chosen by the error on pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.analysis.statistics import TensorStatistics
from yocc.fitting.codec import Codec, log2, positive_log2

Array = np.ndarray[Any, Any]
_SHIFTS = 8
"""Shifts tried between none and all that is negative."""
_SCALES = 9
"""Largest levels tried, an eighth of an octave apart."""


@dataclass(frozen=True, eq=False)
class Levels:
    """What values of a tensor are rounded to: levels of a code, times a scale, plus an offset.

    Attributes:
        codec: the code; its largest magnitude is not 1 for every one.
        scale: of its levels.
        offset: what its 0 stands for.
    """

    codec: Codec
    scale: float
    offset: float

    @property
    def signed(self) -> bool:
        """Whether there are levels below the offset."""
        return bool(self.codec.levels.min() < 0)

    def nearest(self, values: Array) -> Array:
        """The nearest level for each value, float64."""
        found: Array = self.codec.nearest((values - self.offset) / self.scale) * self.scale + self.offset
        return found


def choose_levels(statistics: TensorStatistics, bits: int, *, shift: bool) -> tuple[Levels, float]:
    """The log-scale levels of least squared error, and that error as a share of the values' variance.

    Args:
        statistics: of the tensor; not empty.
        bits: of a code.
        shift: whether levels may be shifted; otherwise negative values take half of them.
    """
    seen = np.flatnonzero(statistics.counts)
    values, weights = statistics.centres[seen], statistics.counts[seen] / statistics.counts.sum()

    def error(levels: Levels) -> float:
        return float(weights @ np.square(levels.nearest(values) - values))

    best = min(_candidates(statistics.low, statistics.high, bits, shift), key=error)
    variance = float(weights @ np.square(values - weights @ values))
    return best, error(best) / variance if variance > 0 else 0.0


def _candidates(low: float, high: float, bits: int, shift: bool) -> Iterator[Levels]:
    positive = positive_log2(bits)
    codec = log2(bits) if low < 0 else positive
    for scale in _scales(max(-low, high)):
        yield Levels(codec, scale / codec.reach, 0.0)
    if shift and low < 0:
        for offset in np.linspace(low, 0.0, _SHIFTS + 1):
            for scale in _scales(high - float(offset)):
                yield Levels(positive, scale, float(offset))


def _scales(reach: float) -> Array:
    scales: Array = (reach if reach > 0 else 1.0) * np.exp2(-np.arange(_SCALES) / 8)
    return scales
