"""Nodes that hand on their input unchanged: removed without changing one bit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph

_OPEN_END = 2**31 - 1
"""Slice ends from here on mean "to the end": exporters write INT32_MAX, INT64_MAX or a little less."""


def remove_nops(graph: Graph, ops: Collection[str] | None = None) -> int:
    """Remove nodes that change nothing.

    The names, types and order of graph inputs and outputs stay. What a subgraph captures is left alone.

    Args:
        graph: with inferred shapes and types.
        ops: only these operators; None for all that are known.

    Returns:
        How many nodes were removed.
    """
    captured = captured_names(graph)
    removed: set[int] = set()
    for node in list(graph.nodes):
        if ops is not None and node.op not in ops:
            continue
        if any(tensor.name in captured for tensor in [*node.inputs, *node.outputs]):
            continue
        if _bypass(node, graph):
            removed.add(id(node))  # names can repeat until `refresh`
    graph.nodes = [node for node in graph.nodes if id(node) not in removed]
    return len(removed)


def captured_names(graph: Graph) -> set[str]:
    """Names of everything that If, Loop and Scan bodies mention, tensors of the outer graph among them."""
    return {
        tensor.name
        for subgraph in graph.subgraphs(recursive=True)
        for tensor in [*subgraph.tensors().values(), *subgraph.outputs]
    }


def _bypass(node: gs.Node, graph: Graph) -> bool:
    """Let a node's consumers read its input, if the node changes nothing."""
    find = _SOURCES.get(node.op)
    if find is None or node.domain:
        return False
    source = find(node, graph)
    if source is None:
        return False
    output = node.outputs[0]
    if not _is_output(output, graph):
        node.inputs.clear()
        node.outputs.clear()
        replace_reads(output, source)
        return True
    if not source.inputs or _is_output(source, graph) or source.dtype != output.dtype:
        return False
    producer = source.inputs[0]
    slot = next(index for index, tensor in enumerate(producer.outputs) if tensor is source)
    node.inputs.clear()
    node.outputs.clear()
    producer.outputs[slot] = output
    replace_reads(source, output)
    return True


def replace_reads(old: gs.Tensor, new: gs.Tensor) -> None:
    """Let the readers of one tensor read another."""
    for consumer in list(old.outputs):
        for slot, tensor in enumerate(consumer.inputs):
            if tensor is old:
                consumer.inputs[slot] = new


def _is_output(tensor: gs.Tensor, graph: Graph) -> bool:
    return any(tensor is output for output in graph.outputs)


def _identity(node: gs.Node, graph: Graph) -> gs.Tensor | None:
    return node.inputs[0]


def _dropout(node: gs.Node, graph: Graph) -> gs.Tensor | None:
    mask = node.outputs[1] if len(node.outputs) > 1 else None
    if mask is not None and (mask.outputs or _is_output(mask, graph)):
        return None
    training = _input(node, 2)
    if training is not None and not (isinstance(training, gs.Constant) and not training.values.any()):
        return None
    return node.inputs[0]


def _cast(node: gs.Node, graph: Graph) -> gs.Tensor | None:
    """A Cast to the type there is, or the way back from a wider type that holds every value of it."""
    source, wanted = node.inputs[0], _wanted_dtype(node)
    if wanted is None or source.dtype is None:
        return None
    if source.dtype == wanted:
        return source
    if not source.inputs or source.inputs[0].op != "Cast":
        return None
    first = source.inputs[0].inputs[0]
    if first.dtype == wanted and not isinstance(source.dtype, int) and np.can_cast(wanted, source.dtype, "safe"):
        return first
    return None


def _reshape(node: gs.Node, graph: Graph) -> gs.Tensor | None:
    shape, wanted = node.inputs[0].shape, _integers(_input(node, 1))
    if shape is None or wanted is None or len(shape) != len(wanted) or node.attrs.get("allowzero"):
        return None
    if sum(want == -1 for want in wanted) > 1:
        return None
    same = all(want in (0, -1) or want == dim for want, dim in zip(wanted, shape, strict=True))
    return node.inputs[0] if same else None


def _transpose(node: gs.Node, graph: Graph) -> gs.Tensor | None:
    order = node.attrs.get("perm")
    if order is None:
        return None
    source = node.inputs[0]
    if order and list(order) == sorted(order):
        return source
    before = source.inputs[0] if source.inputs else None
    if before is None or before.op != "Transpose" or "perm" not in before.attrs:
        return None
    if [before.attrs["perm"][axis] for axis in order] == list(range(len(order))):
        return before.inputs[0]
    return None


def _concat(node: gs.Node, graph: Graph) -> gs.Tensor | None:
    return node.inputs[0] if len(node.inputs) == 1 else None


def _pad(node: gs.Node, graph: Graph) -> gs.Tensor | None:
    pads = list(node.attrs.get("pads", ())) if graph.opset < 11 else _integers(_input(node, 1))
    return node.inputs[0] if pads is not None and not any(pads) else None


def _slice(node: gs.Node, graph: Graph) -> gs.Tensor | None:
    if graph.opset < 10:
        starts, ends = node.attrs.get("starts"), node.attrs.get("ends")
        axes, steps = node.attrs.get("axes"), None
    else:
        starts, ends = _integers(_input(node, 1)), _integers(_input(node, 2))
        axes, steps = _integers(_input(node, 3)), _integers(_input(node, 4))
        if (_input(node, 3) is not None and axes is None) or (_input(node, 4) is not None and steps is None):
            return None
    if starts is None or ends is None or any(step != 1 for step in steps or ()):
        return None
    shape = node.inputs[0].shape
    for axis, start, end in zip(axes if axes is not None else range(len(starts)), starts, ends, strict=True):
        size = shape[axis] if shape is not None and isinstance(shape[axis], int) else sys.maxsize
        if not (start == 0 or start <= -size) or end < min(size, _OPEN_END):
            return None
    return node.inputs[0]


_SOURCES: dict[str, Callable[[gs.Node, Graph], gs.Tensor | None]] = {
    "Identity": _identity,
    "Dropout": _dropout,
    "Cast": _cast,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Concat": _concat,
    "Pad": _pad,
    "Slice": _slice,
}
"""For each operator, the input that equals its first output, or None when there is none."""


def _wanted_dtype(node: gs.Node) -> np.dtype[np.generic] | None:
    """Type a Cast makes, where numpy has it."""
    wanted = node.attrs.get("to")
    if wanted in (None, onnx.TensorProto.STRING):
        return None
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(wanted)) if isinstance(wanted, int) else np.dtype(wanted)


def _input(node: gs.Node, slot: int) -> gs.Tensor | None:
    return node.inputs[slot] if len(node.inputs) > slot and node.inputs[slot].name else None


def _integers(tensor: gs.Tensor | None) -> list[int] | None:
    if not isinstance(tensor, gs.Constant):
        return None
    return [int(value) for value in np.ravel(tensor.values)]
