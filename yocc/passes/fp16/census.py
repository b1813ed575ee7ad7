"""How much of the arithmetic is in which type, read from the finished graph and not from what was intended."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs

from yocc.compiler.cost import layer_costs
from yocc.compiler.graph import Graph
from yocc.compiler.ops import WEIGHTED
from yocc.compiler.passes import PassContext
from yocc.compiler.shapes import concrete_shapes
from yocc.passes.fp16.types import HALF, is_float

KINDS = ("fp16", "fp32", "int8")


def take_census(graph: Graph, ctx: PassContext) -> dict[str, Any]:
    """Share of MACs and of weights, and number of nodes, in fp16, fp32 and int8; the number of Casts.

    A layer whose data and weights both come from DequantizeLinear counts as int8: that is how runtimes execute it.
    """
    nodes = {node.name: node for node in graph.nodes}
    macs, weights = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    for layer in layer_costs(graph, concrete_shapes(graph, ctx.input_shapes)):
        kind = _kind(nodes[layer.node])
        macs[kind] += layer.macs
        weights[kind] += layer.parameters
    counts = dict.fromkeys(KINDS, 0)
    for node in graph.nodes:
        if node.op != "Cast" and any(is_float(tensor) for tensor in node.outputs):
            counts[_kind(node)] += 1
    casts = sum(node.op == "Cast" and is_float(node.inputs[0]) and is_float(node.outputs[0]) for node in graph.nodes)
    return {"macs": _shares(macs), "weights": _shares(weights), "nodes": counts, "casts": casts}


def _kind(node: gs.Node) -> str:
    if node.op in WEIGHTED and all(_is_dequantized(tensor) for tensor in node.inputs[:2]):
        return "int8"
    return "fp16" if node.outputs[0].dtype == HALF else "fp32"


def _is_dequantized(tensor: gs.Tensor) -> bool:
    return bool(tensor.inputs) and tensor.inputs[0].op == "DequantizeLinear"


def _shares(counts: dict[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {kind: count / total if total else 0.0 for kind, count in counts.items()}
