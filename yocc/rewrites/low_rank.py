"""A layer as two thinner ones: the rewrite of `yocc.analysis.ranks`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.ranks.layers import Layer
from yocc.analysis.ranks.spectra import Split
from yocc.compiler.graph import Graph

Array = np.ndarray[Any, Any]


def split_layer(graph: Graph, layer: Layer, parts: Split) -> gs.Node:
    """Replace a layer by two; the second keeps its name, its output and its bias.

    Args:
        graph: gets a new node.
        layer: a layer of the graph.
        parts: the weights of the two; where there is no place for a bias, the shift is ignored.

    Returns:
        The new node, which comes first.
    """
    node = layer.node
    names = _free_names(graph, f"{node.name}_low_rank")
    kind, bias = node.inputs[1].values.dtype, layer.own_bias()
    middle = gs.Variable(next(names), dtype=node.outputs[0].dtype)
    first = gs.Node(node.op, middle.name, {}, [node.inputs[0]], [middle], domain=node.domain)
    if node.op == "MatMul":
        weights = parts.first.T, parts.second.T
    elif node.op == "Gemm":
        weights = parts.first, parts.second
        first.attrs, node.attrs = {"transB": 1}, {"transB": 1}
    elif parts.form == "outputs":
        weights = _as_convolutions(node, parts)
        first.attrs, node.attrs = dict(node.attrs), {"kernel_shape": list(weights[1].shape[2:])}
        node.op = "Conv"
    else:
        weights, axis = _separated(parts), 0 if parts.form == "vertical" else 1
        first.attrs, node.attrs = _attributes_along(node, axis), _attributes_along(node, 1 - axis)
    first.inputs.append(_constant(next(names), weights[0], kind))
    second = _constant(next(names), weights[1], kind)
    if node.op == "MatMul":
        node.inputs = [middle, second]
        if layer.bias is not None:
            _add_to_bias(layer.bias, parts.shift, next(names))
    else:
        node.inputs = [middle, second, _constant(next(names), bias + parts.shift, kind)]
    graph.nodes.insert(next(place for place, other in enumerate(graph.nodes) if other is node), first)
    return first


def _as_convolutions(node: gs.Node, parts: Split) -> tuple[Array, Array]:
    """The weights of a convolution to fewer channels, in the form of the layer's, and of one by points."""
    rank, shape = len(parts.first), list(node.inputs[1].shape)
    second = parts.second.reshape(*parts.second.shape, *[1] * (len(shape) - 2))
    if node.op == "Conv":
        return parts.first.reshape(rank, *shape[1:]), second
    return np.moveaxis(parts.first.reshape(rank, shape[0], *shape[2:]), 0, 1), second


def _separated(parts: Split) -> tuple[Array, Array]:
    """The weights of kernels along one axis and along the other."""
    if parts.form == "vertical":
        return parts.first[:, :, :, None], parts.second[:, :, None, :]
    return parts.first[:, :, None, :], parts.second[:, :, :, None]


def _attributes_along(node: gs.Node, axis: int) -> dict[str, Any]:
    """A convolution's attributes where it works along one axis of the picture alone."""
    found = dict(node.attrs)
    found["kernel_shape"] = [1, 1]
    found["kernel_shape"][axis] = node.inputs[1].shape[2 + axis]
    for name in ("strides", "dilations"):
        if name in found:
            found[name] = [value if place == axis else 1 for place, value in enumerate(found[name])]
    if "pads" in found:
        found["pads"] = [value if place % 2 == axis else 0 for place, value in enumerate(found["pads"])]
    return found


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
