"""Which constants onnxsim must not compute: it does so first, and looks at how large they are afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph.evaluating import BOUNDED
from yocc.compiler.graph.order import captured

MOST_BYTES = 2**26
"""Of a constant that may be computed on the way to a smaller one."""
_DOMAIN = "yocc.hidden"
"""An operator of an unknown domain is left alone."""
_WIDEST = 8
"""Bytes of the widest element."""
_SEQUENCES = frozenset({"ConcatFromSequence", "SequenceAt", "SequenceConstruct", "SequenceErase", "SequenceInsert"})
_AS_LARGE = BOUNDED | _SEQUENCES | {"SequenceLength", "SplitToSequence"}
"""Operators whose result is about as large as what they read, where its shape is not known."""
_ENDLESS = frozenset({"Loop", "Scan"})


def hide(model: onnx.ModelProto, graph: gs.Graph, tell: Callable[[str, str], object]) -> None:
    """Move nodes into an unknown domain whose constants would take too much memory or time.

    Args:
        model: the graph as it is handed over.
        graph: with inferred shapes; nodes have the same names.
        tell: receives a reason and a node.
    """
    nodes = {node.name: node for node in graph.nodes}
    sizes = {tensor.name: _WIDEST * math.prod(tensor.dims) for tensor in model.graph.initializer}
    for node in model.graph.node:
        read = captured(node)
        if node.op_type == "Constant" or not read or not read <= sizes.keys():
            continue
        size = _bytes(node, nodes[node.name], sum(sizes[name] for name in read))
        sizes.update(dict.fromkeys(node.output, 0 if size is None else size))
        if node.domain or node.op_type == "If" or (size is not None and size <= MOST_BYTES):
            continue
        wanted = "an unknown amount of memory" if size is None else f"about {size / 1e6:,.0f} MB"
        tell(f"{node.op_type} is not computed ahead: its constant would take {wanted}.", node.name)
        node.domain = _DOMAIN
    if any(node.domain == _DOMAIN for node in model.graph.node):
        model.opset_import.append(onnx.helper.make_opsetid(_DOMAIN, 1))


def show(model: onnx.ModelProto) -> None:
    """Move the nodes back."""
    for node in model.graph.node:
        if node.domain == _DOMAIN:
            node.ClearField("domain")
    kept = [opset for opset in model.opset_import if opset.domain != _DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _bytes(proto: onnx.NodeProto, node: gs.Node, read: int) -> int | None:
    """Bytes of a node's results at most; None when that is not known."""
    if proto.op_type in _ENDLESS:
        return None
    total = 0
    for tensor in node.outputs:
        if tensor.shape is not None and all(isinstance(dim, int) and dim >= 0 for dim in tensor.shape):
            total += _WIDEST * math.prod(tensor.shape)
        elif proto.op_type in _AS_LARGE:
            total += _WIDEST * read
        else:
            return None
    return total
