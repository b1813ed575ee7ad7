"""Seeded filters and BatchNorm statistics under which activations neither explode nor vanish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# 5 %, 50 % and 95 % quantiles of a COCO-trained YOLOv5n: gamma 0.42, 0.89, 1.93; beta -1.2, -0.25, 1.2; running
# variance 0.008, 0.08, 0.75.
_GAMMA_MEDIAN, _GAMMA_SPREAD = 0.9, 0.45
_BETA_MEAN, _BETA_SPREAD = -0.2, 0.6
_VARIANCE_MEDIAN, _VARIANCE_SPREAD = 0.1, 0.9


@dataclass(frozen=True)
class BatchNormStatistics:
    """The four vectors of an inference-mode BatchNormalization, each of shape [channels]."""

    gamma: Array
    beta: Array
    mean: Array
    variance: Array

    def power(self) -> float:
        """Mean square of the normalized output over all channels."""
        return float(np.mean(np.square(self.gamma, dtype=np.float64) + np.square(self.beta, dtype=np.float64)))

    def fold(self, epsilon: float) -> tuple[Array, Array]:
        """The factor of each filter and the bias that replace this BatchNorm, computed in float64.

        Returns:
            `factor` and `bias`, float32 of shape [channels]: `conv(x, w * factor) + bias` equals `bn(conv(x, w))`.
        """
        factor = self.gamma.astype(np.float64) / np.sqrt(self.variance.astype(np.float64) + epsilon)
        bias = self.beta - self.mean * factor
        return factor.astype(np.float32), bias.astype(np.float32)


def draw_batch_norm(rng: np.random.Generator, channels: int) -> BatchNormStatistics:
    """Statistics spread over the channels as training leaves them, so that a saliency has something to rank."""
    gamma = _GAMMA_MEDIAN * np.exp(_GAMMA_SPREAD * rng.standard_normal(channels))
    beta = _BETA_MEAN + _BETA_SPREAD * rng.standard_normal(channels)
    variance = _VARIANCE_MEDIAN * np.exp(_VARIANCE_SPREAD * rng.standard_normal(channels))
    mean = 0.3 * np.sqrt(variance) * rng.standard_normal(channels)
    return BatchNormStatistics(*(vector.astype(np.float32) for vector in (gamma, beta, mean, variance)))


def draw_filters(
    rng: np.random.Generator, shape: tuple[int, ...], *, power: float, variance: float | Array = 1.0, fan_in: int = 0
) -> Array:
    """Gaussian filters whose outputs have a given variance (He et al. 2015, equation 10, for a known input).

    Each filter is centred (weight standardization, Qiao et al. 2019): the inputs of a layer behind an activation share
    a positive mean, and without centring that mean would come to dominate every activation of a deep random network.

    Args:
        rng: the source of randomness, advanced by this call.
        shape: weight shape with the output channels first, for instance [out, in / groups, kh, kw].
        power: mean square of the layer's input.
        variance: wanted variance of the output, one number or one per output channel.
        fan_in: products summed per output; the size of one filter when 0.

    Returns:
        float32 of the given shape.
    """
    filters = rng.standard_normal((shape[0], int(np.prod(shape[1:]))), dtype=np.float32)
    if filters.shape[1] > 8:  # centring a short filter would leave little of it
        filters -= filters.mean(axis=1, keepdims=True)
    scale = np.sqrt(np.asarray(variance, np.float64) / (power * (fan_in or filters.shape[1]))).astype(np.float32)
    filters *= scale.reshape(-1, 1)
    return filters.reshape(shape)


def activation_power(function: Callable[[NDArray[np.float64]], NDArray[np.float64]], power: float) -> float:
    """Mean square of `function(z)` for Gaussian z of zero mean and mean square `power`, by Gauss-Hermite quadrature."""
    points, weights = np.polynomial.hermite_e.hermegauss(41)
    return float(np.sum(weights * np.square(function(np.sqrt(power) * points))) / np.sum(weights))
