"""Another basis for the values between two linear maps, in which one scale suits all of them.

Between z = A x and y = B z any invertible M may stand: z becomes M z, and B becomes B M^-1. Rounding M z with one step
for all r components costs in proportion to step^2 tr(M^-T G M^-1), where G = B'B says what each component does to y,
and the step grows with the largest component of M z. M is made of two parts:

* With M C M' = M^-T G M^-1 = S, a diagonal matrix, where C holds the second moments of z, a component varies as much as
  it matters: the balanced realization (Moore, "Principal Component Analysis in Linear Systems", IEEE TAC 1981).
* An orthogonal matrix on top whose entries are all alike in size gives each component the second moment tr(S) / r, and
  spreads outliers of single components over all of them, as in QuaRot (Ashkboos et al., NeurIPS 2024).

The cost is then that of tr(S)^2 / r. With components that vary alike it is that of tr(C G), which is never less.
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
