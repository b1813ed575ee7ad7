"""A graph as text, one operator a line, for looking at and for comparing by diff."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph

_LONGEST_VALUE = 4
"""Elements up to which a constant is printed with its values."""


def print_graph(graph: Graph) -> str:
    """The graph as text; equal graphs give equal text."""
    return "\n".join(_lines(graph))


def _lines(graph: Graph) -> Iterator[str]:
    inputs = ", ".join(_declared(tensor) for tensor in graph.inputs)
    outputs = ", ".join(_declared(tensor) for tensor in graph.outputs)
    yield f"graph {graph.name!r} opset {graph.opset} ({inputs}) -> ({outputs})"
    for node in graph.nodes:
        yield "  " + _node(node)


def _node(node: gs.Node) -> str:
    results = ", ".join(_declared(tensor) for tensor in node.outputs)
    operands = ", ".join(_operand(tensor) for tensor in node.inputs)
    domain = f"{node.domain}:" if node.domain else ""
    attributes = " ".join(f"{name}={_attribute(value)}" for name, value in sorted(node.attrs.items()))
    return f"{node.name}: {results} = {domain}{node.op}({operands})" + (f" {{{attributes}}}" if attributes else "")


def _declared(tensor: gs.Tensor) -> str:
    return f"{tensor.name} {_type(tensor.dtype)}{_shape(tensor.shape)}"


def _operand(tensor: gs.Tensor) -> str:
    if not isinstance(tensor, gs.Constant):
        return tensor.name or "-"
    count = int(np.prod(tensor.shape))
    if count <= _LONGEST_VALUE:
        return f"{_type(tensor.dtype)}{np.asarray(tensor.values).tolist()}"
    return f"{tensor.name}:{_type(tensor.dtype)}{_shape(tensor.shape)}"


def _shape(shape: Any) -> str:
    if shape is None:
        return "[*]"
    return "[" + ",".join("?" if dim is None else str(dim) for dim in shape) + "]"


def _type(dtype: Any) -> str:
    if dtype is None:
        return "?"
    if isinstance(dtype, int):
        return str(onnx.TensorProto.DataType.Name(dtype)).lower()
    return str(np.dtype(dtype))


def _attribute(value: Any) -> str:
    if isinstance(value, gs.Graph):
        return f"<graph of {len(value.nodes)} nodes>"
    if isinstance(value, gs.Constant):
        return _operand(value)
    if isinstance(value, float):
        return f"{value:.7g}"
    return str(value).replace(" ", "")
