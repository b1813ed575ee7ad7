"""Weights as a graph stores them: in other types, or quantized."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.format import Data

Array = np.ndarray[Any, Any]


def weight_data(values: Array, dtype: Any) -> Data:
    """A weight in the precision in which the graph stores it."""
    kind: Literal["fp32", "fp16"] = "fp16" if dtype == np.float16 else "fp32"
    return Data(kind, np.ascontiguousarray(values, np.float16 if kind == "fp16" else np.float32).reshape(-1))


def dequantized(tensor: gs.Tensor) -> Array | None:
    """The value of a constant that is stored quantized with a DequantizeLinear, or in another type with a Cast."""
    node = tensor.inputs[0] if tensor.inputs else None
    if node is None or not isinstance(node.inputs[0], gs.Constant):
        return None
    if node.op == "Cast":
        values: Array = node.inputs[0].values
        return values.astype(np.float32) if values.dtype in (np.float16, np.float32) else None
    if node.op != "DequantizeLinear":
        return None
    codes, scale = node.inputs[0].values.astype(np.float64), np.asarray(node.inputs[1].values, np.float64)
    zero_point = np.asarray(node.inputs[2].values, np.float64) if len(node.inputs) > 2 else np.zeros(())
    if scale.ndim:
        axis = node.attrs.get("axis", 1)
        shape = [-1 if index == axis % codes.ndim else 1 for index in range(codes.ndim)]
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape) if zero_point.ndim else zero_point
    result: Array = ((codes - zero_point) * scale).astype(np.float32)
    return result
