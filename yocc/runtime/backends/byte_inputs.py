"""Bytes that a graph reads, quantized once more, for runtimes that compute in integers behind a quantization only."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh

_MOVES = frozenset({"Transpose", "Reshape", "Identity"})


def quantize_bytes(graph: Graph) -> int:
    """Put a Q/DQ pair of the same scale behind DequantizeLinear of what an input gives, in place.

    A code times its scale, divided by it, rounds to the code, so that values stay the same.

    Returns:
        The number of pairs.
    """
    bytes_ = {tensor.name for tensor in graph.inputs}
    found = []
    for node in graph.nodes:
        if not node.inputs or node.inputs[0].name not in bytes_:
            continue
        if node.op in _MOVES:
            bytes_.add(node.outputs[0].name)
        elif node.op == "DequantizeLinear" and not any(node.outputs[0] is output for output in graph.outputs):
            found.append(node)
    for node in found:
        _append_pair(graph, node)
    if found:
        refresh(graph)
    return len(found)


def _append_pair(graph: Graph, node: gs.Node) -> None:
    values, attrs = node.outputs[0], dict(node.attrs)
    codes = gs.Variable(f"{values.name}_codes", node.inputs[0].dtype)
    again = gs.Variable(f"{values.name}_again", values.dtype)
    for reader in list(values.outputs):
        reader.inputs = [again if tensor is values else tensor for tensor in reader.inputs]
    graph.nodes += [
        gs.Node("QuantizeLinear", codes.name, attrs, [values, *node.inputs[1:]], [codes]),
        gs.Node("DequantizeLinear", again.name, attrs, [codes, *node.inputs[1:]], [again]),
    ]
