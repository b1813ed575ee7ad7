"""Statistics of one layer on pictures: sums of products of its inputs and of its target outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass
class LayerMoments:
    """First and second moments of inputs x and target outputs z.

    Attributes:
        count: samples so far.
        inputs: sum of x, shape [n].
        outputs: sum of z, shape [m].
        gram: sum of x x', shape [n, n].
        cross: sum of x z', shape [n, m].
    """

    count: int
    inputs: Array
    outputs: Array
    gram: Array
    cross: Array

    @classmethod
    def empty(cls, inputs: int, outputs: int) -> LayerMoments:
        """Moments of no samples."""
        return cls(0, np.zeros(inputs), np.zeros(outputs), np.zeros((inputs, inputs)), np.zeros((inputs, outputs)))

    def add(self, x: Array, z: Array) -> None:
        """Add samples: x of shape [samples, n], z of shape [samples, m], both float32."""
        self.count += len(x)
        self.inputs += x.sum(axis=0, dtype=np.float64)
        self.outputs += z.sum(axis=0, dtype=np.float64)
        # Products of a few thousand samples in float32, their sums in float64.
        self.gram += x.T @ x
        self.cross += x.T @ z

    @property
    def mean(self) -> Array:
        """Mean input."""
        mean: Array = self.inputs / max(self.count, 1)
        return mean

    def covariance(self, ridge: float) -> Array:
        """Covariance of the inputs, made positive definite by a share of their mean variance on its diagonal."""
        power = self.gram / max(self.count, 1)
        found = power - np.outer(self.mean, self.mean)
        # What products in float32 leave of a variance that is zero.
        noise = 1e-4 * float(np.trace(power)) / len(found)
        level = max(ridge * float(np.trace(found)) / len(found), noise)
        damped: Array = found + np.eye(len(found)) * (level if level > 0 else 1.0)
        return damped

    def best_weight(self, weight: Array, covariance: Array) -> Array:
        """The weight with the least squared error, kept near the given one by the ridge in the covariance.

        With it the error of any other weight V is that of this one plus the trace of (V - W) C (V - W)'.

        Args:
            weight: shape [m, n].
            covariance: of this layer's inputs with its ridge.
        """
        seen = self.gram / self.count - np.outer(self.mean, self.mean)
        wanted = self.cross / self.count - np.outer(self.mean, self.outputs / self.count)
        missed = wanted - seen @ weight.T
        found: Array = weight + np.linalg.solve(covariance, missed).T
        return found

    def best_bias(self, weight: Array) -> Array:
        """The bias that makes the mean output right, shape [m]."""
        bias: Array = self.outputs / self.count - weight @ self.mean
        return bias
