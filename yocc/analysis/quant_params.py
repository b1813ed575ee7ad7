"""Scale and zero point of a tensor: what they are, and how they follow from its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.compiler.pipeline.target import TensorScheme

Array = np.ndarray[Any, Any]
SMALLEST_SCALE = 2.0**-24
"""Scales are never zero: a channel of zeros is zero at any scale, and runtimes divide by it."""


@dataclass(frozen=True)
class QuantParams:
    """Scale and zero point of a tensor: value = scale * (integer - zero_point).

    Attributes:
        scale: float32, shape [] or [channels].
        zero_point: int8, uint8, int16 or uint16, the scale's shape.
        axis: the channel axis when there are several scales.
        readers: names of the nodes that read the quantized activation, None for all; others read the float one.
    """

    scale: Array
    zero_point: Array
    axis: int | None = None
    readers: frozenset[str] | None = None

    def quantize(self, values: Array, scheme: TensorScheme) -> Array:
        """Integers of values, rounded half to even as ONNX does and clipped to the range."""
        scale, zero_point = self._spread(self.scale, values.ndim), self._spread(self.zero_point, values.ndim)
        # In float32 throughout, because runtimes round that quotient and not the exact one.
        with np.errstate(over="ignore"):
            quantized = np.rint(values.astype(np.float32) / scale) + zero_point.astype(np.float32)
        codes: Array = np.clip(quantized, scheme.lowest, scheme.highest).astype(self.zero_point.dtype)
        return codes

    def _spread(self, values: Array, rank: int) -> Array:
        if self.axis is None:
            return values
        return values.reshape([-1 if index == self.axis else 1 for index in range(rank)])


def range_params(low: float, high: float, scheme: TensorScheme) -> QuantParams:
    """Scale and zero point for one range, widened to hold zero exactly, as padding and ReLU need it."""
    low, high = min(low, 0.0), max(high, 0.0)
    dtype = quantized_type(scheme)
    if scheme.symmetric and scheme.signed:
        scale = max(high / scheme.highest, low / scheme.lowest, SMALLEST_SCALE)
        return QuantParams(np.array(scale, np.float32), np.array(0, dtype))
    if scheme.symmetric:
        middle = _middle(scheme)
        scale = max(high / (scheme.highest - middle), -low / middle, SMALLEST_SCALE)
        return QuantParams(np.array(scale, np.float32), np.array(middle, dtype))
    scale = max((high - low) / (scheme.highest - scheme.lowest), SMALLEST_SCALE)
    zero_point = np.clip(np.rint(scheme.lowest - low / scale), scheme.lowest, scheme.highest)
    return QuantParams(np.array(scale, np.float32), np.array(zero_point, dtype))


def weight_params(weight: Array, axis: int | None, scheme: TensorScheme, floor: Array | None = None) -> QuantParams:
    """Symmetric scales of a weight by its largest magnitude, for each channel of `axis`.

    Args:
        weight: the weight.
        axis: its output channel axis; None for one scale.
        scheme: how it is quantized.
        floor: least scale for each channel, shape [channels] or None.
    """
    rest = tuple(index for index in range(weight.ndim) if index != axis) if axis is not None else None
    middle = _middle(scheme)
    scale = np.abs(weight.astype(np.float64)).max(axis=rest, initial=0.0) / (scheme.highest - middle)
    scale = np.maximum(scale, SMALLEST_SCALE if floor is None else np.maximum(floor, SMALLEST_SCALE))
    scale = np.asarray(scale, dtype=np.float32)
    return QuantParams(scale, np.full(scale.shape, middle, dtype=quantized_type(scheme)), axis)


def quantized_type(scheme: TensorScheme) -> Any:
    """The numpy type of a scheme's integers."""
    width = 8 if scheme.bits <= 8 else 16
    return np.dtype(f"{'int' if scheme.signed else 'uint'}{width}")


def _middle(scheme: TensorScheme) -> int:
    """The integer of zero in a symmetric scheme."""
    return 0 if scheme.signed else (scheme.highest + 1) // 2
