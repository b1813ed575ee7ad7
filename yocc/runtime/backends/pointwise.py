"""Quantized layers of 1 x 1 as matrix products, for runtimes whose integer products write floats.

onnxruntime has no integer convolution that writes floats, but a matrix product that does: its own operator
`com.microsoft::MatMulIntegerToFloat`, which also adds the bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.anchor_maps import is_pointwise
from yocc.compiler.graph.decoding import constants_of
from yocc.runtime.backends.rewriting import TO_LAST

Array = np.ndarray[Any, Any]
DOMAIN = "com.microsoft"


@dataclass(frozen=True)
class Pointwise:
    """A quantized layer of 1 x 1.

    Attributes:
        name: of its node.
        data: what it reads: codes [N, C, H, W], their scale and zero point.
        codes: its weights [outputs, C, 1, 1].
        scale: of each output.
        zero: point of each output.
        bias: of each output, float.
    """

    name: str
    data: tuple[gs.Tensor, gs.Tensor, gs.Tensor]
    codes: Array
    scale: Array
    zero: Array
    bias: Array

    def product(self, rows: gs.Tensor, part: Array, name: str, made: gs.Tensor) -> gs.Node:
        """Some of the outputs, by their numbers, for rows [..., C] of codes."""
        weight = [
            gs.Constant(f"{name}_weight", np.ascontiguousarray(self.codes[part].reshape(len(part), -1).T)),
            gs.Constant(f"{name}_scale", np.ascontiguousarray(self.scale[part])),
            gs.Constant(f"{name}_zero_point", np.ascontiguousarray(self.zero[part])),
            gs.Constant(f"{name}_bias", np.ascontiguousarray(self.bias[part])),
        ]
        _, scale, zero = self.data
        operands = [rows, weight[0], scale, weight[1], zero, weight[2], weight[3]]
        return gs.Node("MatMulIntegerToFloat", name, {}, operands, [made], domain=DOMAIN)

    def rows(self, shape: tuple[int, ...]) -> tuple[gs.Variable, list[gs.Node]]:
        """Its input as rows of codes, [*shape, C], and the nodes that make them."""
        last, rows = (gs.Variable(f"{self.name}_{suffix}", self.data[0].dtype) for suffix in ("channels_last", "rows"))
        flat = gs.Constant(f"{rows.name}_shape", np.array([*shape, self.codes.shape[1]], np.int64))
        return rows, [
            gs.Node("Transpose", last.name, {"perm": TO_LAST}, [self.data[0]], [last]),
            gs.Node("Reshape", rows.name, {}, [last, flat], [rows]),
        ]


def pointwise(conv: gs.Node) -> Pointwise | None:
    """A convolution of 1 x 1 whose input and weights are codes; None for others, or scales of another kind."""
    source, weight = conv.inputs[0], conv.inputs[1]
    if (
        not is_pointwise(conv)
        or not source.inputs
        or source.inputs[0].op != "DequantizeLinear"
        or isinstance(weight, gs.Constant)
    ):
        return None
    data = source.inputs[0].inputs
    if len(data) < 3 or any(tensor.shape is None or len(tensor.shape) > 0 for tensor in data[1:3]):
        return None
    bias = constants_of(conv.inputs[2]) if len(conv.inputs) > 2 else []
    parts = constants_of(weight)
    if parts is None or bias is None:
        return None
    codes, scale, *zeros = [constant.values for constant in parts]
    count = len(codes)
    zero = zeros[0] if zeros else np.zeros(1, codes.dtype)
    return Pointwise(
        conv.name,
        (data[0], data[1], data[2]),
        codes,
        np.broadcast_to(scale.reshape(-1), count),
        np.broadcast_to(zero.reshape(-1), count),
        _decoded(bias) if bias else np.zeros(count, np.float32),
    )


def _decoded(bias: list[gs.Constant]) -> Array:
    """A bias as floats, shape [outputs]."""
    values, *parameters = [constant.values for constant in bias]
    if not parameters:
        return np.asarray(values)
    zero = parameters[1] if len(parameters) > 1 else 0
    decoded: Array = (values.astype(np.float64) - zero) * parameters[0]
    return decoded.astype(np.float32)
