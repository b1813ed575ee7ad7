"""Ridge regression of one layer from streamed sums, towards the weights it already has.

Refitting what pruning leaves by least squares on feature maps is channel pruning's second step (He et al., "Channel
Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, equation 3). The ridge pulls towards the sliced weights
instead of towards zero, so that directions the pictures say nothing about keep what training found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Candidates for the ridge, as a share of the mean variance of the inputs."""


@dataclass
class Moments:
    """First and second moments of inputs x and targets z, in float64.

    Attributes:
        count: samples so far.
        inputs: sum of x, shape [n].
        targets: sum of z, shape [m].
        gram: sum of x x', shape [n, n].
        cross: sum of x z', shape [n, m].
        energy: sum of |z|^2.
    """

    count: float
    inputs: Array
    targets: Array
    gram: Array
    cross: Array
    energy: float

    @classmethod
    def empty(cls, inputs: int, targets: int) -> Moments:
        """Moments of no samples."""
        return cls(
            0.0, np.zeros(inputs), np.zeros(targets), np.zeros((inputs, inputs)), np.zeros((inputs, targets)), 0.0
        )

    def add(self, x: Array, z: Array) -> None:
        """Take in samples: x of shape [samples, n], z of shape [samples, m]."""
        x, z = x.astype(np.float64), z.astype(np.float64)
        self.count += len(x)
        self.inputs += x.sum(axis=0)
        self.targets += z.sum(axis=0)
        self.gram += x.T @ x
        self.cross += x.T @ z
        self.energy += float(np.square(z).sum())

    def error(self, weight: Array, bias: Array) -> float:
        """Mean squared error of z ~ x weight + bias over the samples, weight of shape [n, m]."""
        fitted = float(np.sum(weight * (self.gram @ weight))) + 2 * float(bias @ (self.inputs @ weight))
        fitted += self.count * float(bias @ bias)
        wanted = float(np.sum(weight * self.cross)) + float(bias @ self.targets)
        return (fitted - 2 * wanted + self.energy) / max(self.count, 1.0)


@dataclass(frozen=True)
class Fit:
    """A refitted layer.

    Attributes:
        weight: shape [n, m].
        bias: shape [m].
        ridge: the ridge chosen; infinity when the weight is best left alone.
        error: mean squared error on held-out samples.
        error_before: the same with the weights the layer had.
    """

    weight: Array
    bias: Array
    ridge: float
    error: float
    error_before: float


def refit(seen: Moments, held_out: Moments, weight: Array, bias: Array) -> Fit:
    """Weights and bias of least squared error on `seen`, with the ridge that does best on `held_out`.

    Args:
        seen: moments to fit.
        held_out: moments of other pictures.
        weight: the weights to stay near, shape [n, m].
        bias: the bias the layer had, shape [m].
    """
    mean = seen.inputs / seen.count
    covariance = seen.gram / seen.count - np.outer(mean, mean)
    target_mean = seen.targets / seen.count
    # What the present weights miss; the correction D solves (C + ridge) D = residual.
    residual = seen.cross / seen.count - np.outer(mean, target_mean) - covariance @ weight
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0.0)
    scale = float(values.mean()) or 1.0
    projected = vectors.T @ residual
    before = held_out.error(weight, bias)
    best = Fit(weight, target_mean - mean @ weight, float("inf"), float("inf"), before)
    best = Fit(best.weight, best.bias, best.ridge, held_out.error(best.weight, best.bias), before)
    for ridge in RIDGES:
        fitted = weight + vectors @ (projected / (values + ridge * scale)[:, None])
        shifted = target_mean - mean @ fitted
        error = held_out.error(fitted, shifted)
        if error < best.error:
            best = Fit(fitted, shifted, ridge, error, before)
    return best
