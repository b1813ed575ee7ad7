"""Where a model can end, so that ncnn takes what is before."""

from __future__ import annotations

from collections.abc import Callable, Collection

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.operators import WEIGHTED

_RESHAPING = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})


def ends_before(graph: Graph, refused: Collection[str], is_known: Callable[[gs.Tensor], bool]) -> list[str]:
    """Names of the tensors from which all that cannot be computed, and what follows it, is computed.

    Empty where layers with weights follow, so that the rest is no end of the model, or nothing would be left.

    Args:
        graph: sorted.
        refused: names of tensors that cannot be computed.
        is_known: whether a tensor's value depends on no input.
    """
    behind = set(refused)
    ends: dict[str, None] = {}
    for node in graph.nodes:
        if all(is_known(tensor) for tensor in node.outputs):
            continue
        if not behind & {tensor.name for tensor in [*node.inputs, *node.outputs]}:
            continue
        if node.op in WEIGHTED and any(isinstance(tensor, gs.Constant) for tensor in node.inputs):
            return []
        behind |= {tensor.name for tensor in node.outputs}
        ends |= dict.fromkeys(tensor.name for tensor in node.inputs if tensor.inputs and not is_known(tensor))
    given = [tensor.name for tensor in graph.outputs if tensor.inputs]
    ends |= dict.fromkeys(given)
    makers = {tensor.name: node for node in graph.nodes for tensor in node.outputs}
    # What is but another shape of one of them follows from it.
    reshaped = {name for name in ends if makers[name].op in _RESHAPING and makers[name].inputs[0].name in ends}
    return [name for name in ends if name not in behind and (name in given or name not in reshaped)]
