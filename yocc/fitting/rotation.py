"""Another basis for the values between two linear maps, in which one scale suits all of them.

Between y = B z and z = A x any invertible M may stand: (B M^-1)(M A). Rounding z with one step for all components costs
step^2 tr(M^-T G M^-1), where G = B'B is what each component does to y, and the step is as wide as the largest component
of M z. With M C M' = M^-T G M^-1 = diagonal, C the second moments of z, both matter alike: the balanced realization
(Moore, "Principal Component Analysis in Linear Systems", IEEE TAC 1981). An orthogonal matrix on top, whose entries are
all alike in size, gives each component the same variance and makes outliers of single ones small in all, as in QuaRot
(Ashkboos et al., NeurIPS 2024). What rounding costs falls from r max(c) tr(G), at one component's variance c, to the
square of the sum of the singular values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_RIDGE = 1e-6
"""Added to the second moments, of their mean, so that components that are always 0 stay small."""
_LEAST = 1e-9
"""Singular values below this, of the largest, count as this."""


def rotation(moments: Array, effect: Array) -> tuple[Array, Array]:
    """The change of basis, and its inverse.

    Args:
        moments: of the values, around zero, shape [r, r].
        effect: what each pair of components does to the outputs, shape [r, r].

    Returns:
        M and its inverse, each of shape [r, r]. The identity where all values or all effects are zero.
    """
    size = len(moments)
    spread, weight = float(np.trace(moments)), float(np.trace(effect))
    if not (np.isfinite(spread) and np.isfinite(weight)) or spread <= 0 or weight <= 0:
        return np.eye(size), np.eye(size)
    root = np.linalg.cholesky(moments + _RIDGE * spread / size * np.eye(size))
    values, vectors = np.linalg.eigh(root.T @ effect @ root)
    quarter = np.maximum(values, _LEAST * values.max()) ** 0.25
    turn = spreading(size)
    forward = turn @ (quarter[:, None] * np.linalg.solve(root.T, vectors).T)
    backward = (root @ vectors) / quarter @ turn.T
    return forward, backward


def spreading(size: int) -> Array:
    """An orthogonal matrix whose entries are about alike in size, shape [size, size].

    Sylvester's Hadamard matrix of the largest power of two that divides the size, in each block of a cosine transform.
    """
    power = size & -size
    hadamard = np.ones((1, 1))
    while len(hadamard) < power:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]]) / np.sqrt(2)
    odd = size // power
    places = np.arange(odd)
    cosine = np.sqrt(2 / odd) * np.cos(np.pi * (places + 0.5) * places[:, None] / odd)
    cosine[0] /= np.sqrt(2)
    matrix: Array = np.kron(cosine, hadamard)
    return matrix
