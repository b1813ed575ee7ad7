"""A layer as two thinner ones: the rewrite of `yocc.analysis.ranks`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.ranks.layers import Layer
from yocc.compiler.graph import Graph
from yocc.fitting.low_rank import Factors

Array = np.ndarray[Any, Any]


def split_layer(graph: Graph, layer: Layer, parts: Factors, shift: Array) -> gs.Node:
    """Replace a layer by two; the second keeps its name, its output and its bias.

    Args:
        graph: gets a new node.
        layer: a layer of the graph.
        parts: the two matrices.
        shift: what is added to its bias, shape [outputs]; ignored where there is no place for one.

    Returns:
        The new node, which comes first.
    """
    node, rank = layer.node, len(parts.first)
    names = _free_names(graph, f"{node.name}_low_rank")
    kind = node.inputs[1].values.dtype
    middle = gs.Variable(next(names), dtype=node.outputs[0].dtype)
    weight = _constant(next(names), _shaped(layer, parts.first, rank), kind)
    attributes = {name: value for name, value in node.attrs.items() if node.op not in ("Gemm", "MatMul")}
    first = gs.Node(node.op, middle.name, attributes, [node.inputs[0], weight], [middle], domain=node.domain)
    if node.op == "MatMul":
        node.inputs = [middle, _constant(next(names), parts.second.T, kind)]
        if layer.bias is not None:
            _add_to_bias(layer.bias, shift, next(names))
    elif node.op == "Gemm":
        first.attrs["transB"] = 1
        bias = layer.own_bias() + shift
        node.attrs = {"transB": 1}
        node.inputs = [middle, _constant(next(names), parts.second, kind), _constant(next(names), bias, kind)]
    else:
        ones = [1] * (node.inputs[1].values.ndim - 2)
        pointwise = parts.second.reshape(*parts.second.shape, *ones)
        bias = layer.own_bias() + shift
        node.op, node.attrs = "Conv", {"kernel_shape": ones}
        node.inputs = [middle, _constant(next(names), pointwise, kind), _constant(next(names), bias, kind)]
    graph.nodes.insert(next(place for place, other in enumerate(graph.nodes) if other is node), first)
    return first


def _shaped(layer: Layer, matrix: Array, rank: int) -> Array:
    """The first matrix in the form of the layer's weight."""
    node = layer.node
    if node.op == "MatMul":
        return matrix.T
    if node.op == "Gemm":
        return matrix
    shape = list(node.inputs[1].shape)
    if node.op == "Conv":
        return matrix.reshape(rank, *shape[1:])
    return np.moveaxis(matrix.reshape(rank, shape[0], *shape[2:]), 0, 1)


def _add_to_bias(addition: gs.Node, shift: Array, name: str) -> None:
    slot = next(place for place, operand in enumerate(addition.inputs) if isinstance(operand, gs.Constant))
    values = addition.inputs[slot].values
    moved = values.astype(np.float64) + shift.reshape(values.shape)
    addition.inputs[slot] = _constant(name, moved, values.dtype)


def _constant(name: str, values: Array, kind: Any) -> gs.Constant:
    return gs.Constant(name, np.ascontiguousarray(values, dtype=kind))


def _free_names(graph: Graph, stem: str) -> Iterator[str]:
    """Names that nothing in a graph has, the stem first."""
    taken = set(graph.tensors()) | {node.name for node in graph.nodes}
    number = 0
    while True:
        name = stem if number == 0 else f"{stem}_{number}"
        if name not in taken:
            yield name
        number += 1
