"""Reductions as sums over stated axes, for OpenVINO, which reads no axes of three of them between opsets 13 and 17.

ReduceL1, ReduceLogSum and ReduceLogSumExp reduce over everything there: its frontend looks for the axes in an input,
where opset 18 puts them.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.rewrites.emitting import Emitter

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
    emit = Emitter(graph, f"{node.name}_")
    source, result, dtype = node.inputs[0], node.outputs[0], node.inputs[0].dtype
    axes, keep = np.array(node.attrs["axes"], np.int64), int(node.attrs.get("keepdims", 1))
    node.outputs.clear()
    if node.op == "ReduceL1":
        emit_last = ("ReduceSum", [emit("Abs", source, dtype=dtype), axes], {"keepdims": keep})
    elif node.op == "ReduceLogSum":
        emit_last = ("Log", [emit("ReduceSum", source, axes, dtype=dtype, keepdims=keep)], {})
    else:
        largest = emit("ReduceMax", source, dtype=dtype, axes=axes.tolist(), keepdims=1)
        powers = emit("Exp", emit("Sub", source, largest, dtype=dtype), dtype=dtype)
        logarithm = emit("Log", emit("ReduceSum", powers, axes, dtype=dtype, keepdims=1), dtype=dtype)
        total = emit("Add", logarithm, largest, dtype=dtype)
        emit_last = ("Identity", [total], {}) if keep else ("Squeeze", [total, axes], {})
    op, inputs, attributes = emit_last
    operands = [each if isinstance(each, gs.Tensor) else emit.constant(each) for each in inputs]
    graph.nodes.append(gs.Node(op, f"{node.name}_last", attributes, operands, [result]))
