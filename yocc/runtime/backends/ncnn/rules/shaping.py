"""Operators that change the axes of a tensor, or nothing but its type."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.axes import MOST_AXES, blob_axes
from yocc.runtime.backends.ncnn.codes import dequantize, quantize
from yocc.runtime.backends.ncnn.lowering import Lowering, Refusal, Rule
from yocc.runtime.backends.ncnn.rules.reordering import reordered


def _reshape(lowering: Lowering, node: gs.Node) -> None:
    if reordered(lowering, node):
        return
    shape = lowering.shapes.of(node.outputs[0])
    if shape is not None and blob_axes(shape) is None:
        raise Refusal(
            f"{node.outputs[0].name!r} has {len(shape)} axes, and ncnn's blobs have at most {MOST_AXES}",
            "Follow it with one Transpose and one Reshape, or use --target onnxruntime.",
        )
    source, output = lowering.sizes(node.inputs[0]), lowering.sizes(node.outputs[0])
    if source == output:
        lowering.alias(node.outputs[0], node.inputs[0])
        return
    lowering.reshape(node.name, lowering.blob(node.inputs[0]), output, node.outputs[0].name)


def _identity(lowering: Lowering, node: gs.Node) -> None:
    lowering.alias(node.outputs[0], node.inputs[0])


def _cast(lowering: Lowering, node: gs.Node) -> None:
    kinds = [tensor.dtype for tensor in (node.inputs[0], node.outputs[0])]
    if kinds[0] == np.uint8 and not node.inputs[0].inputs:  # an input of the model, whose blob holds bytes as floats
        kinds = kinds[1:]
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
