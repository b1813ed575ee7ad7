"""Operators that change the axes of a tensor, or nothing but its type."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.codes import dequantize, quantize
from yocc.runtime.backends.ncnn.lowering import MOST_AXES, Lowering, Refusal, Rule
from yocc.runtime.backends.ncnn.rules.reordering import reordered


def _reshape(lowering: Lowering, node: gs.Node) -> None:
    if reordered(lowering, node):
        return
    shape = lowering.shapes.of(node.outputs[0])
    if shape is not None and len(shape) > MOST_AXES + 1:
        raise Refusal(
            f"{node.outputs[0].name!r} has {len(shape)} axes, and ncnn takes 2 to {MOST_AXES + 1}",
            "Follow it with one Transpose that keeps the batch first and one Reshape, or use --target onnxruntime.",
        )
    source, output = lowering.dims(node.inputs[0]), lowering.dims(node.outputs[0])
    if source == output:
        lowering.alias(node.outputs[0], node.inputs[0])
        return
    lowering.reshape(node.name, lowering.blob(node.inputs[0]), output, node.outputs[0].name)


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
