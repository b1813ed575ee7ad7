"""Statistics of one layer on pictures: sums of products of its inputs and of its target outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_MOST_SPREAD = 1.25
"""Larger factors mean that errors are most of what is seen, and would be scaled up with the rest."""


@dataclass
class LayerMoments:
    """First and second moments of inputs x and target outputs z.

    Attributes:
        count: samples so far.
        inputs: sum of x, shape [n].
        outputs: sum of z, shape [m].
        squares: sum of z * z, shape [m].
        gram: sum of x x', shape [n, n].
        cross: sum of x z', shape [n, m].
    """

    count: int
    inputs: Array
    outputs: Array
    squares: Array
    gram: Array
    cross: Array

    @classmethod
    def empty(cls, inputs: int, outputs: int) -> LayerMoments:
        """Moments of no samples."""
        return cls(
            0,
            np.zeros(inputs),
            np.zeros(outputs),
            np.zeros(outputs),
            np.zeros((inputs, inputs)),
            np.zeros((inputs, outputs)),
        )

    def add(self, x: Array, z: Array) -> None:
        """Add samples: x of shape [samples, n], z of shape [samples, m], both float32."""
        self.count += len(x)
        self.inputs += x.sum(axis=0, dtype=np.float64)
        self.outputs += z.sum(axis=0, dtype=np.float64)
        self.squares += np.square(z, dtype=np.float64).sum(axis=0)
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

    def same_spread(self, weight: Array) -> Array:
        """The weight with each row scaled so that its outputs vary as much as the target's.

        Least squares on inputs with errors gives outputs that vary less: they lie closer to their mean, and an object's
        score falls below a threshold that the target passes. Scaling back costs next to nothing of the squared error.

        Args:
            weight: shape [m, n].
        """
        seen = self.gram / self.count - np.outer(self.mean, self.mean)
        own = np.einsum("oi,ij,oj->o", weight, seen, weight)
        wanted = self.squares / self.count - np.square(self.outputs / self.count)
        usable = (own > 0) & (wanted > 0)
        factors = np.sqrt(np.divide(wanted, own, out=np.ones_like(own), where=usable))
        found: Array = weight * np.clip(factors, 1.0, _MOST_SPREAD)[:, None]
        return found
