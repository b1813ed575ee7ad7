"""How the time of a layer follows from its widths."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from yocc.compiler.pipeline.latency import WidthTime

Vector = np.ndarray[Any, np.dtype[np.float64]]


def fit_terms(points: Iterable[WidthTime]) -> Vector:
    """The terms of least squared relative error that are not negative, shape [4].

    These are a, b, c and d of `a + b * outputs + c * inputs + d * outputs * inputs`, in milliseconds. With four terms,
    all sixteen choices of those that are zero can be tried.
    """
    rows = [(1.0, point.outputs, point.inputs, point.outputs * point.inputs, point.ms) for point in points]
    if not rows:
        return np.zeros(4)
    table = np.array(rows, dtype=np.float64)
    weight = 1 / np.maximum(table[:, 4], 1e-6)
    scale = np.maximum(np.abs(table[:, :4]).max(axis=0), 1.0)
    design, wanted = table[:, :4] / scale * weight[:, None], table[:, 4] * weight
    best, least = np.zeros(4), np.inf
    for size in range(1, 5):
        for chosen in itertools.combinations(range(4), size):
            found = np.linalg.lstsq(design[:, chosen], wanted, rcond=1e-9)[0]
            error = float(np.square(design[:, chosen] @ found - wanted).sum())
            # One term more has to explain something.
            if (found >= 0).all() and error < least - 1e-9:
                best, least = np.zeros(4), error
                best[list(chosen)] = found / scale[list(chosen)]
    return best
