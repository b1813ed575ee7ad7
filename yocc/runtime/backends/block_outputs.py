"""Two outputs side by side as the channels of one, until they are quantized."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.runtime.backends.coded_layers import is_one_scale
from yocc.runtime.backends.rewriting import TO_FIRST, TO_LAST, picture_shape, reshape_to

PAIR = 2
"""Outputs that become one."""
MOST_OUTPUTS = 48
"""Layers with more channels are as fast one by one."""
_ABSORBED = ("Relu", "Clip")


def can_pair(graph: Graph, node: gs.Node) -> bool:
    """Whether a layer gives few channels, in an even number of columns, to one quantization with one scale."""
    shape = picture_shape(node.outputs[0])
    if not shape or shape[0] == 1 or shape[0] > MOST_OUTPUTS or shape[2] % PAIR:
        return False
    return _reader(graph, node) is not None


def take_apart(graph: Graph, node: gs.Node) -> None:
    """Put the two outputs of each place side by side, behind their quantization. With channels last they lie so."""
    result, quantize = node.outputs[0], _reader(graph, node)
    assert quantize is not None  # as `can_pair` says
    _, channels, height, width = result.shape
    paired, reader = gs.Variable(f"{result.name}_paired", result.dtype), result.outputs[0]
    node.outputs[0], reader.inputs[0] = paired, paired
    codes = quantize.outputs[0]
    pairs, last, apart = (gs.Variable(f"{codes.name}_{suffix}", codes.dtype) for suffix in ("pairs", "last", "apart"))
    quantize.outputs[0] = pairs
    graph.nodes += [
        gs.Node("Transpose", last.name, {"perm": TO_LAST}, [pairs], [last]),
        reshape_to(last, (-1, height, width, channels), apart),
        gs.Node("Transpose", f"{codes.name}_first", {"perm": TO_FIRST}, [apart], [codes]),
    ]


def _reader(graph: Graph, node: gs.Node) -> gs.Node | None:
    """The QuantizeLinear that alone reads a layer, perhaps behind an activation that it absorbs."""
    tensor = node.outputs[0]
    for _ in range(2):
        reader = tensor.outputs[0] if len(tensor.outputs) == 1 else None
        if reader is None or any(tensor is output for output in graph.outputs):
            return None
        if reader.op == "QuantizeLinear":
            return reader if is_one_scale(reader) else None
        if reader.op not in _ABSORBED:
            return None
        tensor = reader.outputs[0]
    return None
