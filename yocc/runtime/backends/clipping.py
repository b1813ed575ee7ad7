"""Relu and Clip on codes: what they cut off is cut off by the codes' own range, or else in 8 bits.

Rounding keeps order, so that to clip and quantize is to quantize and clip at the codes of the bounds. The least and the
largest code do that by themselves; then nothing stands between a layer and its quantization.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.operators import WEIGHTED
from yocc.runtime.backends.coded_layers import is_one_scale

Array = np.ndarray[Any, Any]


def clip_codes(graph: Graph) -> int:
    """Move Relu and Clip between a layer or sum and its quantization behind that, in place; codes stay the same.

    Args:
        graph: a graph with Q/DQ pairs.

    Returns:
        The number of nodes moved or left out.
    """
    if graph.opset < 12:  # the first that clips bytes
        return 0
    found = [node for node in graph.nodes if node.op in ("Relu", "Clip") and _fits(graph, node)]
    for node in found:
        _rewrite(graph, node)
    if found:
        refresh(graph)
    return len(found)


def _fits(graph: Graph, node: gs.Node) -> bool:
    source, result = node.inputs[0], node.outputs[0]
    if any(tensor is source or tensor is result for tensor in graph.outputs) or len(source.outputs) != 1:
        return False
    if not source.inputs or source.inputs[0].op not in WEIGHTED | {"Add"} or len(result.outputs) != 1:
        return False
    quantize = result.outputs[0]
    if quantize.op != "QuantizeLinear" or not is_one_scale(quantize):
        return False
    return all(
        isinstance(bound, gs.Constant) and bound.values.size == 1 for bound in _bounds(node) if bound is not None
    )


def _bounds(node: gs.Node) -> tuple[gs.Tensor | None, gs.Tensor | None]:
    """Of a Clip: the least and the largest value; None where there is none."""
    given = [tensor if tensor.name else None for tensor in node.inputs[1:]]
    low, high, *_ = [*given, None, None]
    return low, high


def _rewrite(graph: Graph, node: gs.Node) -> None:
    quantize, source = node.outputs[0].outputs[0], node.inputs[0]
    low, high = (0.0, None) if node.op == "Relu" else (_value(bound) for bound in _bounds(node))
    quantize.inputs[0] = source
    node.outputs.clear()
    node.inputs.clear()
    codes = quantize.outputs[0]
    kind = np.iinfo(quantize.inputs[2].dtype if len(quantize.inputs) > 2 else np.uint8)
    ends = [None if value is None else _code(value, quantize, kind) for value in (low, high)]
    if (ends[0] is None or ends[0] == kind.min) and (ends[1] is None or ends[1] == kind.max):
        return
    whole, name = gs.Variable(f"{codes.name}_whole", codes.dtype), f"{codes.name}_clip"
    quantize.outputs[0] = whole
    limits = [kind.min if ends[0] is None else ends[0], kind.max if ends[1] is None else ends[1]]
    bounds = [gs.Constant(f"{name}_{end}", np.array(end, kind.dtype)) for end in limits]
    graph.nodes.append(gs.Node("Clip", name, {}, [whole, *bounds], [codes]))


def _value(bound: gs.Tensor | None) -> float | None:
    return None if bound is None else float(bound.values.reshape(-1)[0])


def _code(value: float, quantize: gs.Node, kind: Any) -> int:
    """As QuantizeLinear rounds it."""
    scale = np.float32(quantize.inputs[1].values.reshape(-1)[0])
    zero = int(quantize.inputs[2].values.reshape(-1)[0]) if len(quantize.inputs) > 2 else 0
    return int(np.clip(np.rint(np.float32(value) / scale) + zero, kind.min, kind.max))
