"""QuantizeLinear/DequantizeLinear pairs: putting them in, taking them out, storing quantized constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.quant_params import QuantParams, quantized_type
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.target import TensorScheme
from yocc.errors import InternalError

Array = np.ndarray[Any, Any]


def insert_qdq(graph: Graph, tensors: Mapping[str, QuantParams], weights: Mapping[tuple[str, int], QuantParams]) -> int:
    """Put a pair behind each named activation and each named constant, which stays float until `store_quantized`.

    A constant that several layers read quantized the same way gets one pair for all of them.

    Returns:
        The number of pairs.
    """
    known = graph.tensors()
    taken = set(known)
    for name, params in tensors.items():
        _insert_after(graph, known[name], params, taken)
    nodes = {node.name: node for node in graph.nodes}
    shared: dict[tuple[object, ...], gs.Variable] = {}
    for (name, slot), params in weights.items():
        node = nodes[name]
        constant = node.inputs[slot]
        form = (constant.name, params.axis, params.scale.tobytes(), params.zero_point.tobytes())
        if form not in shared:
            shared[form] = _pair(graph, constant, params, constant.name, taken)
        node.inputs[slot] = shared[form]
    return len(tensors) + len(shared)


def strip_qdq(graph: Graph) -> int:
    """Take out every pair, leaving the graph as it was before `insert_qdq`.

    Returns:
        The number of pairs taken out.
    """
    taken = 0
    for node in list(graph.nodes):
        makers = node.inputs[0].inputs if node.op == "DequantizeLinear" else []
        if not makers or makers[0].op != "QuantizeLinear":
            continue
        quantize = makers[0]
        source, result = quantize.inputs[0], node.outputs[0]
        for reader in list(result.outputs):
            _replace_input(reader, result, source)
        _drop(graph, node)
        if not any(tensor.outputs for tensor in quantize.outputs):
            _drop(graph, quantize)
        taken += 1
    return taken


def store_quantized(graph: Graph, scheme: TensorScheme) -> int:
    """Replace each constant in front of a QuantizeLinear to the scheme's integer type by its quantized values.

    Returns:
        The number of constants.
    """
    stored = 0
    for node in list(graph.nodes):
        if node.op != "QuantizeLinear" or not all(isinstance(tensor, gs.Constant) for tensor in node.inputs):
            continue
        if len(node.inputs) < 3 or node.inputs[2].dtype != quantized_type(scheme):
            continue
        constant, scale, zero_point = node.inputs
        params = QuantParams(scale.values, zero_point.values, node.attrs.get("axis", 1) if scale.values.ndim else None)
        output = node.outputs[0]
        _drop(graph, node)
        output.to_constant(params.quantize(constant.values, scheme))
        stored += 1
    return stored


def quantize_bias(graph: Graph, node: gs.Node, input_scale: Array, weight_scale: Array) -> bool:
    """Store a layer's bias as int32 with the scale of its products; True when it has a constant bias a channel."""
    if not has_vector_bias(node) or weight_scale.size not in (1, node.inputs[2].values.size):
        return False
    bias = node.inputs[2]
    scale = np.broadcast_to(input_scale * weight_scale, bias.values.shape).astype(np.float32)
    codes = np.rint(bias.values.astype(np.float64) / scale)
    if np.abs(codes).max(initial=0) >= 2**31:
        raise InternalError(f"The bias of {node.name} overflows int32; its weight's scale has no floor.")
    name = f"{bias.name}_{node.name}"
    output = gs.Variable(f"{name}_dequantized", dtype=np.float32)
    graph.nodes.append(
        gs.Node(
            "DequantizeLinear",
            f"{name}_dequantize",
            {"axis": 0},
            [
                gs.Constant(f"{name}_codes", codes.astype(np.int32)),
                gs.Constant(f"{name}_scale", np.ascontiguousarray(scale)),
                gs.Constant(f"{name}_zero_point", np.zeros(scale.shape, dtype=np.int32)),
            ],
            [output],
        )
    )
    node.inputs[2] = output
    return True


def is_shared(constant: gs.Constant) -> bool:
    """Whether more than one node reads a constant, or one node more than once."""
    return len(constant.outputs) > 1


def has_vector_bias(node: gs.Node) -> bool:
    """Whether a layer has a constant bias of rank 1, the form that can be stored in int32."""
    return len(node.inputs) > 2 and isinstance(node.inputs[2], gs.Constant) and node.inputs[2].values.ndim == 1


def _insert_after(graph: Graph, tensor: gs.Variable, params: QuantParams, taken: set[str]) -> None:
    ends = {output.name for output in graph.outputs}
    readers = [
        node
        for node in tensor.outputs
        if params.readers is None or node.name in params.readers
        # An output that is a copy of the tensor is as exact as one that is the tensor itself.
        if not (node.op == "Identity" and node.outputs[0].name in ends)
    ]
    result = _pair(graph, tensor, params, tensor.name, taken)
    for reader in readers:
        _replace_input(reader, tensor, result)


def _pair(graph: Graph, tensor: gs.Tensor, params: QuantParams, name: str, taken: set[str]) -> gs.Variable:
    parts = ("scale", "zero_point", "codes", "dequantized")
    while any(f"{name}_{part}" in taken for part in parts):
        name += "_"
    taken.update(f"{name}_{part}" for part in parts)
    attributes = {} if params.axis is None else {"axis": params.axis}
    scale = gs.Constant(f"{name}_scale", params.scale)
    zero_point = gs.Constant(f"{name}_zero_point", params.zero_point)
    codes = gs.Variable(f"{name}_codes", dtype=params.zero_point.dtype)
    result = gs.Variable(f"{name}_dequantized", dtype=np.float32)
    graph.nodes.append(
        gs.Node("QuantizeLinear", f"{name}_quantize", dict(attributes), [tensor, scale, zero_point], [codes])
    )
    graph.nodes.append(
        gs.Node("DequantizeLinear", f"{name}_dequantize", dict(attributes), [codes, scale, zero_point], [result])
    )
    return result


def _drop(graph: Graph, node: gs.Node) -> None:
    node.inputs.clear()
    node.outputs.clear()
    graph.nodes = [other for other in graph.nodes if other is not node]


def _replace_input(node: gs.Node, old: gs.Tensor, new: gs.Tensor) -> None:
    for slot, tensor in enumerate(node.inputs):
        if tensor is old:
            node.inputs[slot] = new
