"""Elementwise arithmetic of one or two tensors, with broadcasting."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.format import Parameter
from yocc.runtime.backends.ncnn.lowering import Lowering, Rule

_BINARY = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3, "Max": 4, "Min": 5, "Pow": 6}
_REVERSED = {"Sub": 7, "Div": 8, "Pow": 9}
_UNARY = {
    "Abs": 0, "Neg": 1, "Floor": 2, "Ceil": 3, "Sqrt": 5, "Exp": 7, "Log": 8, "Sin": 9, "Cos": 10, "Tan": 11,
    "Asin": 12, "Acos": 13, "Atan": 14, "Reciprocal": 15, "Round": 18,
}  # fmt: skip
_SQUARE = 4


def _binary(lowering: Lowering, node: gs.Node) -> None:
    output = node.outputs[0]
    values = [lowering.value(tensor) for tensor in node.inputs]
    if node.op == "Pow" and values[1] is not None and values[1].size == 1 and float(values[1].reshape(())) == 2.0:
        # The general power of a negative number is not a number in some of ncnn's kernels.
        lowering.sizes(output)
        lowering.add("UnaryOp", node.name, [lowering.blob(node.inputs[0])], [output.name], {0: _SQUARE})
        return
    for slot, value in enumerate(values):
        variable = node.inputs[1 - slot]
        if value is not None and value.size == 1 and lowering.sizes(variable) == lowering.sizes(output):
            kind = _BINARY[node.op] if slot == 1 else _REVERSED.get(node.op, _BINARY[node.op])
            parameters: dict[int, Parameter] = {0: kind, 1: 1, 2: float(value.reshape(()))}
            lowering.add("BinaryOp", node.name, [lowering.blob(variable)], [output.name], parameters)
            return
    inputs = [lowering.operand(node, tensor) for tensor in node.inputs]
    lowering.add("BinaryOp", node.name, inputs, [output.name], {0: _BINARY[node.op]})


def _variadic(lowering: Lowering, node: gs.Node) -> None:
    """Two at a time, in order; of a mean the sum is divided."""
    kind = _BINARY.get(node.op, _BINARY["Add"])
    output, count = node.outputs[0], len(node.inputs)
    lowering.sizes(output)
    if count == 1:
        lowering.alias(output, node.inputs[0])
        return
    if count == 2 and node.op in _BINARY:
        _binary(lowering, node)
        return
    blob = lowering.operand(node, node.inputs[0])
    for place, tensor in enumerate(node.inputs[1:], 2):
        result = output.name if place == count and node.op != "Mean" else lowering.fresh(output.name)
        lowering.add("BinaryOp", f"{node.name}_{place}", [blob, lowering.operand(node, tensor)], [result], {0: kind})
        blob = result
    if node.op == "Mean":
        parameters: dict[int, Parameter] = {0: _BINARY["Mul"], 1: 1, 2: 1.0 / count}
        lowering.add("BinaryOp", node.name, [blob], [output.name], parameters)


def _unary(lowering: Lowering, node: gs.Node) -> None:
    lowering.sizes(node.inputs[0])
    lowering.add("UnaryOp", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], {0: _UNARY[node.op]})


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(_BINARY, _binary),
        **dict.fromkeys(("Sum", "Mean", "Max", "Min"), _variadic),
        **dict.fromkeys(_UNARY, _unary),
    }
)
