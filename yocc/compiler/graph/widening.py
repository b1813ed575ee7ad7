"""Widening half precision: what a graph stores or computes in fp16 becomes fp32; inputs and outputs keep their type."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph

_HALF = onnx.TensorProto.FLOAT16
_SINGLE = onnx.TensorProto.FLOAT


def widen(graph: Graph) -> int:
    """Widen constants and casts in place, and put a Cast at each fp16 input and output.

    Args:
        graph: without subgraphs and operators of other domains, whose types may depend on the types around them.

    Returns:
        How many tensors were in half precision.
    """
    halves = [tensor for tensor in graph.tensors().values() if is_half(tensor)]
    inputs = [tensor for tensor in graph.inputs if is_half(tensor)]
    outputs = [tensor for tensor in graph.outputs if is_half(tensor)]
    for tensor in halves:
        if isinstance(tensor, gs.Constant):
            tensor.values = tensor.values.astype(np.float32)
        else:
            tensor.dtype = np.float32
    for node in graph.nodes:
        _widen_attributes(node)
    taken = set(graph.tensors())
    for tensor in inputs:
        _cast_input(graph, tensor, _wide(tensor, taken))
    for tensor in outputs:
        _cast_output(graph, tensor, _wide(tensor, taken))
    return len(halves)


def is_half(tensor: gs.Tensor) -> bool:
    """Whether a tensor holds half precision."""
    return tensor.dtype is not None and not isinstance(tensor.dtype, int) and np.dtype(tensor.dtype) == np.float16


def _widen_attributes(node: gs.Node) -> None:
    for name in ("to", "dtype", "output_dtype"):
        if name in node.attrs and node.attrs[name] in (_HALF, np.float16):
            node.attrs[name] = _SINGLE
    for name, value in node.attrs.items():
        if isinstance(value, gs.Constant) and is_half(value):
            node.attrs[name] = gs.Constant(value.name, value.values.astype(np.float32))


def _wide(tensor: gs.Variable, taken: set[str]) -> gs.Variable:
    name = f"{tensor.name}_fp32"
    while name in taken:
        name += "_"
    taken.add(name)
    return gs.Variable(name, dtype=np.float32)


def _cast_input(graph: Graph, tensor: gs.Variable, wide: gs.Variable) -> None:
    for reader in list(tensor.outputs):
        for slot, read in enumerate(reader.inputs):
            if read is tensor:
                reader.inputs[slot] = wide
    for index, output in enumerate(graph.outputs):
        if output is tensor:
            graph.outputs[index] = wide
    tensor.dtype = np.float16
    graph.nodes.insert(0, _cast(tensor, wide, _SINGLE))


def _cast_output(graph: Graph, tensor: gs.Variable, wide: gs.Variable) -> None:
    """The output keeps its name and type; what was computed under that name gets another."""
    if not tensor.inputs:
        return
    producer = tensor.inputs[0]
    producer.outputs[[output is tensor for output in producer.outputs].index(True)] = wide
    for reader in list(tensor.outputs):
        for slot, read in enumerate(reader.inputs):
            if read is tensor:
                reader.inputs[slot] = wide
    tensor.dtype = np.float16
    graph.nodes.append(_cast(wide, tensor, _HALF))


def _cast(source: gs.Variable, result: gs.Variable, to: Any) -> gs.Node:
    return gs.Node("Cast", f"{result.name}_cast", {"to": to}, [source], [result])
