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

_LEAVE_FLOAT = "Export it without the Cast, or use --target onnxruntime or openvino."


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
    """Whole numbers are floats in ncnn's blobs, and so are bytes of an input; only rounding would need a layer."""
    before, after = (tensor.dtype for tensor in (node.inputs[0], node.outputs[0]))
    kinds = [None if dtype is None else np.dtype(dtype) for dtype in (before, after)]
    if any(kind is None or kind.kind not in "fiu" for kind in kinds):
        raise Refusal("ncnn's blobs are floats", "Simplify the model first.")
    if not np.issubdtype(after, np.floating) and not _are_whole(lowering, node.inputs[0], after):
        raise Refusal(f"ncnn's blobs are floats, which this Cast cuts to {np.dtype(after).name}", _LEAVE_FLOAT)
    lowering.alias(node.outputs[0], node.inputs[0])


def _are_whole(lowering: Lowering, tensor: gs.Tensor, dtype: object) -> bool:
    """Whether a tensor holds whole numbers that an integer type holds as well."""
    if np.issubdtype(tensor.dtype, np.floating):
        return False
    most = np.iinfo(np.dtype(dtype)).max  # type: ignore[call-overload] # a type
    maker = tensor.inputs[0] if tensor.inputs else None
    if maker is not None and maker.op in ("ArgMax", "ArgMin"):
        return bool(lowering.shape(maker.inputs[0])[int(maker.attrs.get("axis", 0))] - 1 <= most)
    kinds = np.iinfo(tensor.dtype)
    return bool(kinds.max <= most and kinds.min >= np.iinfo(np.dtype(dtype)).min)  # type: ignore[call-overload]


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
        **dict.fromkeys(("Identity", "Dropout"), _identity),
        "Cast": _cast,
        "QuantizeLinear": quantize,
        "DequantizeLinear": dequantize,
    }
)
