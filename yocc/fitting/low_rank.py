"""A matrix as the product of two thinner ones, with the least weighted error of what it computes.

The outputs z = W x of a layer vary with covariance C, and an error e in them costs e' G e. With S the root of G, the
best outputs of rank r are P (z - mean) + mean with P = S^-1 U U' S, where U are the first r eigenvectors of S C S; what
is lost is the sum of the other eigenvalues. This is principal component analysis of the outputs (Zhang et al.,
"Accelerating Very Deep Convolutional Networks for Classification and Detection", TPAMI 2016, section 3.1) in the metric
of the loss; with G the identity and C = W W' it is the truncated singular value decomposition (Eckart and Young 1936).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.fitting.rotation import rotation

Array = np.ndarray[Any, Any]
_FLOOR = 1e-3
"""What is added to the root of a metric, as a share of its mean eigenvalue: it must be invertible."""


@dataclass(frozen=True)
class Spectrum:
    """Directions of a layer's outputs, those first that matter most.

    Attributes:
        values: what is lost without each direction, in the unit of the metric, descending, shape [n].
        vectors: the directions in the metric's root, one a column, shape [n, n].
        root: S, shape [n, n].
        inverse: its inverse.
    """

    values: Array
    vectors: Array
    root: Array
    inverse: Array

    @classmethod
    def of(cls, covariance: Array, metric: Array) -> Spectrum:
        """The directions of outputs that vary with a covariance, where errors cost by a metric, both [n, n]."""
        root, inverse, scale = _roots(metric)
        values, vectors = np.linalg.eigh(_symmetric(root @ covariance @ root))
        return cls(np.maximum(values[::-1], 0.0) * scale, vectors[:, ::-1], root, inverse)

    def losses(self) -> Array:
        """What is lost with the first r directions, r from 0 to n, shape [n + 1]."""
        return np.append(np.cumsum(self.values[::-1])[::-1], 0.0)

    def projector(self, rank: int) -> Array:
        """P of that rank, shape [n, n]."""
        first = self.vectors[:, :rank]
        found: Array = self.inverse @ first @ (first.T @ self.root)
        return found


@dataclass(frozen=True)
class Factors:
    """Two matrices whose product is a layer's.

    Attributes:
        first: what multiplies the input, shape [rank, inputs].
        second: what multiplies the result, shape [outputs, rank].
    """

    first: Array
    second: Array


def factors(
    weight: Array, covariance: Array, projector: Array, rank: int, *, metric: Array, mean: Array | None = None
) -> Factors:
    """Split a projected weight, so that one scale suits the components between the two when they are quantized.

    Any invertible matrix could stand between two factors: that of `rotation` does, with the directions of the projected
    outputs before it.

    Args:
        weight: shape [outputs, inputs].
        covariance: of its outputs, shape [outputs, outputs].
        projector: as `Spectrum.projector`, of rank `rank`.
        rank: of the result.
        metric: what an error in the outputs costs, shape [outputs, outputs].
        mean: of its outputs without a bias, shape [outputs]; None for 0.
    """
    values, vectors = np.linalg.eigh(_symmetric(projector @ covariance @ projector.T))
    basis = vectors[:, ::-1][:, :rank]
    # Where fewer directions vary than the rank allows, the others of the projector's range must not be lost.
    if values[::-1][rank - 1] <= 1e-12 * max(values[-1], 1e-300):
        basis = np.linalg.svd(projector)[0][:, :rank]
    first = basis.T @ projector
    moments = covariance if mean is None else covariance + np.outer(mean, mean)
    forward, backward = rotation(first @ moments @ first.T, basis.T @ metric @ basis)
    return Factors(forward @ first @ weight, basis @ backward)


def _roots(metric: Array) -> tuple[Array, Array, float]:
    """The root of a metric with a mean eigenvalue near 1, its inverse, and what a square in it costs."""
    values, vectors = np.linalg.eigh(_symmetric(metric))
    roots = np.sqrt(np.maximum(values, 0.0))
    mean = float(roots.mean())
    if not mean > 0:
        return np.eye(len(metric)), np.eye(len(metric)), 0.0
    roots = (roots / mean + _FLOOR) / (1 + _FLOOR)
    return (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T, mean * mean


def _symmetric(matrix: Array) -> Array:
    found: Array = (matrix + matrix.T) / 2
    return found
