"""Reductions as sums over stated axes, for OpenVINO, which reads no axes of three of them between opsets 13 and 17.

ReduceL1, ReduceLogSum and ReduceLogSumExp reduce over everything there: its frontend looks for the axes in an input,
where opset 18 puts them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.writing import Writer

_OPSETS = range(13, 18)
_REDUCTIONS = frozenset({"ReduceL1", "ReduceLogSum", "ReduceLogSumExp"})


def sum_over_axes(graph: Graph) -> int:
    """Write the reductions that would lose their axes as ReduceSum, in place; the same function but for rounding.

    The logarithm of a sum of exponentials is taken of what exceeds the largest value, so that none overflows.

    Returns:
        How many nodes were replaced.
    """
    if graph.opset not in _OPSETS:
        return 0
    nodes = [node for node in graph.nodes if node.op in _REDUCTIONS and not node.domain and node.attrs.get("axes")]
    for node in nodes:
        _replace(graph, node)
    if nodes:
        refresh(graph)
    return len(nodes)


def _replace(graph: Graph, node: gs.Node) -> None:
    writer = Writer(graph)
    source, result, dtype = node.inputs[0], node.outputs[0], node.inputs[0].dtype
    axes = writer.constant(f"{node.name}_axes", np.array(node.attrs["axes"], np.int64))
    keep = int(node.attrs.get("keepdims", 1))

    def emit(op: str, *inputs: gs.Tensor, **attributes: Any) -> gs.Variable:
        return writer.node(op, f"{node.name}_{op}", list(inputs), dtype, attributes)

    node.outputs.clear()
    op, inputs, attributes = "Log", [source], {}
    if node.op == "ReduceL1":
        op, inputs, attributes = "ReduceSum", [emit("Abs", source), axes], {"keepdims": keep}
    elif node.op == "ReduceLogSum":
        inputs = [emit("ReduceSum", source, axes, keepdims=keep)]
    else:
        largest = emit("ReduceMax", source, axes=list(node.attrs["axes"]), keepdims=1)
        powers = emit("Exp", emit("Sub", source, largest))
        total = emit("Add", emit("Log", emit("ReduceSum", powers, axes, keepdims=1)), largest)
        op, inputs = ("Identity", [total]) if keep else ("Squeeze", [total, axes])
    graph.nodes.append(gs.Node(op, f"{node.name}_last", attributes, inputs, [result]))
