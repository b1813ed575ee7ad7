"""Which weights each ncnn layer has in the `.bin` file, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_GATES: Mapping[str, tuple[int, int]] = MappingProxyType({"LSTM": (4, 4), "GRU": (3, 4), "RNN": (1, 1)})
"""Gates and biases of recurrent layers."""
Sections = list[tuple[str, int]]
"""Kind (`tagged` or `floats`) and number of values."""


def sections(kind: str, parameters: Mapping[int, Any]) -> Sections:
    """The runs of numbers a layer reads.

    Args:
        kind: ncnn's name of the operator.
        parameters: the layer's parameters by ncnn's number.
    """
    outputs = parameters.get(0, 0)
    if kind in ("Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise"):
        found = [("tagged", parameters[6]), *_bias(outputs, parameters.get(5, 0))]
        groups = parameters.get(7, 1) if kind == "ConvolutionDepthWise" else None
        return found + _scales(outputs, groups, parameters.get(8, 0))
    if kind == "InnerProduct":
        found = [("tagged", parameters[2]), *_bias(outputs, parameters.get(1, 0))]
        return found + ([("floats", outputs), ("floats", 1)] if parameters.get(8, 0) else [])
    if kind == "MemoryData":
        sizes = [parameters.get(key, 0) for key in (0, 1, 11, 2)]
        count = 1
        for size in sizes:
            count *= size or 1
        return [("floats", count)]
    if kind in _GATES:
        gates, biases = _GATES[kind]
        directions = 2 if parameters.get(2, 0) == 2 else 1
        counts = (parameters[1], directions * biases * outputs, directions * gates * outputs * outputs)
        return [("tagged", count) for count in counts]
    if kind in ("GroupNorm", "LayerNorm"):
        affine, size = (parameters.get(3, 1), parameters[1]) if kind == "GroupNorm" else (parameters.get(2, 1), outputs)
        return [("floats", size)] * 2 if affine else []
    if kind == "PReLU":
        return [("floats", outputs)]
    if kind == "BatchNorm":
        return [("floats", outputs)] * 4
    if kind == "InstanceNorm" and parameters.get(2, 1):
        return [("floats", outputs)] * 2
    return []


def _bias(outputs: int, has_bias: int) -> Sections:
    return [("floats", outputs)] if has_bias else []


def _scales(outputs: int, groups: int | None, term: int) -> Sections:
    """Scales of the weights, of the input and, if the output is quantized too (term above 100), of the output."""
    if not term:
        return []
    weights = outputs
    if groups is not None:
        weights = groups if term % 100 == 1 else 1
    return [("floats", weights), ("floats", 1)] + ([("floats", 1)] if term > 100 else [])
