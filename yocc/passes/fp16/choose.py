"""Which nodes compute in fp16."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.heads import decode_nodes
from yocc.compiler.graph import Graph
from yocc.compiler.graph.nops import captured_names
from yocc.compiler.graph.operators import WEIGHTED
from yocc.passes.fp16.types import TYPED_BY_ATTRIBUTE, half_slots, is_float, is_opaque

HALF_MAX = float(np.finfo(np.float16).max)
_QDQ = ("QuantizeLinear", "DequantizeLinear")
_LEFT_ALONE = {
    "BatchNormalization": "the variance of BatchNormalization can vanish in fp16; fuse it first",
    "GRU": "a recurrence adds up rounding errors",
    "LSTM": "a recurrence adds up rounding errors",
    "RNN": "a recurrence adds up rounding errors",
}


@dataclass(frozen=True)
class Choice:
    """Which nodes compute in fp16.

    Attributes:
        half: names of the nodes that do.
        kept: for nodes on the way that do not, the reason.
        decode: names of the decode nodes, which never do.
    """

    half: frozenset[str]
    kept: Mapping[str, str]
    decode: frozenset[str]


def choose(graph: Graph, magnitudes: Mapping[str, float], limit: float, protected: frozenset[str]) -> Choice:
    """Decide for every node.

    Args:
        graph: without Casts between fp32 and fp16.
        magnitudes: largest magnitude of activations by tensor name, where measured.
        limit: the largest that becomes fp16.
        protected: names of tensors that keep their type.
    """
    decode = decode_nodes(graph)
    captured = captured_names(graph)
    on_data = _depends_on_data(graph)
    half: set[str] = set()
    kept: dict[str, str] = {}
    for node in graph.nodes:
        if node.op not in _QDQ and (node.name in decode or node.name not in on_data):
            continue
        if node.op in TYPED_BY_ATTRIBUTE:
            continue
        if not any(is_float(tensor) for tensor in node.outputs) and node.op != "QuantizeLinear":
            continue
        reason = _reason(node, graph.opset, captured, protected) or _too_large(node, magnitudes, limit)
        if reason:
            kept[node.name] = reason
        else:
            half.add(node.name)
    half -= _islands(graph, half)
    half -= _idle_pairs(graph, half)
    return Choice(frozenset(half), kept, frozenset(decode))


def _reason(node: gs.Node, opset: int, captured: set[str], protected: frozenset[str]) -> str:
    """Why a node cannot be fp16, whatever its values are; empty when it can."""
    if node.op in _LEFT_ALONE:
        return _LEFT_ALONE[node.op]
    if is_opaque(node, opset):
        return f"nothing is known of the types of {node.domain or 'onnx'}.{node.op}"
    slots = half_slots(node, opset)
    if slots is None or node.attrs.get("block_size", 0):
        return f"{node.op} has no fp16 form in opset {opset}"
    if _moves_batch_into_products(node):
        return "a transposition that moves the first axis into a product takes onnxruntime down in fp16"
    if any(tensor.name in captured for tensor in node.outputs):
        return "a subgraph reads its output"
    if any(tensor.name in protected for tensor in node.outputs):
        return "its output is protected"
    for slot in slots.inputs:
        tensor = node.inputs[slot]
        if isinstance(tensor, gs.Constant) and node.op not in _QDQ:
            magnitude = float(np.abs(tensor.values.astype(np.float64)).max(initial=0))
            if HALF_MAX < magnitude < np.inf:
                return f"its constant {tensor.name!r} reaches {magnitude:.6g}, above the {HALF_MAX:.0f} of fp16"
    return ""


def _moves_batch_into_products(node: gs.Node) -> bool:
    """Whether a Transpose moves the first axis to one of the last two, as `[time, batch, channels]` is turned around.

    onnxruntime 1.32 moves it in front of the next matrix product, past what is in between, and crashes while it fuses
    the two if the product is in half precision (MatmulTransposeFusion). Two axes that are then given a third are the
    same to it.
    """
    if node.op != "Transpose" or node.inputs[0].shape is None:
        return False
    rank = len(node.inputs[0].shape)
    perm = list(node.attrs.get("perm", reversed(range(rank))))
    if perm == [1, 0]:
        return any(reader.op in ("Reshape", "Unsqueeze") for reader in node.outputs[0].outputs)
    return rank > 2 and perm[:-2] == list(range(1, rank - 1))


def _too_large(node: gs.Node, magnitudes: Mapping[str, float], limit: float) -> str:
    if node.op in _QDQ:
        return ""
    for tensor in [*node.inputs, *node.outputs]:
        magnitude = magnitudes.get(tensor.name, 0.0)
        if not magnitude <= limit:
            return f"the activation {tensor.name!r} reaches {magnitude:.6g} on the pictures, above {limit:g}"
    return ""


def _depends_on_data(graph: Graph) -> set[str]:
    """Nodes whose result depends on values of graph inputs and not only on shapes and constants."""
    data = {tensor.name for tensor in graph.inputs}
    nodes = set()
    for node in graph.nodes:
        reads = {tensor.name for tensor in node.inputs}
        if node.op not in ("Shape", "Size") and (reads & data or any(True for _ in node.subgraphs())):
            nodes.add(node.name)
            data.update(tensor.name for tensor in node.outputs)
    return nodes


def _islands(graph: Graph, half: set[str]) -> set[str]:
    """Nodes of connected fp16 regions without any matrix product or table: two Casts for nothing."""
    region = {name: name for name in half}

    def find(name: str) -> str:
        while region[name] != name:
            region[name] = region[region[name]]
            name = region[name]
        return name

    working = set()
    for node in graph.nodes:
        if node.name not in half:
            continue
        for tensor in node.inputs:
            if tensor.inputs and tensor.inputs[0].name in half:
                region[find(node.name)] = find(tensor.inputs[0].name)
    for node in graph.nodes:
        if node.name in half and (node.op in WEIGHTED or _is_lookup(node)):
            working.add(find(node.name))
    return {name for name in half if find(name) not in working}


def _is_lookup(node: gs.Node) -> bool:
    """Whether a node looks up in a table of floats, which takes half the room."""
    return bool(node.op == "Gather" and isinstance(node.inputs[0], gs.Constant) and len(node.inputs[0].shape) > 1)


def _idle_pairs(graph: Graph, half: set[str]) -> set[str]:
    """Q/DQ whose result is read in fp32 only; walked backwards, as a QuantizeLinear follows its DequantizeLinear."""
    idle: set[str] = set()
    for node in reversed(graph.nodes):
        if node.op in _QDQ and node.name in half:
            readers = {reader.name for tensor in node.outputs for reader in tensor.outputs}
            if not readers & (half - idle):
                idle.add(node.name)
    return idle
