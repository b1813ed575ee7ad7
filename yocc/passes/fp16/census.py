"""How much of the arithmetic is in which type, read from the finished graph and not from what was intended."""

from __future__ import annotations

from typing import Any

from yocc.compiler.graph import Graph
from yocc.compiler.graph.census import KINDS, Kind, kind_of
from yocc.compiler.graph.cost import layer_costs
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import PassContext
from yocc.passes.fp16.types import is_float


def take_census(graph: Graph, ctx: PassContext) -> dict[str, Any]:
    """Share of MACs and of weights, and number of nodes, in int8, fp16 and fp32; the number of Casts."""
    nodes = {node.name: node for node in graph.nodes}
    macs, weights = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    for layer in layer_costs(graph, concrete_shapes(graph, ctx.input_shapes)):
        kind = kind_of(nodes[layer.node])
        macs[kind] += layer.macs
        weights[kind] += layer.parameters
    counts = dict.fromkeys(KINDS, 0)
    for node in graph.nodes:
        if node.op != "Cast" and any(is_float(tensor) for tensor in node.outputs):
            counts[kind_of(node)] += 1
    casts = sum(node.op == "Cast" and is_float(node.inputs[0]) and is_float(node.outputs[0]) for node in graph.nodes)
    return {"macs": _shares(macs), "weights": _shares(weights), "nodes": counts, "casts": casts}


def _shares(counts: dict[Kind, int]) -> dict[Kind, float]:
    total = sum(counts.values())
    return {kind: count / total if total else 0.0 for kind, count in counts.items()}
