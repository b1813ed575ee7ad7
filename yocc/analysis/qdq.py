"""QuantizeLinear/DequantizeLinear pairs: their parameters, putting them in, taking them out, storing codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.target import TensorScheme
from yocc.errors import InternalError

Array = np.ndarray[Any, Any]
SMALLEST_SCALE = 2.0**-24
"""Scales are never zero: a channel of zeros has codes of zero at any scale, and runtimes divide by it."""


@dataclass(frozen=True)
class Coding:
    """Scale and zero point of a tensor: value = scale * (code - zero_point).

    Attributes:
        scale: float32, shape [] or [channels].
        zero_point: int8, uint8, int16 or uint16, the scale's shape.
        axis: the channel axis when there are several scales.
        readers: names of the nodes that read an activation's codes, None for all; others read its values.
    """

    scale: Array
    zero_point: Array
    axis: int | None = None
    readers: frozenset[str] | None = None

    def codes(self, values: Array, scheme: TensorScheme) -> Array:
        """Codes of values, rounded half to even as ONNX does, outside the range cut off."""
        scale, zero_point = self._spread(self.scale, values.ndim), self._spread(self.zero_point, values.ndim)
        # In float32 throughout, because runtimes round that quotient and not the exact one.
        with np.errstate(over="ignore"):
            coded = np.rint(values.astype(np.float32) / scale) + zero_point.astype(np.float32)
        codes: Array = np.clip(coded, scheme.lowest, scheme.highest).astype(self.zero_point.dtype)
        return codes

    def _spread(self, values: Array, rank: int) -> Array:
        if self.axis is None:
            return values
        return values.reshape([-1 if index == self.axis else 1 for index in range(rank)])


def code_range(low: float, high: float, scheme: TensorScheme) -> Coding:
    """Coding for one range, widened to hold zero exactly, as padding and ReLU need it."""
    low, high = min(low, 0.0), max(high, 0.0)
    dtype = _dtype(scheme)
    if scheme.symmetric and scheme.signed:
        scale = max(high / scheme.highest, low / scheme.lowest, SMALLEST_SCALE)
        return Coding(np.array(scale, np.float32), np.array(0, dtype))
    if scheme.symmetric:
        middle = _middle(scheme)
        scale = max(high / (scheme.highest - middle), -low / middle, SMALLEST_SCALE)
        return Coding(np.array(scale, np.float32), np.array(middle, dtype))
    scale = max((high - low) / (scheme.highest - scheme.lowest), SMALLEST_SCALE)
    zero_point = np.clip(np.rint(scheme.lowest - low / scale), scheme.lowest, scheme.highest)
    return Coding(np.array(scale, np.float32), np.array(zero_point, dtype))


def code_weight(weight: Array, axis: int | None, scheme: TensorScheme, floor: Array | None = None) -> Coding:
    """Symmetric coding of a weight by its largest magnitude, for each channel of `axis`.

    Args:
        weight: the weight.
        axis: its output channel axis; None for one scale.
        scheme: how it is coded.
        floor: least scale for each channel, shape [channels] or None.
    """
    rest = tuple(index for index in range(weight.ndim) if index != axis) if axis is not None else None
    middle = _middle(scheme)
    scale = np.abs(weight.astype(np.float64)).max(axis=rest, initial=0.0) / (scheme.highest - middle)
    scale = np.maximum(scale, SMALLEST_SCALE if floor is None else np.maximum(floor, SMALLEST_SCALE))
    scale = np.asarray(scale, dtype=np.float32)
    return Coding(scale, np.full(scale.shape, middle, dtype=_dtype(scheme)), axis)


def insert_qdq(graph: Graph, tensors: Mapping[str, Coding], weights: Mapping[tuple[str, int], Coding]) -> int:
    """Put a pair behind each named activation and each named constant, which stays float until `store_codes`.

    A constant that several layers read in the same coding gets one pair for all of them.

    Returns:
        The number of pairs.
    """
    known = graph.tensors()
    taken = set(known)
    for name, coding in tensors.items():
        _insert_after(graph, known[name], coding, taken)
    nodes = {node.name: node for node in graph.nodes}
    shared: dict[tuple[object, ...], gs.Variable] = {}
    for (name, slot), coding in weights.items():
        node = nodes[name]
        constant = node.inputs[slot]
        form = (constant.name, coding.axis, coding.scale.tobytes(), coding.zero_point.tobytes())
        if form not in shared:
            shared[form] = _pair(graph, constant, coding, constant.name, taken)
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


def store_codes(graph: Graph, scheme: TensorScheme) -> int:
    """Replace each constant in front of a QuantizeLinear to the scheme's integer type by its codes.

    Returns:
        The number of constants.
    """
    stored = 0
    for node in list(graph.nodes):
        if node.op != "QuantizeLinear" or not all(isinstance(tensor, gs.Constant) for tensor in node.inputs):
            continue
        if len(node.inputs) < 3 or node.inputs[2].dtype != _dtype(scheme):
            continue
        constant, scale, zero_point = node.inputs
        coding = Coding(scale.values, zero_point.values, node.attrs.get("axis", 1) if scale.values.ndim else None)
        output = node.outputs[0]
        _drop(graph, node)
        output.to_constant(coding.codes(constant.values, scheme))
        stored += 1
    return stored


def code_bias(graph: Graph, node: gs.Node, input_scale: Array, weight_scale: Array) -> bool:
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


def _insert_after(graph: Graph, tensor: gs.Variable, coding: Coding, taken: set[str]) -> None:
    readers = [node for node in tensor.outputs if coding.readers is None or node.name in coding.readers]
    result = _pair(graph, tensor, coding, tensor.name, taken)
    for reader in readers:
        _replace_input(reader, tensor, result)


def _pair(graph: Graph, tensor: gs.Tensor, coding: Coding, name: str, taken: set[str]) -> gs.Variable:
    parts = ("scale", "zero_point", "codes", "dequantized")
    while any(f"{name}_{part}" in taken for part in parts):
        name += "_"
    taken.update(f"{name}_{part}" for part in parts)
    attributes = {} if coding.axis is None else {"axis": coding.axis}
    scale = gs.Constant(f"{name}_scale", coding.scale)
    zero_point = gs.Constant(f"{name}_zero_point", coding.zero_point)
    codes = gs.Variable(f"{name}_codes", dtype=coding.zero_point.dtype)
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


def _middle(scheme: TensorScheme) -> int:
    """The code of zero in a symmetric scheme."""
    return 0 if scheme.signed else (scheme.highest + 1) // 2


def _dtype(scheme: TensorScheme) -> Any:
    width = 8 if scheme.bits <= 8 else 16
    return np.dtype(f"{'int' if scheme.signed else 'uint'}{width}")
