"""Pictures that are gone through many times: kept in memory as small as that is possible without loss."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.compiler.pipeline.passes import Arrays, Feeds, PassContext
from yocc.errors import CalibrationError

Array = np.ndarray[Any, Any]
KEPT_BYTES = 2**29
"""Decoded pictures kept in memory at most."""
FEWEST = 4
"""Pictures that are used however little time there is."""
_STEP = np.float32(1 / 255)
_LOOKED_AT = 8


@dataclass(frozen=True)
class Pixels:
    """An array whose values are multiples of 1 / 255, which a byte each says exactly."""

    levels: Array

    @classmethod
    def of(cls, array: Array) -> Pixels | None:
        """None where bytes would not say it exactly."""
        if array.dtype != np.float32 or array.size == 0 or array.min() < 0 or array.max() > 1:
            return None
        pixels = cls(np.rint(array / _STEP).astype(np.uint8))
        return pixels if np.array_equal(pixels.array(), array) else None

    def array(self) -> Array:
        """The array again."""
        values: Array = self.levels.astype(np.float32) * _STEP
        return values


@dataclass(frozen=True)
class Evenly:
    """Evenly spaced samples, read anew each time."""

    feeds: Feeds
    step: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Arrays]:
        return itertools.islice(self.feeds, 0, self.step * self.count, self.step)


@dataclass
class Some:
    """Some samples, as passes read them.

    Attributes:
        samples: can be read again.
        description: where they come from.
        synthetic: whether yocc made them up.
    """

    samples: Sequence[Arrays] | Evenly
    description: str = "some of the samples"
    synthetic: bool = False

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Arrays]:
        return iter(self.samples)


def evenly(feeds: Feeds, most: int) -> Evenly:
    """Up to `most` samples."""
    step = max(1, len(feeds) // most)
    return Evenly(feeds, step, min(most, len(range(0, len(feeds), step))))


def affordable(run: Callable[[], object], seconds: float, most: int) -> int:
    """How many runs there is time for, by how long the second of two takes; `FEWEST` however short it is."""
    if math.isinf(seconds):
        return most
    run()
    started = time.monotonic()
    run()
    each = time.monotonic() - started
    return max(min(FEWEST, most), min(most, int(seconds / max(each, 1e-9))))


def in_time(feeds: Feeds, most: int, run: Callable[[Arrays], object], ctx: PassContext) -> Evenly:
    """Up to `most` samples for ranking channels, fewer where users give less time than `run` takes for all of them.

    Of the time left to a round of pruning a tenth goes into each ranking's runs.
    """
    first = next(iter(feeds))
    seconds = ctx.deadline.left() / (1 + ctx.remaining_passes.count("prune")) / 10
    count = affordable(lambda: run(first), seconds, most)
    if count < min(most, len(feeds)):
        ctx.note(f"There was time to rank channels on {count} pictures of {min(most, len(feeds))}.", level="warning")
    return evenly(feeds, count)


def some_pictures(feeds: Feeds, count: int) -> Iterable[Arrays]:
    """Up to `count` evenly spaced samples, kept decoded where there is room, as every depth runs on them again."""
    taken = evenly(feeds, count)
    kept: list[dict[str, Array | Pixels]] = []
    size = 0
    for arrays in taken:
        kept.append({name: Pixels.of(array) or array for name, array in arrays.items()})
        size += sum((part.levels if isinstance(part, Pixels) else part).nbytes for part in kept[-1].values())
        if size * len(taken) > KEPT_BYTES * len(kept):
            return taken
    return _Kept(kept)


def alike(feeds: Feeds) -> bool:
    """Whether the first few samples are each of one value throughout, or there are several and all are the same."""
    some = [list(arrays.values()) for arrays in itertools.islice(feeds, _LOOKED_AT)]
    plain = all(np.ptp(array) == 0 for arrays in some for array in arrays if array.size > 1)
    same = all(
        np.array_equal(array, first) for arrays in some[1:] for array, first in zip(arrays, some[0], strict=True)
    )
    return plain or (len(some) > 1 and same)


def require_finite(values: Mapping[str, Array], names: Iterable[str]) -> None:
    """Refuse to measure on NaN or infinity.

    Args:
        values: what a network gives, by tensor.
        names: those to look at.

    Raises:
        CalibrationError: one of them is not finite, which is the network's or the input's fault.
    """
    for name in names:
        if not np.isfinite(values[name]).all():
            raise CalibrationError(
                f"On the calibration data the network gives NaN or infinity at {name!r}.",
                "Check that the original model gives finite outputs on this data, and how its input is prepared.",
            )


@dataclass(frozen=True)
class _Kept:
    """Samples in memory."""

    samples: list[dict[str, Array | Pixels]]

    def __iter__(self) -> Iterator[Arrays]:
        for sample in self.samples:
            yield {name: part.array() if isinstance(part, Pixels) else part for name, part in sample.items()}
