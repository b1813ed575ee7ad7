"""Ridge regression of one layer from streamed sums, towards its present weights.

Refitting the weights that pruning keeps by least squares on feature maps is channel pruning's second step (He et al.,
"Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, equation 3). The ridge pulls towards the
sliced weights instead of towards zero, so directions that the pictures do not cover keep their trained weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.fitting.moments import Moments

Array = np.ndarray[Any, Any]
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Candidates for the ridge, as a share of the mean variance of the inputs."""


@dataclass(frozen=True)
class Fit:
    """A refitted layer.

    Attributes:
        weight: shape [n, m].
        bias: shape [m].
        ridge: the chosen ridge; infinity if the weight is best unchanged.
        error: mean squared error on held-out samples.
        error_before: the same with the layer's old weights.
    """

    weight: Array
    bias: Array
    ridge: float
    error: float
    error_before: float


def refit(seen: Moments, held_out: Moments, weight: Array, bias: Array, *, least: float = 0.0) -> Fit:
    """Weights and bias with the least squared error, with the ridge that is best on held-out samples.

    Args:
        seen: moments to fit.
        held_out: moments of other pictures; they choose the ridge and are then fitted as well.
        weight: the weights to stay near, shape [n, m].
        bias: the layer's old bias, shape [m].
        least: the smallest ridge to consider.
    """
    judges = held_out if held_out.count else seen
    before = judges.error(weight, bias)
    spectrum = RidgePath.of(seen, weight)
    chosen, lowest = math.inf, judges.error(*spectrum.solved(math.inf))
    for ridge in (each for each in RIDGES if each >= least):
        error = judges.error(*spectrum.solved(ridge))
        if error < lowest:
            chosen, lowest = ridge, error
    every = RidgePath.of(seen + held_out, weight) if held_out.count else spectrum
    return Fit(*every.solved(chosen), chosen, lowest, before)


@dataclass(frozen=True)
class RidgePath:
    """A least squares problem in the principal axes of its inputs, so that it is fast to solve for any ridge.

    Attributes:
        weight: what the ridge pulls towards, shape [n, m].
        values: variance along each axis, shape [n].
        vectors: the axes, shape [n, n].
        projected: residual of the weights along each axis, shape [n, m].
        mean: of the inputs, shape [n].
        target_mean: shape [m].
    """

    weight: Array
    values: Array
    vectors: Array
    projected: Array
    mean: Array
    target_mean: Array

    @classmethod
    def of(cls, moments: Moments, weight: Array) -> RidgePath:
        """The problem of moments, with the weights to stay near, shape [n, m]."""
        covariance = moments.inputs.covariance
        # Residual of the present weights; the correction D solves (C + ridge) D = residual.
        residual = moments.cross_covariance - covariance @ weight
        values, vectors = np.linalg.eigh(covariance)
        return cls(
            weight, np.maximum(values, 0.0), vectors, vectors.T @ residual, moments.inputs.mean, moments.target_mean
        )

    def solved(self, ridge: float) -> tuple[Array, Array]:
        """Weight and bias for a ridge as a share of the mean variance; infinity changes only the bias."""
        fitted = self.weight
        if math.isfinite(ridge):
            scale = float(self.values.mean()) or 1.0
            fitted = self.weight + self.vectors @ (self.projected / (self.values + ridge * scale)[:, None])
        return fitted, self.target_mean - self.mean @ fitted
