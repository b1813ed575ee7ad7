"""What removing channels does, in a graph that keeps its shapes: the channels are zero."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.pipeline.lineage import Teacher

MOVES_ZERO = frozenset({"BatchNormalization", "HardSigmoid", "Sigmoid"})
"""Operators behind a layer that go with its channels and make something else of zero."""


def without_channels(graph: Graph, lineage: Teacher | None, earlier: Teacher | None) -> Graph | None:
    """A copy of a graph with the channels zero that a pass removed; None where it removed none.

    Args:
        graph: before the pass; not changed.
        lineage: of the graph after the pass.
        earlier: of the graph before it.
    """
    masked, removed = clone(graph), False
    nodes = {node.name: node for node in masked.nodes}
    for name, kept in ({} if lineage is None else lineage.kept).items():
        node = nodes.get(name)
        had = None if earlier is None else earlier.kept.get(name)
        if node is None or node.op != "Conv" or not isinstance(node.inputs[1], gs.Constant):
            continue
        count = int(node.inputs[1].shape[0])
        left = kept if had is None else np.searchsorted(had, kept)
        if len(left) >= count or (len(left) and int(left.max()) >= count):
            continue
        _zero(masked, node, np.isin(np.arange(count), left))
        removed = True
    if not removed:
        return None
    refresh(masked)
    return masked


def _zero(graph: Graph, node: gs.Node, kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
    """Multiply what a convolution gives, behind what goes with its channels, by 1 and 0."""
    last = node
    while len(last.outputs[0].outputs) == 1 and last.outputs[0].outputs[0].op in MOVES_ZERO:
        last = last.outputs[0].outputs[0]
    tensor = last.outputs[0]
    shape = [1, -1] + [1] * (node.inputs[1].values.ndim - 2)
    mask = gs.Constant(f"yocc/kept/{node.name}", kept.astype(tensor.dtype or np.float32).reshape(shape))
    whole = gs.Variable(f"yocc/whole/{tensor.name}", tensor.dtype, tensor.shape)
    last.outputs[0] = whole
    graph.nodes.append(gs.Node("Mul", f"yocc/keep/{node.name}", {}, [whole, mask], [tensor]))


def layer_before(node: gs.Node) -> gs.Node:
    """The layer that an operator behind it goes with."""
    while node.op in MOVES_ZERO and node.inputs and node.inputs[0].inputs:
        node = node.inputs[0].inputs[0]
    return node
