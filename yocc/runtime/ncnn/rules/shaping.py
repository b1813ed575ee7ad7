"""Operators that change the axes of a tensor, or nothing but its type."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.ncnn.codes import dequantize, quantize
from yocc.runtime.ncnn.lowering import Lowering, Refusal, Rule


def _reshape(lowering: Lowering, node: gs.Node) -> None:
    if _shuffled(lowering, node):
        return
    source, output = lowering.dims(node.inputs[0]), lowering.dims(node.outputs[0])
    if source == output:
        lowering.alias(node.outputs[0], node.inputs[0])
        return
    lowering.reshape(node.name, lowering.blob(node.inputs[0]), output, node.outputs[0].name)


def _shuffled(lowering: Lowering, node: gs.Node) -> bool:
    """Reshape, Transpose, Reshape that shuffle channels are one ShuffleChannel."""
    transpose = lowering.sole_reader(node.outputs[0])
    last = lowering.sole_reader(transpose.outputs[0]) if transpose is not None and transpose.op == "Transpose" else None
    if transpose is None or last is None or last.op != "Reshape":
        return False
    shapes = [lowering.shapes.of(tensor) for tensor in (node.inputs[0], node.outputs[0], last.outputs[0])]
    before, split, after = shapes
    if before is None or split is None or before != after or len(before) != 4 or len(split) != 5:
        return False
    if list(transpose.attrs.get("perm", ())) != [0, 2, 1, 3, 4] or split[3:] != before[2:] or before[0] != 1:
        return False
    lowering.absorbed |= {transpose.name, last.name}
    names = [lowering.blob(node.inputs[0])], [last.outputs[0].name]
    lowering.add("ShuffleChannel", node.name, *names, {0: split[1]})
    return True


def _identity(lowering: Lowering, node: gs.Node) -> None:
    lowering.alias(node.outputs[0], node.inputs[0])


def _cast(lowering: Lowering, node: gs.Node) -> None:
    kinds = [tensor.dtype for tensor in (node.inputs[0], node.outputs[0])]
    if any(kind is None or not np.issubdtype(kind, np.floating) for kind in kinds):
        raise Refusal("ncnn's blobs are floats", "Simplify the model first.")
    lowering.alias(node.outputs[0], node.inputs[0])


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
        **dict.fromkeys(("Identity", "Dropout"), _identity),
        "Cast": _cast,
        "QuantizeLinear": quantize,
        "DequantizeLinear": dequantize,
    }
)
