"""Statistics of one layer on pictures, streamed: sums of products of its inputs and of its target outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass
class InputMoments:
    """First and second moments of inputs x, also of several blocks of inputs side by side.

    Attributes:
        count: samples so far.
        total: sum of x, shape [..., n].
        gram: sum of x x', shape [..., n, n].
    """

    count: int
    total: Array
    gram: Array

    @classmethod
    def empty(cls, *shape: int) -> InputMoments:
        """Moments of no samples of shape [..., n]."""
        return cls(0, np.zeros(shape), np.zeros((*shape, shape[-1])))

    def add(self, x: Array) -> None:
        """Add samples, shape [..., samples, n]; products have the precision of `x`, their sums are in float64."""
        self.count += x.shape[-2]
        self.total += x.sum(axis=-2, dtype=np.float64)
        self.gram += x.swapaxes(-1, -2) @ x

    def __add__(self, other: InputMoments) -> InputMoments:
        """Moments of the samples of both."""
        return InputMoments(self.count + other.count, self.total + other.total, self.gram + other.gram)

    @property
    def mean(self) -> Array:
        """Shape [..., n]."""
        mean: Array = self.total / max(self.count, 1)
        return mean

    @property
    def power(self) -> Array:
        """Mean of x x', shape [..., n, n]."""
        power: Array = self.gram / max(self.count, 1)
        return power

    @property
    def covariance(self) -> Array:
        """Shape [..., n, n]."""
        mean = self.mean
        covariance: Array = self.power - mean[..., :, None] * mean[..., None, :]
        return covariance


@dataclass
class Moments:
    """First and second moments of inputs x and target outputs z.

    Attributes:
        inputs: those of x.
        targets: sum of z, shape [m].
        squares: sum of z * z, shape [m].
        cross: sum of x z', shape [n, m].
    """

    inputs: InputMoments
    targets: Array
    squares: Array
    cross: Array

    @classmethod
    def empty(cls, inputs: int, outputs: int) -> Moments:
        """Moments of no samples."""
        return cls(InputMoments.empty(inputs), np.zeros(outputs), np.zeros(outputs), np.zeros((inputs, outputs)))

    def add(self, x: Array, z: Array) -> None:
        """Add samples: x of shape [samples, n], z of shape [samples, m], both of the precision to multiply in."""
        self.inputs.add(x)
        self.targets += z.sum(axis=0, dtype=np.float64)
        self.squares += np.square(z, dtype=np.float64).sum(axis=0)
        self.cross += x.T @ z

    def __add__(self, other: Moments) -> Moments:
        """Moments of the samples of both."""
        return Moments(
            self.inputs + other.inputs,
            self.targets + other.targets,
            self.squares + other.squares,
            self.cross + other.cross,
        )

    @property
    def count(self) -> int:
        """Samples so far."""
        return self.inputs.count

    @property
    def target_mean(self) -> Array:
        """Mean of z, shape [m]."""
        mean: Array = self.targets / max(self.count, 1)
        return mean

    @property
    def target_variance(self) -> Array:
        """Of each z, shape [m]."""
        variance: Array = self.squares / max(self.count, 1) - np.square(self.target_mean)
        return variance

    @property
    def cross_covariance(self) -> Array:
        """Of x and z, shape [n, m]."""
        covariance: Array = self.cross / max(self.count, 1) - np.outer(self.inputs.mean, self.target_mean)
        return covariance

    def error(self, weight: Array, bias: Array) -> float:
        """Mean squared error of z ~ x weight + bias over the samples, weight of shape [n, m]."""
        fitted = float(np.sum(weight * (self.inputs.gram @ weight))) + 2 * float(bias @ (self.inputs.total @ weight))
        fitted += self.count * float(bias @ bias)
        wanted = float(np.sum(weight * self.cross)) + float(bias @ self.targets)
        return (fitted - 2 * wanted + float(self.squares.sum())) / max(self.count, 1)
