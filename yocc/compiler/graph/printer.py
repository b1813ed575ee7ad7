"""A graph as compact text: one line a node, the same text for the same graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph

LONGEST_LIST = 8
"""Elements of an attribute or a small constant that are printed before the rest is counted only."""
INLINE_CONSTANT = 4
"""Elements up to which a constant's values are printed: shapes, axes, scales."""


def print_graph(graph: Graph) -> str:
    """The whole graph as text of several lines, without a newline at the end; equal graphs give equal text.

    Each tensor is `name:dtype[shape]` where it is made and where it is a weight, and `name[shape]` where it is read
    again; a dimension nothing is known of is `?`, a shape nothing is known of `[...]`. Values of large weights are
    neither printed nor read from disk.
    """
    domains = sorted((entry.domain, entry.version) for entry in graph.import_domains or [] if entry.domain)
    opsets = "".join(f", {domain} {version}" for domain, version in domains)
    lines = [f"graph {graph.name!r} (opset {graph.opset}{opsets}, {len(graph.nodes)} nodes)"]
    lines += [f"metadata {key} = {_shorten(value)}" for key, value in sorted(graph.metadata.items())]
    lines += _lines(graph, "")
    return "\n".join(lines)


def _lines(graph: gs.Graph, indent: str) -> Iterator[str]:
    for tensor in graph.inputs:
        yield f"{indent}input  {_declared(tensor)}"
    width = max((len(_op(node)) for node in graph.nodes), default=0)
    for node in graph.nodes:
        inputs = ", ".join(_read(tensor) for tensor in node.inputs)
        outputs = ", ".join(_declared(tensor) for tensor in node.outputs)
        yield f"{indent}{_op(node):<{width}} {node.name}: {inputs} -> {outputs}{_attributes(node)}"
        for name, subgraph in sorted(_subgraphs(node)):
            yield f"{indent}  {name}:"
            yield from _lines(subgraph, indent + "    ")
    for tensor in graph.outputs:
        yield f"{indent}output {_declared(tensor)}"


def _subgraphs(node: gs.Node) -> Iterator[tuple[str, gs.Graph]]:
    for name, value in node.attrs.items():
        if isinstance(value, gs.Graph):
            yield name, value


def _op(node: gs.Node) -> str:
    return f"{node.domain}.{node.op}" if node.domain else str(node.op)


def _read(tensor: gs.Tensor) -> str:
    """A tensor among a node's inputs; its type was printed where it was made."""
    if isinstance(tensor, gs.Constant) or not tensor.name:
        return _declared(tensor)
    return f"{tensor.name}{_shape(tensor.shape)}"


def _declared(tensor: gs.Tensor) -> str:
    if not tensor.name:
        return "-"
    if isinstance(tensor, gs.Constant) and int(np.prod(tensor.shape)) <= INLINE_CONSTANT:
        return f"{tensor.name}:{_dtype(tensor.dtype)}{_shape(tensor.shape)}={_shorten(tensor.values.tolist())}"
    return f"{tensor.name}:{_dtype(tensor.dtype)}{_shape(tensor.shape)}"


def _dtype(dtype: Any) -> str:
    if dtype is None:
        return "?"
    if isinstance(dtype, int):
        return str(onnx.TensorProto.DataType.Name(dtype)).lower()
    return str(np.dtype(dtype).name)


def _shape(shape: Any) -> str:
    if shape is None:
        return "[...]"
    return "[" + ",".join("?" if size is None else str(size) for size in shape) + "]"


def _attributes(node: gs.Node) -> str:
    values = {name: value for name, value in node.attrs.items() if not isinstance(value, gs.Graph)}
    if not values:
        return ""
    return " {" + ", ".join(f"{name}={_attribute(value)}" for name, value in sorted(values.items())) + "}"


def _attribute(value: Any) -> str:
    if isinstance(value, gs.Tensor):
        return f"{_dtype(value.dtype)}{_shape(value.shape)}"
    return _shorten(value)


def _shorten(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        shown = ",".join(_shorten(one) for one in value[:LONGEST_LIST])
        more = f",...{len(value)}" if len(value) > LONGEST_LIST else ""
        return f"[{shown}{more}]"
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
