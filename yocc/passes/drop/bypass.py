"""Leaving a block out: its readers read its entry, and the mean of what it added goes into their biases."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.blocks import Block
from yocc.compiler.graph import Graph
from yocc.compiler.graph.nops import captured_names
from yocc.compiler.graph.padding import explicit_pads
from yocc.compiler.graph.shapes import Shapes

Array = np.ndarray[Any, Any]


def bypass(graph: Graph, shapes: Shapes, block: Block, shift: Array | None, axis: int) -> frozenset[str]:
    """Take a block out of a graph; its nodes are left without readers.

    Args:
        graph: changed in place.
        shapes: its concrete shapes.
        block: of this graph; no subgraph reads its exit.
        shift: what is added to the entry instead, shape [channels]; None for nothing.
        axis: of the channels.

    Returns:
        Names of the nodes that read another tensor than they did.
    """
    tensors = graph.tensors() | {tensor.name: tensor for tensor in graph.inputs}
    entry, end = tensors[block.entry], tensors[block.exit]
    readers = list(end.outputs)
    if shift is not None and shift.any() and not _absorb(graph, shapes, end, shift, axis):
        entry = _added(graph, entry, shift, axis, f"{block.name}_mean")
    for node in readers:
        for slot, tensor in enumerate(node.inputs):
            if tensor is end:
                node.inputs[slot] = entry
    return frozenset(node.name for node in readers)


def _added(graph: Graph, entry: gs.Variable, shift: Array, axis: int, name: str) -> gs.Variable:
    """The entry plus the shift, computed by a node."""
    shape = [1] * len(entry.shape)
    shape[axis] = len(shift)
    constant = gs.Constant(f"{name}_value", shift.astype(entry.dtype).reshape(shape))
    found = gs.Variable(f"{name}_output", entry.dtype, entry.shape)
    graph.nodes.append(gs.Node("Add", name, inputs=[entry, constant], outputs=[found]))
    return found


def _absorb(graph: Graph, shapes: Shapes, tensor: gs.Variable, shift: Array, axis: int) -> bool:
    """Add what a shift of a tensor makes of its readers' outputs to their biases, if all of them have such."""
    kept = {end.name for end in graph.outputs} | captured_names(graph)
    found = list(_behind(tensor, shift, axis, shapes, kept))
    changes = [change for change in found if change is not None]
    if len(changes) < len(found):
        return False
    for node, change in changes:
        bias = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2].name else None
        before = np.zeros(len(change)) if bias is None else bias.values.astype(np.float64)
        moved = gs.Constant(f"{node.name}_moved_bias", (before + change).astype(node.inputs[1].dtype))
        node.inputs = [*node.inputs[:2], moved]
    return True


def _behind(
    tensor: gs.Variable, shift: Array, axis: int, shapes: Shapes, kept: set[str]
) -> Iterator[tuple[gs.Node, Array] | None]:
    """The layers that a shift reaches, each with the change of its bias; None for a reader that cannot take it in."""
    if tensor.name in kept:
        yield None
    for node in {node.name: node for node in tensor.outputs}.values():
        change = _change(node, tensor, shift, axis, shapes)
        if change is not None:
            yield node, change
        elif node.op == "Add" and _keeps_shape(node, shapes):
            yield from _behind(node.outputs[0], shift, axis, shapes, kept)
        elif node.op == "Concat" and node.attrs["axis"] % len(shapes.shapes[tensor.name]) == axis:
            yield from _behind(node.outputs[0], _among(node, tensor, shift, axis, shapes), axis, shapes, kept)
        else:
            yield None


def _keeps_shape(node: gs.Node, shapes: Shapes) -> bool:
    sizes = [shapes.of(tensor) for tensor in [*node.inputs, *node.outputs]]
    return sizes[0] is not None and all(size == sizes[0] for size in sizes) and node.inputs[0] is not node.inputs[1]


def _among(node: gs.Node, tensor: gs.Variable, shift: Array, axis: int, shapes: Shapes) -> Array:
    """The shift of a Concat's output."""
    parts = [shift if each is tensor else np.zeros(shapes.shapes[each.name][axis]) for each in node.inputs]
    return np.concatenate(parts)


def _change(node: gs.Node, tensor: gs.Variable, shift: Array, axis: int, shapes: Shapes) -> Array | None:
    """What a shift of its input adds to each output of a Conv; None where that differs from place to place."""
    if node.op != "Conv" or node.inputs[0] is not tensor or axis != 1:
        return None
    weight = node.inputs[1]
    if not all(isinstance(each, gs.Constant) for each in node.inputs[1:] if each.name):
        return None
    if math.prod(weight.shape[2:]) > 1 and any(explicit_pads(node, shapes.shapes[tensor.name][2:], weight.shape[2:])):
        return None
    values = weight.values.astype(np.float64).reshape(*weight.shape[:2], -1).sum(axis=2)
    groups = int(node.attrs.get("group", 1))
    rows = values.reshape(groups, -1, values.shape[1])
    found: Array = np.einsum("gnc,gc->gn", rows, shift.reshape(groups, -1)).reshape(-1)
    return found
