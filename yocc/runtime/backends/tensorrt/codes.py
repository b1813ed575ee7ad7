"""Rules about QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.layers import output_axis
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.pipeline.target import Reject

LEAST_HALF_SCALE = float(np.finfo(np.float16).smallest_normal)
HALF_SCALE_OPSET = 19
_AGAIN = "Quantize the float model with --int8 for this target."
_WIDE = frozenset(map(np.dtype, ("int16", "uint16")))


def code_types(graph: Graph) -> Iterator[Reject]:
    """TensorRT does not compute with 16-bit integers."""
    for node in _coding(graph):
        wide = [tensor for tensor in [node.inputs[0], *node.inputs[2:3], *node.outputs] if _type(tensor) in _WIDE]
        if wide:
            yield Reject(node.name, f"its codes are {_type(wide[0])}", _AGAIN)


def zero_point_given(graph: Graph) -> Iterator[Reject]:
    """Without a zero point, TensorRT reads int8 where ONNX means uint8."""
    for node in _coding(graph):
        if len(node.inputs) > 2 and node.inputs[2].name:
            continue
        # With neither zero point nor output_dtype a QuantizeLinear writes uint8; constant integers have their own type.
        if node.op == "QuantizeLinear":
            reason = "it has no zero point, which means int8 to TensorRT and uint8 to ONNX"
            yield Reject(node.name, reason, "Give it a zero point of int8 0.")
        elif _type(node.inputs[0]) == np.uint8:
            yield Reject(node.name, "it dequantizes uint8, which TensorRT reads as int8", _AGAIN)


def zero_point_type(graph: Graph) -> Iterator[Reject]:
    """uint8 0 parses, and then means int8."""
    for node in _coding(graph):
        kind = _type(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2].name else None
        if kind == np.uint8:
            yield Reject(node.name, "its values are uint8, which TensorRT reads as int8", _AGAIN)


def zero_point_value(graph: Graph) -> Iterator[Reject]:
    """Quantization is symmetric."""
    for node in _coding(graph):
        if len(node.inputs) < 3 or not node.inputs[2].name:
            continue
        zero_point = node.inputs[2]
        if not isinstance(zero_point, gs.Constant):
            yield Reject(node.name, "its zero point is computed at run time", _AGAIN)
        elif _type(zero_point) in (np.int8, np.uint8) and np.any(zero_point.values != 0):
            worst = int(zero_point.values.flat[np.abs(zero_point.values.astype(np.int64)).argmax()])
            yield Reject(node.name, f"its zero point is {worst}, not 0", _AGAIN)


def scale_constant(graph: Graph) -> Iterator[Reject]:
    """Kernels are built for their scales."""
    for node in _coding(graph):
        if not isinstance(node.inputs[1], gs.Constant):
            yield Reject(node.name, "its scale is computed at run time", _AGAIN)


def scale_positive(graph: Graph) -> Iterator[Reject]:
    """A channel of zeros, or underflow, gives a scale of zero."""
    for node, scale in _scales(graph):
        if not np.all(scale > 0) or not np.all(np.isfinite(scale)):
            wrong = scale.flat[int(np.argmax(~((scale > 0) & np.isfinite(scale))))]
            yield Reject(node.name, f"one of its scales is {float(wrong):g}", "Quantize the model again.")


def scale_underflow(graph: Graph) -> Iterator[Reject]:
    """Below its smallest normal number fp16 loses digits, and hardware may flush to zero."""
    for node, scale in _scales(graph):
        if scale.dtype == np.float16 and np.any((scale > 0) & (scale < LEAST_HALF_SCALE)):
            least = float(scale[scale > 0].min())
            reason = f"one of its fp16 scales is {least:.2g}, below {LEAST_HALF_SCALE:.2g}"
            yield Reject(node.name, reason, "Let the pass fp16 convert the model.")


def scale_type(graph: Graph) -> Iterator[Reject]:
    """A scale has the type of the values it quantizes."""
    for node in _coding(graph):
        values = node.inputs[0] if node.op == "QuantizeLinear" else node.outputs[0]
        have, want = _type(node.inputs[1]), _type(values)
        if have is not None and want is not None and have != want:
            yield Reject(node.name, f"its scale is {have} and the values are {want}", "Let --fp16 convert the model.")


def half_scale_opset(graph: Graph) -> Iterator[Reject]:
    """Scales in fp16 came with opset 19."""
    if graph.opset >= HALF_SCALE_OPSET:
        return
    for node in _coding(graph):
        if _type(node.inputs[1]) == np.float16:
            reason = f"fp16 scales need opset {HALF_SCALE_OPSET}, this is {graph.opset}"
            yield Reject(node.name, reason, "Convert the model to a newer opset.")


def bias_float(graph: Graph) -> Iterator[Reject]:
    """An int32 bias is a parse error."""
    for node in graph.nodes:
        if node.op == "DequantizeLinear" and _type(node.inputs[0]) == np.int32:
            readers = [reader.name for tensor in node.outputs for reader in tensor.outputs]
            yield Reject(next(iter(readers), node.name), "its bias is quantized to int32", _AGAIN)


def activation_per_tensor(graph: Graph) -> Iterator[Reject]:
    """Only weights have a scale for each channel."""
    for node, scale in _scales(graph):
        if scale.size > 1 and not _codes_constant(node):
            yield Reject(node.name, f"an activation has {scale.size} scales, not one", _AGAIN)


def weight_axis(graph: Graph) -> Iterator[Reject]:
    """Scales of a weight run along its output channels."""
    for node in graph.nodes:
        if node.op not in WEIGHTED or len(node.inputs) < 2 or not node.inputs[1].inputs:
            continue
        decode = node.inputs[1].inputs[0]
        if decode.op != "DequantizeLinear" or not isinstance(decode.inputs[1], gs.Constant):
            continue
        scale, rank = decode.inputs[1].values, len(decode.inputs[0].shape)
        axis, wanted = int(decode.attrs.get("axis", 1)) % max(rank, 1), output_axis(node, rank)
        if scale.size > 1 and axis != wanted:
            yield Reject(decode.name, f"the scales of a {node.op}'s weight run along axis {axis}, not {wanted}", _AGAIN)


def _coding(graph: Graph) -> Iterator[gs.Node]:
    for node in graph.nodes:
        if node.op in ("QuantizeLinear", "DequantizeLinear"):
            yield node


def _scales(graph: Graph) -> Iterator[tuple[gs.Node, np.ndarray[Any, Any]]]:
    for node in _coding(graph):
        if isinstance(node.inputs[1], gs.Constant):
            yield node, np.atleast_1d(node.inputs[1].values)


def _codes_constant(node: gs.Node) -> bool:
    source = node.inputs[0]
    if node.op == "DequantizeLinear" and source.inputs and source.inputs[0].op == "QuantizeLinear":
        source = source.inputs[0].inputs[0]
    return isinstance(source, gs.Constant)


def _type(tensor: gs.Tensor) -> np.dtype[Any] | None:
    try:
        return None if tensor.dtype is None else np.dtype(tensor.dtype)
    except TypeError:  # ONNX's own small floats, by their number
        return None
