"""The same regression if some weights must stay zero: each output has its own support.

With the mask as a projection P, the correction D of the weights solves P (C + ridge) P D = P residual for all outputs
at once by conjugate gradients (Hestenes and Stiefel 1952), which needs no factorization for each support.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yocc.fitting.moments import Moments
from yocc.fitting.regression import Fit

Array = np.ndarray[Any, Any]
RIDGES = (1e-3, 1e-2, 1e-1)
"""As in `regression`, but fewer, because each needs its own solve."""
_STEPS = 60
_CLOSE = 1e-5


def refit_masked(seen: Moments, held_out: Moments, weight: Array, bias: Array, *, least: float = 0.0) -> Fit:
    """As `regression.refit`, but weights that are zero stay zero."""
    judges = held_out if held_out.count else seen
    every = seen + held_out if held_out.count else seen
    chosen = np.inf
    lowest = judges.error(*_solved(seen, weight, chosen))
    for ridge in (each for each in RIDGES if each >= least):
        error = judges.error(*_solved(seen, weight, ridge))
        if error < lowest:
            chosen, lowest = ridge, error
    return Fit(*_solved(every, weight, chosen), chosen, lowest, judges.error(weight, bias))


def _solved(moments: Moments, weight: Array, ridge: float) -> tuple[Array, Array]:
    fitted = weight
    if np.isfinite(ridge):
        covariance = moments.inputs.covariance
        residual = moments.cross_covariance - covariance @ weight
        strength = ridge * (float(np.trace(covariance)) / len(covariance) or 1.0)
        fitted = weight + _conjugate_gradients(covariance, strength, residual, weight != 0)
    return fitted, moments.target_mean - moments.inputs.mean @ fitted


def _conjugate_gradients(covariance: Array, strength: float, residual: Array, mask: Array) -> Array:
    """D with P (C + strength) P D = P residual, column by column; zero outside the mask."""
    left = residual * mask
    found, direction = np.zeros_like(left), left.copy()
    size = np.square(left).sum(axis=0)
    enough = np.maximum(size * _CLOSE**2, 1e-300)
    for _ in range(_STEPS):
        if (size <= enough).all():
            break
        image = (covariance @ direction + strength * direction) * mask
        curvature = np.maximum((direction * image).sum(axis=0), 1e-300)
        step = np.where(size > enough, size / curvature, 0.0)
        found += step * direction
        left -= step * image
        following = np.square(left).sum(axis=0)
        direction = left + np.where(size > enough, following / np.maximum(size, 1e-300), 0.0) * direction
        size = following
    return found
