"""Constant folding of weights: what onnxsim, which is not shown large weights, cannot fold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, node_proto
from yocc.compiler.graph.evaluating import compute
from yocc.compiler.graph.nops import captured_names, replace_reads

_HANDED_ON = frozenset({"Identity"})
"""Removed by `remove_nops`, so that what several layers read stays one constant."""
_NEVER = _HANDED_ON | frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
    | {"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"}
)
"""Random numbers, and codes that are there to be smaller than what they decode to."""
_SMALL = 2**20
"""Bytes a folded constant may always have."""
_GROWTH = 2
"""Times its inputs' bytes a larger one may have: fp16 weights become fp32, but nothing is expanded into the file."""


def fold_constants(graph: Graph) -> int:
    """Compute every node that reads constants only; needs inferred shapes. Equal nodes become one constant.

    Returns:
        How many nodes became constants.
    """
    kept = {tensor.name for tensor in graph.outputs} | captured_names(graph)
    folded = set()
    known: dict[tuple[object, ...], gs.Constant] = {}
    for node in graph.nodes:
        if not _may_fold(node, kept):
            continue
        recipe = _recipe(node)
        value = None if recipe in known else _compute(node, graph.opset)
        if value is None and recipe not in known:
            continue
        output = node.outputs[0]
        node.inputs.clear()
        node.outputs.clear()
        if recipe in known:
            replace_reads(output, known[recipe])
        else:
            output.to_constant(value)
            known[recipe] = output
        folded.add(node.name)
    graph.nodes = [node for node in graph.nodes if node.name not in folded]
    return len(folded)


def _may_fold(node: gs.Node, kept: set[str]) -> bool:
    if node.op in _NEVER or node.domain or len(node.outputs) != 1 or node.outputs[0].name in kept:
        return False
    sources, output = [tensor for tensor in node.inputs if tensor.name], node.outputs[0]
    if not sources or not all(isinstance(tensor, gs.Constant) for tensor in sources) or any(node.subgraphs()):
        return False
    if output.shape is None or not all(isinstance(dim, int) for dim in output.shape):
        return False
    if not all(isinstance(tensor.dtype, np.dtype) for tensor in [*sources, output]):
        return False
    if node.op == "Cast" and sources[0].dtype == np.uint8:
        return False  # where packed codes begin to be decoded
    size = math.prod(output.shape) * output.dtype.itemsize
    return bool(size <= max(_SMALL, _GROWTH * sum(_bytes(tensor) for tensor in sources)))


def _recipe(node: gs.Node) -> tuple[object, ...]:
    """What the node's value depends on."""
    attributes = sorted(each.SerializeToString(deterministic=True) for each in node_proto(node).attribute)
    return node.op, tuple(tensor.name for tensor in node.inputs), tuple(attributes)


def _bytes(constant: gs.Constant) -> int:
    count: int = math.prod(constant.shape)
    return count * int(constant.dtype.itemsize)


def _compute(node: gs.Node, opset: int) -> np.ndarray[Any, Any] | None:
    """The node's value by onnx's reference implementation; None when that has no such operator or refuses."""
    output = node.outputs[0]
    results = compute(node_proto(node), opset, {tensor.name: tensor.values for tensor in node.inputs if tensor.name})
    if results is None:
        return None
    value = results[0]
    if value.shape != tuple(output.shape) or value.dtype != output.dtype:
        return None
    return value
