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
_KEEPS = frozenset({"Add", "Cast", "Mul", "Sub", "Squeeze", "Unsqueeze"})
"""Operators whose propagated result is as long as the longest vector they read."""


def is_bounded(graph: onnx.GraphProto) -> bool:
    """Whether no vector that inference would propagate has more than 2**16 values.

    Args:
        graph: sorted; of subgraphs only what lies outside counts, as nothing is propagated into them.
    """
    lengths = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        length = _length(node, lengths)
        if length is None:
            continue
        if length > MOST_VALUES:
            return False
        lengths[node.output[0]] = length
    return True


def _length(node: onnx.NodeProto, lengths: dict[str, int]) -> int | None:
    """Values in a node's first output if it is propagated, at most; None when it is not."""
    if node.domain or not node.output:
        return None
    if node.op_type in ("Shape", "Size"):
        return _SHAPE
    if node.op_type == "Constant":
        return max((_attribute_length(attribute) for attribute in node.attribute), default=0)
    read = [lengths.get(name) for name in node.input if name]
    known = [length for length in read if length is not None]
    if not known:
        return None
    if node.op_type == "Slice":
        return read[0]
    if node.op_type == "Gather":
        return read[-1] if len(read) == 2 and read[0] is not None else None
    if len(known) < len(read):
        return None
    if node.op_type == "Concat":
        return sum(known)
    return max(known) if node.op_type in _KEEPS else None


def _attribute_length(attribute: onnx.AttributeProto) -> int:
    return max(
        math.prod(attribute.t.dims) if attribute.HasField("t") else 1, len(attribute.ints), len(attribute.floats)
    )
