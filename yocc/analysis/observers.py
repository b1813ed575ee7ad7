"""From statistics to the range a tensor is quantized in, by our observers or those of other packages."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from yocc.analysis.quant_params import range_params
from yocc.analysis.statistics import TensorStatistics
from yocc.compiler.pipeline.registry import discover, lookup, nearest
from yocc.compiler.pipeline.target import TensorScheme
from yocc.errors import OptionError

Array = np.ndarray[Any, Any]
GROUP = "yocc.observers"
Transfer = Callable[[Array], Array]
"""What the network does next with a value; errors are measured behind it."""
KEPT = 0.9999
"""Share of the values that the percentile observer keeps inside the range."""
_CUTS = 48
"""Candidate bounds on each side for the MSE observer."""
CLIPPING = 8.0
"""How much worse a squared error is where a value is cut off than where it is rounded.

Rounding errors are independent and average out in the sums that follow; what is cut off all points the same way and is
often the whole signal of one channel.
"""


def minmax(statistics: TensorStatistics, scheme: TensorScheme, transfer: Transfer) -> tuple[float, float]:
    """Everything that was seen."""
    return statistics.low, statistics.high


def average(statistics: TensorStatistics, scheme: TensorScheme, transfer: Transfer) -> tuple[float, float]:
    """The mean over pictures of each one's extremes.

    What an exponential moving average (Jacob et al., "Quantization and Training of Neural Networks for
    Efficient Integer-Arithmetic-Only Inference", CVPR 2018, section 3.1) estimates. That one weighs later pictures more
    and so depends on their order; with equal weights, sums and a count merge in any order.
    """
    if not statistics.pictures:
        return statistics.low, statistics.high
    return float(statistics.lows / statistics.pictures), float(statistics.highs / statistics.pictures)


def percentile(statistics: TensorStatistics, scheme: TensorScheme, transfer: Transfer) -> tuple[float, float]:
    """The range that holds `KEPT` of the values, the rest cut off evenly on both sides."""
    if not statistics.counts.any():
        return statistics.low, statistics.high
    share = np.cumsum(statistics.counts) / statistics.counts.sum()
    width = np.ldexp(1.0, statistics.exponent)
    low = statistics.centres[np.searchsorted(share, (1 - KEPT) / 2)] - width / 2
    last = min(int(np.searchsorted(share, 1 - (1 - KEPT) / 2)), len(share) - 1)
    high = statistics.centres[last] + width / 2
    return max(low, statistics.low), min(high, statistics.high)


def mse(statistics: TensorStatistics, scheme: TensorScheme, transfer: Transfer) -> tuple[float, float]:
    """The range with the least weighted squared error behind the next operation, found by narrowing both ends in turn.

    Cutting a tail costs little where what follows flattens it: SiLU turns everything below -8 into almost nothing.
    """
    seen = np.flatnonzero(statistics.counts)
    if len(seen) == 0 or statistics.low == statistics.high:
        return statistics.low, statistics.high
    values, weights = statistics.centres[seen], statistics.counts[seen].astype(np.float64)
    wanted = transfer(values)
    low, high = min(statistics.low, 0.0), max(statistics.high, 0.0)

    def error(low: float, high: float) -> float:
        scale = float(range_params(low, high, scheme).scale)
        quantized = np.clip(values, low, high)
        shift = 0.0 if scheme.symmetric else low
        quantized = np.round((quantized - shift) / scale) * scale + shift
        cut = np.where((values < low) | (values > high), CLIPPING, 1.0)
        return float((weights * cut) @ np.square(transfer(quantized) - wanted))

    return narrowed(low, high, scheme, error)


def entropy(statistics: TensorStatistics, scheme: TensorScheme, transfer: Transfer) -> tuple[float, float]:
    """The quantization range that keeps most of the distribution of the values, found by narrowing both ends in turn.

    Minimizes the Kullback-Leibler divergence between the histogram, with clipped values moved to its ends, and the
    histogram with each integer's values spread over its bins (Migacz, "8-bit Inference with TensorRT", GTC 2017).
    """
    seen = np.flatnonzero(statistics.counts)
    if len(seen) == 0 or statistics.low == statistics.high:
        return statistics.low, statistics.high
    values, weights = statistics.centres[seen], statistics.counts[seen].astype(np.float64)
    low, high = min(statistics.low, 0.0), max(statistics.high, 0.0)

    def divergence(low: float, high: float) -> float:
        inside = (values >= low) & (values <= high)
        if not inside.any():
            return np.inf
        kept = weights[inside]
        codes = range_params(low, high, scheme).quantize(values[inside], scheme).astype(np.int64)
        codes -= codes.min()
        spread = (np.bincount(codes, kept) / np.maximum(np.bincount(codes), 1))[codes]
        wanted = kept.copy()
        wanted[0] += weights[values < low].sum()
        wanted[-1] += weights[values > high].sum()
        wanted, spread = wanted / wanted.sum(), spread / spread.sum()
        return float(np.sum(wanted * np.log(wanted / spread)))

    return narrowed(low, high, scheme, divergence)


def narrowed(
    low: float, high: float, scheme: TensorScheme, cost: Callable[[float, float], float], *, cuts: int = _CUTS
) -> tuple[float, float]:
    """The range of least cost inside another: both ends are moved in turn, or together where the range is symmetric."""
    shares = np.linspace(1.0, 1.0 / cuts, cuts)
    if scheme.symmetric:
        reach = max(-low, high)
        best = min(shares, key=lambda share: cost(-reach * share, reach * share))
        return -reach * best, reach * best
    for _ in range(2):
        high = min((high * share for share in shares), key=lambda bound: cost(low, bound)) if high > 0 else high
        low = min((low * share for share in shares), key=lambda bound: cost(bound, high)) if low < 0 else low
    return low, high


Observer = Callable[[TensorStatistics, TensorScheme, Transfer], tuple[float, float]]
OBSERVERS: Mapping[str, Observer] = MappingProxyType(
    {"minmax": minmax, "average": average, "percentile": percentile, "mse": mse, "entropy": entropy}
)
"""The observers of yocc by name."""


class RangeObserver(abc.ABC):
    """An observer that another package brings; it is made without arguments."""

    name: ClassVar[str]
    """The name of its entry point."""
    summary: ClassVar[str]
    """One line."""

    @abc.abstractmethod
    def __call__(self, statistics: TensorStatistics, scheme: TensorScheme, transfer: Transfer) -> tuple[float, float]:
        """The range to quantize a tensor in.

        Args:
            statistics: what calibration saw of it.
            scheme: how it is quantized.
            transfer: what the network does with its values next.
        """


def observer_named(name: str, others: Iterable[str] = ()) -> Observer:
    """The observer of a name.

    Args:
        name: of an observer of yocc or of a plugin.
        others: further names that hints mention.

    Raises:
        OptionError: there is none, it does not load, or it is registered twice.
    """
    if name in OBSERVERS:
        return OBSERVERS[name]
    plugins = discover(GROUP, RangeObserver)
    if name not in plugins:
        raise OptionError(
            f"There is no observer {name!r}.", nearest(name, dict.fromkeys([*others, *OBSERVERS, *plugins]))
        )
    found: Observer = lookup(plugins, name, "observer")()
    return found
