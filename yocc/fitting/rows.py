"""Least squares for a weight whose rows are outputs, with one fixed ridge: what is then rounded.

Weights have the shape [m, n], as layers store them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yocc.fitting.moments import InputMoments, Moments

Array = np.ndarray[Any, Any]
_MOST_SPREAD = 1.25
"""Larger factors mean that errors are most of what is seen, and would be scaled up with the rest."""


def damped_covariance(inputs: InputMoments, ridge: float) -> Array:
    """Covariance of the inputs, made positive definite by a share of their mean variance on its diagonal."""
    found = inputs.covariance
    # What products in float32 leave of a variance that is zero.
    noise = 1e-4 * float(np.trace(inputs.power)) / len(found)
    level = max(ridge * float(np.trace(found)) / len(found), noise)
    damped: Array = found + np.eye(len(found)) * (level if level > 0 else 1.0)
    return damped


def best_weight(moments: Moments, weight: Array, covariance: Array) -> Array:
    """The weight with the least squared error, kept near the given one by the ridge in the covariance.

    With it the error of any other weight V is that of this one plus the trace of (V - W) C (V - W)'.

    Args:
        moments: of the layer's inputs and target outputs.
        weight: shape [m, n].
        covariance: of the layer's inputs with its ridge.
    """
    missed = moments.cross_covariance - moments.inputs.covariance @ weight.T
    found: Array = weight + np.linalg.solve(covariance, missed).T
    return found


def best_bias(moments: Moments, weight: Array) -> Array:
    """The bias that makes the mean output right, shape [m]."""
    bias: Array = moments.target_mean - weight @ moments.inputs.mean
    return bias


def same_spread(moments: Moments, weight: Array) -> Array:
    """The weight with each row scaled so that its outputs vary as much as the target's.

    Least squares on inputs with errors gives outputs that vary less: they lie closer to their mean, and an object's
    score falls below a threshold that the target passes. Scaling back costs next to nothing of the squared error.

    Args:
        moments: of the layer's inputs and target outputs.
        weight: shape [m, n].
    """
    own = np.einsum("oi,ij,oj->o", weight, moments.inputs.covariance, weight)
    wanted = moments.target_variance
    usable = (own > 0) & (wanted > 0)
    factors = np.sqrt(np.divide(wanted, own, out=np.ones_like(own), where=usable))
    found: Array = weight * np.clip(factors, 1.0, _MOST_SPREAD)[:, None]
    return found
