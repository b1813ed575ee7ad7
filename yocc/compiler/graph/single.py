"""Other float types of a graph become single precision; its inputs and outputs keep their type."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph

HALF = np.dtype(np.float16)
DOUBLE = np.dtype(np.float64)
_SINGLE = np.dtype(np.float32)


def to_single(graph: Graph, *types: np.dtype[Any]) -> int:
    """Convert constants and casts in place, and put a Cast at each input and output of one of the types.

    Values beyond single precision, such as a mask's -1e300, become its largest.

    Args:
        graph: without subgraphs and operators of other domains, whose types may depend on the types around them.
        types: what to convert [default: half precision].

    Returns:
        How many tensors were of these types.
    """
    types = types or (HALF,)
    found = [tensor for tensor in graph.tensors().values() if holds(tensor, *types)]
    inputs = [tensor for tensor in graph.inputs if holds(tensor, *types)]
    outputs = [tensor for tensor in graph.outputs if holds(tensor, *types)]
    originals = {id(tensor): np.dtype(tensor.dtype) for tensor in [*inputs, *outputs]}
    for tensor in found:
        if isinstance(tensor, gs.Constant):
            tensor.values = _converted(tensor.values)
        else:
            tensor.dtype = np.float32
    for node in graph.nodes:
        _convert_attributes(node, types)
    taken = set(graph.tensors())
    for tensor in inputs:
        _cast_input(graph, tensor, _twin(tensor, taken), originals[id(tensor)])
    for tensor in outputs:
        _cast_output(graph, tensor, _twin(tensor, taken), originals[id(tensor)])
    return len(found)


def holds(tensor: gs.Tensor, *types: np.dtype[Any]) -> bool:
    """Whether a tensor is of one of the types."""
    return tensor.dtype is not None and not isinstance(tensor.dtype, int) and np.dtype(tensor.dtype) in types


def is_half(tensor: gs.Tensor) -> bool:
    """Whether a tensor holds half precision."""
    return holds(tensor, HALF)


def _converted(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if values.dtype.itemsize > _SINGLE.itemsize:
        bounds = np.finfo(np.float32)
        values = np.where(np.isfinite(values), np.clip(values, bounds.min, bounds.max), values)
    return values.astype(np.float32)


def _convert_attributes(node: gs.Node, types: tuple[np.dtype[Any], ...]) -> None:
    codes = [code for each in types for code in (onnx.helper.np_dtype_to_tensor_dtype(each), each.type)]
    for name in ("to", "dtype", "output_dtype"):
        if name in node.attrs and node.attrs[name] in codes:
            node.attrs[name] = onnx.TensorProto.FLOAT
    for name, value in node.attrs.items():
        if isinstance(value, gs.Constant) and holds(value, *types):
            node.attrs[name] = gs.Constant(value.name, _converted(value.values))


def _twin(tensor: gs.Variable, taken: set[str]) -> gs.Variable:
    name = f"{tensor.name}_fp32"
    while name in taken:
        name += "_"
    taken.add(name)
    return gs.Variable(name, dtype=np.float32)


def _cast_input(graph: Graph, tensor: gs.Variable, twin: gs.Variable, original: np.dtype[Any]) -> None:
    for reader in list(tensor.outputs):
        for slot, read in enumerate(reader.inputs):
            if read is tensor:
                reader.inputs[slot] = twin
    for index, output in enumerate(graph.outputs):
        if output is tensor:
            graph.outputs[index] = twin
    tensor.dtype = original
    graph.nodes.insert(0, _cast(tensor, twin, _SINGLE))


def _cast_output(graph: Graph, tensor: gs.Variable, twin: gs.Variable, original: np.dtype[Any]) -> None:
    """The output keeps its name and type; what was computed under that name gets another."""
    if not tensor.inputs:
        return
    producer = tensor.inputs[0]
    producer.outputs[[output is tensor for output in producer.outputs].index(True)] = twin
    for reader in list(tensor.outputs):
        for slot, read in enumerate(reader.inputs):
            if read is tensor:
                reader.inputs[slot] = twin
    tensor.dtype = original
    graph.nodes.append(_cast(twin, tensor, original))


def _cast(source: gs.Variable, result: gs.Variable, to: np.dtype[Any]) -> gs.Node:
    return gs.Node("Cast", f"{result.name}_cast", {"to": onnx.helper.np_dtype_to_tensor_dtype(to)}, [source], [result])
