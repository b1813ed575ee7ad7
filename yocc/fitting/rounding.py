"""Rounding a weight matrix to levels so that the layer's outputs change least.

With C the covariance of the layer's inputs, the squared error of its outputs is the trace of D C D', where D is the
change by rounding and the bias absorbs the mean. So one matrix per layer holds all that pictures say about rounding,
for any codebook.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from yocc.fitting.codec import Codec

Array = np.ndarray[Any, Any]
_SHARES = np.linspace(1.25, 0.3, 39)
"""Candidate scales, as shares of the one that puts the largest weight on the largest level."""
_BLOCK = 96
"""Columns that are rounded before their error is propagated to all others at once."""
_SWEEPS = 4
SMALLEST_SCALE = 2.0**-24


def choose_scales(weight: Array, codec: Codec, importance: Array, floor: Array | None = None) -> Array:
    """The scale of each row with the least weighted squared error after rounding to the nearest level.

    Args:
        weight: shape [outputs, inputs].
        codec: the levels.
        importance: weight of each input's error, shape [inputs].
        floor: least scale of each row, shape [outputs], or None.

    Returns:
        float64, shape [outputs].
    """
    full = np.maximum(np.abs(weight).max(axis=1, initial=0.0) / codec.reach, SMALLEST_SCALE)
    best: Array = full
    least = np.full(len(weight), np.inf)
    for share in _SHARES:
        scale: Array = full * share if floor is None else np.maximum(full * share, floor)
        scale = np.maximum(scale, SMALLEST_SCALE)[:, None]
        error = np.square(codec.nearest(weight / scale) * scale - weight) @ importance
        better = error < least
        best, least = np.where(better, scale[:, 0], best), np.where(better, error, least)
    return best


def round_nearest(weight: Array, scales: Array, codec: Codec) -> Array:
    """The nearest level for each weight independently."""
    return codec.nearest(weight / scales[:, None])


def round_jointly(weight: Array, scales: Array, codec: Codec, covariance: Array) -> Array:
    """Levels with a small output error: each rounding compensates for the ones before it.

    Columns are rounded in order of decreasing variance, and the error is spread onto those not yet rounded
    (Frantar & Alistarh, "Optimal Brain Compression", NeurIPS 2022, equation 3, in the blocked Cholesky form of Frantar
    et al., "GPTQ", ICLR 2023, section 3.3). Sweeps of coordinate descent over all columns follow, each of which can
    only lower the error (Behdin et al., "QuantEase", 2023, equation 7).

    Args:
        weight: shape [outputs, inputs].
        scales: shape [outputs].
        codec: the levels.
        covariance: of the inputs, positive definite, shape [inputs, inputs].

    Returns:
        Levels, shape [outputs, inputs].
    """
    order = np.argsort(-np.diag(covariance), kind="stable")
    target = (weight / scales[:, None])[:, order].astype(np.float32)
    ordered = covariance[np.ix_(order, order)]
    levels = _carry(target, codec, ordered)
    levels = _descend(target, levels, codec, ordered.astype(np.float32))
    found = np.empty_like(levels)
    found[:, order] = levels
    exact: Array = codec.decode(codec.encode(found))
    return exact


def refit_scales(weight: Array, levels: Array, scales: Array, covariance: Array) -> Array:
    """The scale of each row that fits its levels best; the old one if all levels are 0 or the fit is implausible."""
    weighted = levels @ covariance
    own, with_target = np.sum(weighted * levels, axis=1), np.sum(weighted * weight, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        fitted = with_target / own
    usable: Array = np.where(np.isfinite(fitted) & (fitted > 0.5 * scales) & (fitted < 2.0 * scales), fitted, scales)
    return usable


def output_error(change: Array, covariance: Array) -> float:
    """Mean squared change of the outputs, summed over them, for a weight change of shape [outputs, inputs]."""
    return float(np.sum((change @ covariance) * change))


def inverse_root(matrix: Array) -> Array:
    """The upper triangular R with R'R the inverse of a positive definite matrix, without inverting the matrix itself.

    That takes a third of the time. With U upper triangular and UU' the matrix, R is the inverse of U, and U the
    Cholesky factor of the matrix with its rows and columns in reverse.
    """
    return _inverse_of_upper(np.linalg.cholesky(matrix[::-1, ::-1])[::-1, ::-1])


def _inverse_of_upper(matrix: Array) -> Array:
    size = len(matrix)
    if size <= _BLOCK:
        small: Array = np.linalg.inv(matrix)
        return small
    half = size // 2
    found = np.zeros_like(matrix)
    found[:half, :half] = _inverse_of_upper(matrix[:half, :half])
    found[half:, half:] = _inverse_of_upper(matrix[half:, half:])
    found[:half, half:] = -found[:half, :half] @ (matrix[:half, half:] @ found[half:, half:])
    return found


def _carry(target: Array, codec: Codec, covariance: Array) -> Array:
    """GPTQ on columns in their present order."""
    upper = inverse_root(covariance).astype(np.float32)
    left = target.copy()
    levels = np.empty_like(target)
    size = target.shape[1]
    for start in range(0, size, _BLOCK):
        end = min(start + _BLOCK, size)
        owed = np.empty((len(target), end - start), np.float32)
        for column in range(start, end):
            levels[:, column] = codec.nearest(left[:, column])
            error = (left[:, column] - levels[:, column]) / upper[column, column]
            owed[:, column - start] = error
            left[:, column + 1 : end] -= error[:, None] * upper[column, column + 1 : end]
        left[:, end:] -= owed @ upper[start:end, end:]
    return levels


def _descend(target: Array, levels: Array, codec: Codec, covariance: Array) -> Array:
    """Coordinate descent on the output error, starting from levels."""
    variances = np.maximum(np.diag(covariance), np.finfo(np.float32).tiny)
    levels = levels.copy()
    for _ in range(_SWEEPS):
        pull = (target - levels) @ covariance
        changed = 0
        for start in range(0, target.shape[1], _BLOCK):
            end = min(start + _BLOCK, target.shape[1])
            before = levels[:, start:end].copy()
            for column in range(start, end):
                found = codec.nearest(levels[:, column] + pull[:, column] / variances[column])
                change = found - levels[:, column]
                levels[:, column] = found
                pull[:, column:end] -= change[:, None] * covariance[column, column:end]
            moved = levels[:, start:end] - before
            changed += int(np.count_nonzero(moved))
            pull[:, end:] -= moved @ covariance[start:end, end:]
        if changed < 1e-3 * target.size:
            break
    return levels
