"""How much onnx's data propagation would hold in memory, found before it runs.

Shape inference follows small integer vectors by value through the operators that shapes are computed with. Nothing
bounds their length: each of thirty Concats that joins a vector to itself doubles it.
"""

from __future__ import annotations

import math

import onnx

MOST_VALUES = 2**16
"""Values in one vector; real models propagate shapes, of a dozen at most."""
_SHAPE = 64
"""More dimensions than any tensor has."""
_LOOKS_AT = frozenset({"Add", "Cast", "Gather", "Mul", "Slice", "Squeeze", "Sub", "Unsqueeze"})
"""Operators whose vectors are looked at by value and whose result is no longer than the longest of them."""


def is_bounded(graph: onnx.GraphProto) -> bool:
    """Whether no vector that inference would propagate has more than 2**16 values.

    Inference also follows vectors of which it knows only the length. One whose length is not known counts as a shape.

    Args:
        graph: sorted, with the shapes that inference finds without data propagation; of subgraphs only what lies
            outside counts, as nothing is propagated into them.
    """
    lengths = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        length = _vector_length(value.type.tensor_type)
        if length is not None:
            lengths.setdefault(value.name, length)
    for node in graph.node:
        length = _length(node, [lengths.get(name, _SHAPE) for name in node.input if name])
        if length is None:
            continue
        if length > MOST_VALUES:
            return False
        lengths.setdefault(node.output[0], length)
    return True


def _vector_length(kind: onnx.TypeProto.Tensor) -> int | None:
    """Values in a vector; 0 for what is none and therefore not propagated; None where that is not known."""
    if not kind.HasField("shape"):
        return None
    if len(kind.shape.dim) != 1:
        return 0
    return kind.shape.dim[0].dim_value if kind.shape.dim[0].HasField("dim_value") else None


def _length(node: onnx.NodeProto, read: list[int]) -> int | None:
    """Values of the longest vector that propagation holds at a node; None when it holds none."""
    if node.domain or not node.output:
        return None
    if node.op_type in ("Shape", "Size"):
        return _SHAPE
    if node.op_type == "Constant":
        return max((_attribute_length(attribute) for attribute in node.attribute), default=0)
    if node.op_type == "Concat":
        return sum(read)
    return max(read, default=0) if node.op_type in _LOOKS_AT else None


def _attribute_length(attribute: onnx.AttributeProto) -> int:
    return max(
        math.prod(attribute.t.dims) if attribute.HasField("t") else 1, len(attribute.ints), len(attribute.floats)
    )
