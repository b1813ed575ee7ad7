"""Elementwise arithmetic of one or two tensors, with broadcasting."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.format import Parameter
from yocc.runtime.backends.ncnn.lowering import Lowering, Refusal, Rule

_BINARY = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3, "Max": 4, "Min": 5, "Pow": 6}
_REVERSED = {"Sub": 7, "Div": 8, "Pow": 9}
_UNARY = {
    "Abs": 0, "Neg": 1, "Floor": 2, "Ceil": 3, "Sqrt": 5, "Exp": 7, "Log": 8, "Sin": 9, "Cos": 10, "Tan": 11,
    "Asin": 12, "Acos": 13, "Atan": 14, "Reciprocal": 15, "Round": 18,
}  # fmt: skip
_SQUARE = 4


def _binary(lowering: Lowering, node: gs.Node) -> None:
    if len(node.inputs) != 2:
        raise Refusal(f"ncnn's BinaryOp takes two tensors, and this {node.op} {len(node.inputs)}")
    output = lowering.dims(node.outputs[0])
    values = [lowering.value(tensor) for tensor in node.inputs]
    if node.op == "Pow" and values[1] is not None and values[1].size == 1 and float(values[1].reshape(())) == 2.0:
        # The general power of a negative number is not a number in some of ncnn's kernels.
        lowering.add("UnaryOp", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], {0: _SQUARE})
        return
    for slot, value in enumerate(values):
        variable = node.inputs[1 - slot]
        if value is not None and value.size == 1 and lowering.dims(variable) == output:
            kind = _BINARY[node.op] if slot == 1 else _REVERSED.get(node.op, _BINARY[node.op])
            parameters: dict[int, Parameter] = {0: kind, 1: 1, 2: float(value.reshape(()))}
            lowering.add("BinaryOp", node.name, [lowering.blob(variable)], [node.outputs[0].name], parameters)
            return
    inputs = [
        _operand(lowering, node, tensor, value, len(output)) for tensor, value in zip(node.inputs, values, strict=True)
    ]
    lowering.add("BinaryOp", node.name, inputs, [node.outputs[0].name], {0: _BINARY[node.op]})


def _operand(lowering: Lowering, node: gs.Node, tensor: gs.Tensor, value: Any, axes: int) -> str:
    """A blob with as many axes as the result, so that broadcasting means the same in both worlds."""
    if value is not None:
        shape = (1,) * (axes + 1 - value.ndim) + value.shape
        if shape[0] != 1:
            raise Refusal(f"{tensor.name!r} has a first axis of {shape[0]}, and ncnn has no batches")
        return lowering.constant(tensor.name, np.asarray(value, np.float32).reshape(shape[1:]))
    shape = lowering.shapes.of(tensor) or ()
    full = (1,) * (axes + 1 - len(shape)) + tuple(shape)
    if len(shape) == axes + 1:
        lowering.dims(tensor)
        return lowering.blob(tensor)
    if full[0] != 1:
        raise Refusal(f"{tensor.name!r} has a first axis of {full[0]}, and ncnn has no batches")
    result = lowering.fresh(tensor.name)
    lowering.reshape(f"{node.name}_axes", lowering.blob(tensor), full[1:], result)
    return result


def _unary(lowering: Lowering, node: gs.Node) -> None:
    lowering.dims(node.inputs[0])
    lowering.add("UnaryOp", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], {0: _UNARY[node.op]})


RULES: Mapping[str, Rule] = MappingProxyType(
    {**dict.fromkeys(_BINARY, _binary), **dict.fromkeys(_UNARY, _unary)},
)
