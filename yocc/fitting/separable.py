"""A kernel as two that are thinner: one along one axis of the picture, one along the other.

A k x k kernel W becomes V of k x 1 to r components and H of 1 x k (Jaderberg, Vedaldi and Zisserman, "Speeding up
Convolutional Neural Networks with Low Rank Expansions", BMVC 2014, section 2). V is found as if the columns that H sees
beside each other varied alike and apart: by the eigenvectors of the sum of their covariances, each multiplied by the
kernel's column and the metric. For each V the best H is a regression of the layer's outputs on its components over the
covariance of whole windows, so that what is lost is exact for the V that was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.fitting.rotation import rotation

Array = np.ndarray[Any, Any]
_RIDGE = 1e-6
"""What is added to variances, as a share of their mean."""


@dataclass(frozen=True)
class Separable:
    """Components of a kernel along its first axis, those first that matter most.

    Attributes:
        kept: share of what the outputs vary by, in the metric, that r components give, r from 0 on, shape [most + 1].
        components: V, shape [most, c * k1]; each of them varies by 1.
        moments: second moments of the components, shape [most, most].
        products: covariance of what H sees, component by component, shape [most * k2, most * k2].
        cross: of that and the outputs, shape [most * k2, n].
        taps: k2.
        metric: of outputs, shape [n, n].
    """

    kept: Array
    components: Array
    moments: Array
    products: Array
    cross: Array
    taps: int
    metric: Array

    @classmethod
    def of(cls, weight: Array, covariance: Array, root: Array, most: int, *, mean: Array | None = None) -> Separable:
        """Find the components.

        Args:
            weight: shape [n, c, k1, k2].
            covariance: of what the kernel sees, shape [c * k1 * k2, c * k1 * k2], in that order.
            root: of the metric of outputs, shape [n, n].
            most: how many to find; fewer come out if there are fewer.
            mean: of what the kernel sees, shape [c * k1 * k2], in that order; None for 0.
        """
        n, c, k1, k2 = weight.shape
        size, line = c * k1 * k2, c * k1
        covariance = covariance + np.eye(size) * (_RIDGE * float(np.trace(covariance)) / size or 1.0)
        blocks = covariance.reshape(line, k2, line, k2)
        spread, inverse = _roots(sum(blocks[:, tap, :, tap] for tap in range(k2)) / k2)
        columns = [root @ weight.reshape(n, line, k2)[:, :, tap] @ spread for tap in range(k2)]
        _, vectors = np.linalg.eigh(sum(column.T @ column for column in columns))
        most = min(most, line)
        components = vectors[:, ::-1][:, :most].T @ inverse
        means = components @ (np.zeros((line, k2)) if mean is None else mean.reshape(line, k2))
        moments = components @ spread @ spread @ components.T + means @ means.T / k2
        seen = np.stack([components @ blocks[:, tap].reshape(line, size) for tap in range(k2)], axis=1)
        rows = seen.reshape(most * k2, line, k2)
        products = np.stack([rows[:, :, tap] @ components.T for tap in range(k2)], axis=2).reshape(most * k2, -1)
        products = products + np.eye(len(products)) * (1e-9 * float(np.trace(products)) / len(products))
        matrix = weight.reshape(n, size)
        cross = seen.reshape(most * k2, size) @ matrix.T
        # Each leading block of the Cholesky factor is that of the leading block, so that one solve serves all ranks.
        given = np.linalg.solve(np.linalg.cholesky((products + products.T) / 2), cross @ root)
        each = np.square(given).reshape(most, -1).sum(axis=1)
        whole = float(np.sum((root @ matrix) @ covariance * (root @ matrix)))
        kept = np.append(0.0, np.cumsum(each)) / max(whole, 1e-300)
        return cls(np.minimum(kept, 1.0), components, moments, products, cross, k2, root @ root)

    def factors(self, rank: int) -> tuple[Array, Array]:
        """V of shape [rank, c * k1] and H of shape [n, rank, k2], in a basis where one scale suits the components."""
        size = rank * self.taps
        second = np.linalg.solve(self.products[:size, :size], self.cross[:size]).T.reshape(-1, rank, self.taps)
        effect = np.einsum("nrb,nm,msb->rs", second, self.metric, second, optimize=True)
        forward, backward = rotation(self.moments[:rank, :rank], effect)
        return forward @ self.components[:rank], np.einsum("nrb,rs->nsb", second, backward)


def _roots(matrix: Array) -> tuple[Array, Array]:
    """The root of a covariance, and its inverse, as far as it has one."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    roots = np.sqrt(np.maximum(values, _RIDGE * max(float(values[-1]), 1e-300)))
    return (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T
