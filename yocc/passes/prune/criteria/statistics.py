"""Per-channel statistics of activations, collected picture by picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.analysis.pictures import require_finite
from yocc.compiler.pipeline.partial import run_until
from yocc.passes.prune.criteria.criterion import Subject
from yocc.passes.prune.criteria.taps import class_axes

Array = np.ndarray[Any, np.dtype[np.float64]]
PICTURES = 48
NEARLY_ZERO = 0.01
"""Values up to this share of the layer's root mean square count as zero, and all negative ones: what SiLU lets through
of them is small."""


@dataclass(frozen=True)
class ChannelStatistics:
    """Of one tensor over all pictures and positions; each of the shape of the tensor's class array.

    Attributes:
        magnitude: mean |a|.
        deviation: standard deviation.
        active: share of values that are not nearly zero.
    """

    magnitude: Array
    deviation: Array
    active: Array


def channel_statistics(subject: Subject, tensors: Iterable[str], criterion: str) -> dict[str, ChannelStatistics]:
    """Look at up to `PICTURES` pictures; what is kept in memory are the tensors of one of them.

    Args:
        subject: the graph and its pictures.
        tensors: names of variable tensors.
        criterion: who asks, for messages.
    """
    names = list(dict.fromkeys(tensors))
    pictures = subject.some_pictures(criterion, PICTURES)
    run = run_until(subject.graph, names, subject.ctx)
    sums: dict[str, Array] = {}
    count = 0
    for arrays in pictures:
        values = run(arrays)
        require_finite(values, names)
        count += 1
        for name in names:
            found = _moments(values[name].astype(np.float64), class_axes(subject, name)[1])
            sums[name] = sums[name] + found if name in sums else found
    return {name: _statistics(total / count) for name, total in sums.items()}


def _moments(values: Array, axes: tuple[int, ...]) -> Array:
    """Means of |a|, a, a squared and of whether a is active, over the axes; shape [4, *classes]."""
    threshold = NEARLY_ZERO * float(np.sqrt(np.square(values).mean()))
    parts = (np.abs(values), values, np.square(values), values > threshold)
    return np.stack([part.mean(axis=axes, keepdims=True) for part in parts])


def _statistics(means: Array) -> ChannelStatistics:
    magnitude, mean, square, active = means
    return ChannelStatistics(magnitude, np.sqrt(np.maximum(square - np.square(mean), 0.0)), active)
