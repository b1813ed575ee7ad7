"""Activations in place of others: `c * f(a x + b) + d` for a cheap f, as near to SiLU as that comes on given values.

The four numbers follow by Levenberg and Marquardt's method (Marquardt, "An Algorithm for Least-Squares Estimation of
Nonlinear Parameters", SIAM J. Appl. Math. 1963), from fixed starts and for many channels at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Activation = Literal["hardswish", "gelu", "relu"]
_STEPS = 30
_GAIN = 1e-3
_PATIENCE = 3
"""Steps in a row that lower no channel's error by a thousandth, and then no more are taken."""
_TOGETHER = 16
"""Channels that are fitted at once: what they take stays in the processor's cache."""
_LARGEST = 1e3
"""Magnitude of a, b, c and d beyond which a step is refused: 8 bits would keep nothing of what it makes."""
_LEAST = 1e-2
"""Least of a and c: a function that is all but constant is no activation."""


@dataclass(frozen=True)
class Shape:
    """An activation that another one is replaced by.

    Attributes:
        value: the function.
        slope: its derivative.
        starts: first values of a, b, c and d.
        scales: whether c is fitted; a function that any positive factor passes through has it in a already.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    starts: tuple[tuple[float, float, float, float], ...]
    scales: bool = True


@dataclass(frozen=True)
class Substitute:
    """`c * f(a x + b) + d`, each number of shape [channels], or [1] for all of them.

    Attributes:
        activation: which function f is.
    """

    activation: Activation
    a: Array
    b: Array
    c: Array
    d: Array

    def __call__(self, values: Array) -> Array:
        """Of values of shape [samples, channels]."""
        found: Array = self.c * SHAPES[self.activation].value(self.a * values + self.b) + self.d
        return found


def silu(values: Array) -> Array:
    """SiLU, x * sigmoid(x)."""
    found: Array = values / (1.0 + np.exp(-np.clip(values, -80.0, 80.0)))
    return found


def fit_substitute(
    values: Array, activation: Activation, *, weights: Array | None = None, first: Substitute | None = None
) -> Substitute:
    """The numbers with which a function comes nearest to SiLU, channel by channel, by the squared error.

    Args:
        values: in front of the SiLU, float64, shape [samples, channels].
        activation: the function.
        weights: of each sample's squared error, shape [samples, channels]; None for all alike.
        first: where to start in all channels, with its c and d, which stay; None to fit all four from fixed starts.
    """
    shape, rows = SHAPES[activation], np.ascontiguousarray(values.T)
    wanted, weighed = silu(rows), np.full(rows.shape, 1 / len(values))
    if weights is not None:
        weighed *= weights.T
    starts = shape.starts if first is None else (_numbers(first),)
    best: Array | None = None
    least = np.full(len(rows), np.inf)
    for start in starts:
        parts = [
            _descend(
                shape, rows[some], wanted[some], weighed[some], np.tile(start, (len(rows[some]), 1)), first is None
            )
            for some in (slice(place, place + _TOGETHER) for place in range(0, len(rows), _TOGETHER))
        ]
        found, error = (np.concatenate(each) for each in zip(*parts, strict=True))
        best = found if best is None else np.where((error < least)[:, None], found, best)
        least = np.minimum(error, least)
    assert best is not None  # every shape has a start
    return Substitute(activation, *best.T) if first is None else replace(first, a=best[:, 0], b=best[:, 1])


def _numbers(found: Substitute) -> tuple[float, float, float, float]:
    a, b, c, d = (float(each[0]) for each in (found.a, found.b, found.c, found.d))
    return a, b, c, d


def _descend(shape: Shape, x: Array, y: Array, weights: Array, start: Array, outer: bool) -> tuple[Array, Array]:
    """The numbers of each channel, shape [channels, 4], and the weighed squared errors, shape [channels].

    Values, what they should become, and weights have the shape [channels, samples]. Unless `outer`, c and d stay.
    """
    now, damping, idle = start, np.full(len(start), 1e-3), 0
    error, step = _normal(shape, x, y, weights, now, outer)
    for _ in range(_STEPS):
        matrix, slope = step
        diagonal = np.einsum("cii->ci", matrix) + 1e-12
        damped = matrix + (damping[:, None] * diagonal)[:, :, None] * np.eye(4)
        tried = now - np.linalg.solve(damped, slope[:, :, None])[:, :, 0]
        inside = (np.abs(tried) < _LARGEST).all(axis=1) & (tried[:, 0] > _LEAST) & (tried[:, 2] > _LEAST)
        tried = np.where(inside[:, None], tried, now)
        new_error, new_step = _normal(shape, x, y, weights, tried, outer)
        better = inside & (new_error < error)
        gain = np.where(better, error - new_error, 0.0)
        now = np.where(better[:, None], tried, now)
        step = (
            np.where(better[:, None, None], new_step[0], matrix),
            np.where(better[:, None], new_step[1], slope),
        )
        damping = np.clip(np.where(better, damping * 0.3, damping * 5.0), 1e-9, 1e9)
        idle = 0 if (gain > _GAIN * error).any() else idle + 1
        error = np.where(better, new_error, error)
        if idle == _PATIENCE:
            break
    return now, error


def _normal(
    shape: Shape, x: Array, y: Array, weights: Array, numbers: Array, outer: bool
) -> tuple[Array, tuple[Array, Array]]:
    """Errors, shape [channels], and the normal equations, shapes [channels, 4, 4] and [channels, 4]."""
    a, b, c, d = numbers.T[:, :, None]
    inner = a * x + b
    made = shape.value(inner)
    # Derivatives by a, b, c and d, and what is missing, shape [channels, 5, samples].
    columns = np.empty((len(x), 5, x.shape[1]))
    np.multiply(c, shape.slope(inner), out=columns[:, 1])
    np.multiply(columns[:, 1], x, out=columns[:, 0])
    columns[:, 2] = made if shape.scales and outer else 0.0
    columns[:, 3] = 1.0 if outer else 0.0
    columns[:, 4] = c * made + d - y
    gram = (columns * weights[:, None]) @ columns.transpose(0, 2, 1)
    return gram[:, 4, 4], (gram[:, :4, :4], gram[:, :4, 4])


def _hardswish(x: Array) -> Array:
    found: Array = x * np.clip(x / 6 + 0.5, 0.0, 1.0)
    return found


def _hardswish_slope(x: Array) -> Array:
    return np.where(np.abs(x) < 3, x / 3 + 0.5, (x >= 3).astype(x.dtype))


def _below(x: Array) -> Array:
    """How much of a standard normal distribution lies below, by Abramowitz and Stegun's formula 7.1.26."""
    t = 1 / (1 + 0.3275911 * np.abs(x) / math.sqrt(2))
    powers = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = 0.5 * powers * np.exp(-x * x / 2)
    return np.where(x < 0, tail, 1 - tail)


def _gelu(x: Array) -> Array:
    found: Array = x * _below(x)
    return found


def _gelu_slope(x: Array) -> Array:
    found: Array = _below(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return found


SHAPES: Mapping[Activation, Shape] = MappingProxyType(
    {
        "hardswish": Shape(_hardswish, _hardswish_slope, ((1.1, 0.0, 0.9, 0.0), (1.4, 0.3, 0.6, -0.1))),
        "gelu": Shape(_gelu, _gelu_slope, ((0.6, 0.0, 1.7, 0.0),)),
        "relu": Shape(
            lambda x: np.maximum(x, 0.0), lambda x: (x > 0).astype(x.dtype), ((1.0, 0.1, 1.0, -0.1),), scales=False
        ),
    }
)
