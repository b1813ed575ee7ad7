"""`Constant` nodes, which become constants when a model is loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

_ATTRIBUTES = (
    ("value_float", np.float32),
    ("value_floats", np.float32),
    ("value_int", np.int64),
    ("value_ints", np.int64),
)


def constants_from_nodes(graph: gs.Graph) -> None:
    """Turn `Constant` nodes into constants, so that passes meet weights in one form only."""
    others = []
    for node in graph.nodes:
        values = _value(node.attrs) if node.op == "Constant" else None
        if values is None or any(tensor is node.outputs[0] for tensor in graph.outputs):
            others.append(node)
            continue
        output = node.outputs[0]
        node.outputs.clear()
        output.to_constant(values)
    graph.nodes = others


def _value(attributes: dict[str, Any]) -> np.ndarray[Any, Any] | LazyValues | None:
    if "value" in attributes:
        values: np.ndarray[Any, Any] | LazyValues = attributes["value"]._values
        return values
    for name, dtype in _ATTRIBUTES:
        if name in attributes:
            return np.array(attributes[name], dtype=dtype)
    return None
