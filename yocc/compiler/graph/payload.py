"""How many bytes a serialized tensor must hold, so that a damaged one is refused before anything reads it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import onnx

from yocc.errors import ModelError

_PACKED_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
"""Element types of which several share one byte."""


def byte_count(tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor's values in raw form, from its type and shape alone.

    Raises:
        ModelError: an element type onnx does not know or a negative dimension.
    """
    if tensor.data_type not in onnx.TensorProto.DataType.values() or tensor.data_type == onnx.TensorProto.UNDEFINED:
        raise ModelError(
            f"A tensor has the element type {tensor.data_type}, which is not known here.", "Update onnx.", tensor.name
        )
    if any(size < 0 for size in tensor.dims):
        raise ModelError(f"A tensor has the impossible shape {list(tensor.dims)}.", "Export again.", tensor.name)
    # math.prod, because numpy's product of a malicious shape wraps around to something small.
    count: int = math.prod(tensor.dims)
    bits = _PACKED_BITS.get(onnx.TensorProto.DataType.Name(tensor.data_type))
    if bits is not None:
        return math.ceil(count * bits / 8)
    return count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def check(model: onnx.ModelProto) -> None:
    """Refuse embedded tensors that hold less or more than their shape says, or only a segment.

    Raises:
        ModelError: naming the tensor.
    """
    for tensor in tensors_of(model):
        if tensor.HasField("segment"):
            raise ModelError("A tensor is stored in segments.", "Export it as a whole.", tensor.name)
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.data_type == onnx.TensorProto.STRING:
            continue
        need = byte_count(tensor)
        if tensor.HasField("raw_data") and len(tensor.raw_data) != need:
            raise ModelError(
                f"A tensor of shape {list(tensor.dims)} holds {len(tensor.raw_data)} bytes instead of {need}.",
                "Export the model again.",
                tensor.name,
            )
        if not tensor.HasField("raw_data") and need and not _has_typed_data(tensor):
            raise ModelError(
                f"A tensor of shape {list(tensor.dims)} does not hold that many values.",
                "Export the model again.",
                tensor.name,
            )


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every dense tensor of a model: initializers and attributes, in subgraphs and functions too."""
    yield from _tensors_of_graph(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function.node)


def _tensors_of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for subgraph in [attribute.g, *attribute.graphs]:
                yield from _tensors_of_graph(subgraph)


def _has_typed_data(tensor: onnx.TensorProto) -> bool:
    held: int = len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type)))
    count: int = math.prod(tensor.dims)
    if tensor.data_type in (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128):
        return held == 2 * count
    packed = onnx.TensorProto.DataType.Name(tensor.data_type) in _PACKED_BITS
    return held == byte_count(tensor) if packed else held == count
