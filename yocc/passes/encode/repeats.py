"""Constants that repeat themselves along an axis, such as a detector's grid once for each anchor, stored once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph

Array = np.ndarray[Any, Any]
_BROADCASTING = frozenset({"Add", "Div", "Max", "Min", "Mul", "Pow", "Sub"})


def store_once(graph: Graph) -> int:
    """Shorten constants to one entry along each axis where all are the same and broadcasting restores them.

    Returns:
        How many constants were shortened.
    """
    shortened = 0
    for constant in graph.tensors().values():
        if not isinstance(constant, gs.Constant) or not constant.outputs or constant in graph.outputs:
            continue
        if not all(_is_restored(constant, reader) for reader in constant.outputs):
            continue
        values = _shortened(constant.values)
        if values.size < constant.values.size:
            constant.values = values
            shortened += 1
    return shortened


def _is_restored(constant: gs.Constant, reader: gs.Node) -> bool:
    """Whether the reader's other operand has the whole shape by itself."""
    if reader.op not in _BROADCASTING or reader.domain or len(reader.inputs) != 2:
        return False
    other = reader.inputs[0] if reader.inputs[1] is constant else reader.inputs[1]
    shape = list(constant.shape)
    known = isinstance(other, gs.Variable) and other.shape is not None and len(other.shape) >= len(shape)
    return known and all(
        length == 1 or length == theirs
        for length, theirs in zip(reversed(shape), reversed(list(other.shape)), strict=False)
    )


def _shortened(values: Array) -> Array:
    for axis in range(values.ndim):
        if values.shape[axis] < 2:
            continue
        first = np.take(values, [0], axis=axis)
        whole = np.ascontiguousarray(np.broadcast_to(first, values.shape))
        # Bytes tell a zero from its negative.
        if whole.tobytes() == np.ascontiguousarray(values).tobytes():
            values = first
    return np.ascontiguousarray(values)
