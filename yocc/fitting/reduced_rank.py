"""Ridge regression of a layer that is a product of two, from streamed sums.

The best full weight is found first and is then brought to the form of the two. With a projection onto the outputs that
matter most that is reduced-rank regression (Izenman, "Reduced-rank regression for the multivariate linear model",
1975). The ridge is chosen for what is left after that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.fitting.low_rank import Spectrum, factors
from yocc.fitting.moments import InputMoments, Moments
from yocc.fitting.regression import RIDGES, Fit, RidgePath
from yocc.fitting.separable import Separable

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Parts:
    """Two layers in place of one.

    Attributes:
        weight: of the one that computes the same, shape [n, m].
        first: weights of the first, shape [rank, inputs it sees].
        second: of the second, shape [m, components it sees].
    """

    weight: Array
    first: Array
    second: Array


Bring = Callable[[Array, InputMoments], Parts]
"""Brings a full weight, shape [n, m], to two layers, given the moments of the inputs."""


def refit_low_rank(
    seen: Moments,
    held_out: Moments,
    bring: Bring,
    *,
    present: tuple[Array, Array],
    origin: Array,
    least: float = 0.0,
) -> tuple[Fit, Parts]:
    """Two layers and a bias with the least squared error, with the ridge that is best on held-out samples.

    Args:
        seen: moments to fit.
        held_out: moments of other pictures; they choose the ridge and are then fitted as well.
        bring: what makes two layers of one weight.
        present: the weight of shape [n, m] and the bias there are, which the result is compared with.
        origin: the full weight to stay near, shape [n, m].
        least: the smallest ridge to consider.

    Returns:
        The fit, whose weight is that of both layers together, and the layers.
    """
    judges = held_out if held_out.count else seen
    path = RidgePath.of(seen, origin)
    chosen, lowest = math.inf, math.inf
    for ridge in (math.inf, *(each for each in RIDGES if each >= least)):
        weight = bring(path.solved(ridge)[0], seen.inputs).weight
        error = judges.error(weight, seen.target_mean - seen.inputs.mean @ weight)
        if error < lowest:
            chosen, lowest = ridge, error
    every = seen + held_out if held_out.count else seen
    full = (RidgePath.of(every, origin) if held_out.count else path).solved(chosen)[0]
    parts = bring(full, every.inputs)
    bias = every.target_mean - every.inputs.mean @ parts.weight
    return Fit(parts.weight, bias, chosen, lowest, judges.error(*present)), parts


def projected(metric: Array, rank: int) -> Bring:
    """Of a rank, where an error in the outputs costs by a metric of shape [m, m]."""

    def bring(weight: Array, inputs: InputMoments) -> Parts:
        covariance = weight.T @ inputs.covariance @ weight
        projector = Spectrum.of(covariance, metric).projector(rank)
        made = factors(weight.T, covariance, projector, rank, metric=metric, mean=inputs.mean @ weight)
        return Parts(weight @ projector.T, made.first, made.second)

    return bring


def separated(metric: Array, kernel: tuple[int, int, int], order: Array, rank: int) -> Bring:
    """Kernels along one axis each.

    Args:
        metric: what an error in the outputs costs, shape [m, m].
        kernel: channels, and size along the axis of the first and of the second.
        order: where the inputs are, if that is how they are ordered, shape [n].
        rank: channels between the two.
    """
    root = Spectrum.of(np.zeros_like(metric), metric).root

    def bring(weight: Array, inputs: InputMoments) -> Parts:
        ordered = weight[order].T.reshape(-1, *kernel)
        covariance = inputs.covariance[np.ix_(order, order)]
        found = Separable.of(ordered, covariance, root, rank, mean=inputs.mean[order])
        first, second = found.factors(rank)
        made = np.einsum("nrb,rca->ncab", second, first.reshape(rank, *kernel[:2]))
        whole = np.empty_like(weight)
        whole[order] = made.reshape(len(made), -1).T
        return Parts(whole, first, second.reshape(len(second), -1))

    return bring
