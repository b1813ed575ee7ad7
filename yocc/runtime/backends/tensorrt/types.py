"""Rules about the types of tensors that are not quantized."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.operators import OPS, Flow
from yocc.compiler.pipeline.target import Reject

_REFUSED = frozenset(map(np.dtype, ("int16", "uint16", "uint32", "uint64", "complex64", "complex128")))
_CONVERTED = np.dtype(np.float64)


def element_types(graph: Graph) -> Iterator[Reject]:
    """Types that TensorRT does not have; it would silently round float64 to float32."""
    tensors = {tensor.name: tensor for tensor in graph.inputs}
    tensors.update({tensor.name: tensor for node in graph.nodes for tensor in [*node.inputs, *node.outputs]})
    for name, tensor in tensors.items():
        dtype = _dtype(tensor)
        if dtype is None:  # of an input left out, for one, which numpy would take for float64
            continue
        if dtype == _CONVERTED:
            yield Reject(name, "TensorRT computes float64 in float32", "Export the model with float32 in their place.")
        elif dtype in _REFUSED or dtype.kind in "OSU":
            yield Reject(name, f"TensorRT has no tensors of type {dtype}", "Use --target onnxruntime.")


def mixed_types(graph: Graph) -> Iterator[Reject]:
    """A strongly typed network converts nothing by itself."""
    for node in graph.nodes:
        facts = OPS.get(node.op)
        if facts is None or facts.flow not in (Flow.ELEMENTWISE, Flow.CONCAT, Flow.CONV, Flow.CONV_TRANSPOSE):
            continue
        floats = {str(dtype) for tensor in node.inputs if (dtype := _dtype(tensor)) is not None and dtype.kind == "f"}
        if len(floats) > 1:
            yield Reject(node.name, f"it mixes {' and '.join(sorted(floats))}", "Put a Cast before it, or use --fp16.")


def resize_scales(graph: Graph) -> Iterator[Reject]:
    """Scales of Resize are float32, even in a half-precision graph."""
    for node in graph.nodes:
        scales = node.inputs[2] if node.op == "Resize" and len(node.inputs) > 2 else None
        if scales is None or not scales.name:
            continue
        dtype = _dtype(scales)
        if dtype is not None and dtype != np.float32:
            yield Reject(node.name, f"its scales are {dtype}, not float32", "Let --fp16 convert the model.")


def _dtype(tensor: gs.Tensor) -> np.dtype[np.generic] | None:
    try:
        return None if tensor.dtype is None else np.dtype(tensor.dtype)
    except TypeError:  # ONNX's own small floats, by their number
        return None
