"""Ridge regression of a layer of low rank from streamed sums.

The fitted outputs are projected onto the directions that matter most (Izenman, "Reduced-rank regression for the
multivariate linear model", 1975), which is the best weight of that rank. The ridge is chosen for what is left after
that.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from yocc.fitting.low_rank import Factors, Spectrum, factors
from yocc.fitting.moments import Moments
from yocc.fitting.regression import RIDGES, Fit, RidgePath

Array = np.ndarray[Any, Any]


def refit_low_rank(
    seen: Moments,
    held_out: Moments,
    *,
    present: tuple[Array, Array],
    origin: Array,
    metric: Array,
    rank: int,
    least: float = 0.0,
) -> tuple[Fit, Factors]:
    """Weights of a rank and bias with the least squared error, with the ridge that is best on held-out samples.

    Args:
        seen: moments to fit.
        held_out: moments of other pictures; they choose the ridge and are then fitted as well.
        present: the weight of shape [n, m] and the bias there are, which the result is compared with.
        origin: the full weight to stay near before it is brought to the rank, shape [n, m].
        metric: what an error in the outputs costs, shape [m, m].
        rank: of the result.
        least: the smallest ridge to consider.

    Returns:
        The fit, whose weight is the product of the factors, and these.
    """
    judges = held_out if held_out.count else seen
    path = RidgePath.of(seen, origin)
    chosen, lowest = math.inf, math.inf
    for ridge in (math.inf, *(each for each in RIDGES if each >= least)):
        weight, _ = _projected(path.solved(ridge)[0], seen, metric, rank)
        error = judges.error(weight, seen.target_mean - seen.inputs.mean @ weight)
        if error < lowest:
            chosen, lowest = ridge, error
    every = seen + held_out if held_out.count else seen
    full = (RidgePath.of(every, origin) if held_out.count else path).solved(chosen)[0]
    weight, parts = _projected(full, every, metric, rank)
    bias = every.target_mean - every.inputs.mean @ weight
    return Fit(weight, bias, chosen, lowest, judges.error(*present)), parts


def _projected(weight: Array, moments: Moments, metric: Array, rank: int) -> tuple[Array, Factors]:
    """The weight of a rank that is nearest in what it gives, and its factors."""
    covariance = weight.T @ moments.inputs.covariance @ weight
    projector = Spectrum.of(covariance, metric).projector(rank)
    return weight @ projector.T, factors(weight.T, covariance, projector, rank)
