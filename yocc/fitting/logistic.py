"""Regression towards probabilities, with a ridge towards the present weights, by Newton's method.

Least squares on logits wastes capacity on telling -6 from -9, which mean the same, and pulls confident values towards
the mean. The Kullback-Leibler divergence between the target and the predicted probability measures what matters; it is
convex in the weights, and Newton's method (iteratively reweighted least squares) finds its minimum in a few solves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_SOLVES = 12
_HALVINGS = 8
_STEPS = 60
"""Steps towards classes that compete; each takes one product with the inputs."""
_LONGEST = 16.0
"""Longest step, in steps that are sure to descend."""
_ENOUGH = 1e-4
"""Gain of a step, as a share of the loss, below which iteration stops."""
_NEGLIGIBLE = 1e-3
"""Samples below this share of the largest curvature are left out of the solved matrix, not of the loss."""
_FLOOR = 1e-3
"""Least curvature of a sample, as a share of its target probability, so that steps stay bounded."""


def softmax_of_candidates(logits: Array, width: int) -> Array:
    """Probabilities [n, candidates, width, ...] from logits [n, candidates * width, ...], joined by a softmax each."""
    rows = logits.reshape(len(logits), logits.shape[1] // width, width, *logits.shape[2:]).astype(np.float64)
    grown = np.exp(rows - rows.max(axis=2, keepdims=True))
    found: Array = grown / grown.sum(axis=2, keepdims=True)
    return found


def sigmoid(logits: Array) -> Array:
    """Probabilities of logits, without overflow."""
    found: Array = 0.5 * (1 + np.tanh(0.5 * logits))
    return found


def divergence(logits: Array, wanted: Array) -> Array:
    """Kullback-Leibler divergence of each predicted logit from its target; their shape."""
    found: Array = np.logaddexp(0, logits) - np.logaddexp(0, wanted) - sigmoid(wanted) * (logits - wanted)
    return found


def softmax(logits: Array) -> Array:
    """Probabilities of classes that compete, without overflow; logits have the shape [samples, classes]."""
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Array = grown / grown.sum(axis=1, keepdims=True)
    return found


def softmax_divergence(logits: Array, wanted: Array) -> Array:
    """Kullback-Leibler divergence of predicted classes from their targets, by class; shape [samples, classes]."""
    found: Array = softmax(wanted) * (_logarithms(wanted) - _logarithms(logits))
    return found


def refit_softmax(inputs: Array, wanted: Array, counts: Array, start: Array, ridge: float) -> Array:
    """As `refit_logistic`, for classes that compete: their probabilities are a softmax of the logits.

    Half the matrix of the inputs is more than the curvature at any weights (Boehning, "Multinomial logistic regression
    algorithm", Annals of the Institute of Statistical Mathematics 44, 1992): one factorization serves all steps.
    """
    if wanted.shape[1] == 2:
        return _refit_pair(inputs, wanted, counts, start, ridge)
    target = softmax(wanted)
    matrix = ((inputs.T * counts) @ inputs).astype(np.float64) / 2
    matrix[np.diag_indices_from(matrix)] += max(ridge, 1e-12)
    inverse = np.linalg.inv(matrix).astype(inputs.dtype)
    weight, logits, share = start, inputs @ start, 1.0

    def loss(logits: Array, weight: Array) -> float:
        missed = -(target * _logarithms(logits)).sum(axis=1)
        return float(counts @ missed) + ridge / 2 * float(np.square(weight - start).sum())

    now = loss(logits, weight)
    for _ in range(_STEPS):
        slope = inputs.T @ (counts[:, None] * (softmax(logits) - target)) + ridge * (weight - start)
        change = inverse @ slope
        along, share = inputs @ change, min(2 * share, _LONGEST)
        while share > 2.0**-_HALVINGS and loss(logits - share * along, weight - share * change) >= now:
            share /= 2
        if share <= 2.0**-_HALVINGS:
            break
        weight, logits = weight - share * change, logits - share * along
        before, now = now, loss(logits, weight)
        if before - now < _ENOUGH * abs(now) / 10:
            break
    return weight


def _refit_pair(inputs: Array, wanted: Array, counts: Array, start: Array, ridge: float) -> Array:
    """Of two classes only the difference of the logits matters, which Newton's method finds faster."""
    told = (start[:, 1] - start[:, 0])[:, None]
    found = refit_logistic(inputs, (wanted[:, 1] - wanted[:, 0])[:, None], counts, told, ridge / 2)
    change = (found - told) / 2
    moved: Array = start + np.concatenate([-change, change], axis=1)
    return moved


def _logarithms(logits: Array) -> Array:
    grown = logits - logits.max(axis=1, keepdims=True)
    found: Array = grown - np.log(np.exp(grown).sum(axis=1, keepdims=True))
    return found


def refit_logistic(inputs: Array, wanted: Array, counts: Array, start: Array, ridge: float) -> Array:
    """Weights that predict the target probabilities from the inputs with the least divergence.

    Args:
        inputs: shape [samples, n].
        wanted: logits, shape [samples, m].
        counts: weight of each sample, shape [samples].
        start: the weights to begin with and to stay near, shape [n, m].
        ridge: half of it times the squared distance from `start` is added to the divergence.

    Returns:
        Shape [n, m].
    """
    found = start.copy()
    for column in range(wanted.shape[1]):
        found[:, column] = _column(inputs, sigmoid(wanted[:, column]), counts, start[:, column], ridge)
    return found


def _column(inputs: Array, wanted: Array, counts: Array, start: Array, ridge: float) -> Array:
    weight, logits = start, inputs @ start
    loss = _loss(logits, wanted, counts)
    for _ in range(_SOLVES):
        given = sigmoid(logits)
        slope = inputs.T @ (counts * (given - wanted)) + ridge * (weight - start)
        curvature = counts * (given * (1 - given) + _FLOOR * wanted)
        kept = curvature > _NEGLIGIBLE * curvature.max(initial=0.0)
        matrix = (inputs[kept].T * curvature[kept]) @ inputs[kept]
        matrix[np.diag_indices_from(matrix)] += ridge
        change = np.linalg.solve(matrix.astype(np.float64), slope.astype(np.float64)).astype(inputs.dtype)
        along, share = inputs @ change, 1.0
        for _ in range(_HALVINGS):
            next_weight, next_logits = weight - share * change, logits - share * along
            next_loss = _loss(next_logits, wanted, counts) + ridge / 2 * float(np.square(next_weight - start).sum())
            if next_loss < loss:
                break
            share /= 2
        else:
            break
        gain, loss = loss - next_loss, next_loss
        weight, logits = next_weight, next_logits
        if gain < _ENOUGH * abs(loss):
            break
    return weight


def _loss(logits: Array, wanted: Array, counts: Array) -> float:
    """The divergence, up to terms that do not depend on the logits."""
    return float(counts @ (np.logaddexp(0, logits) - wanted * logits))
