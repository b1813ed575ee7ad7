"""Layers whose weights are codes, and giving them others."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.decoding import constants_of

Array = np.ndarray[Any, Any]


def decoder_of(tensor: gs.Tensor) -> gs.Node | None:
    """The DequantizeLinear with constant scale and zero point that makes a tensor."""
    maker = tensor.inputs[0] if tensor.inputs else None
    if maker is None or maker.op != "DequantizeLinear":
        return None
    return maker if all(isinstance(part, gs.Constant) for part in maker.inputs[1:]) else None


def is_one_scale(node: gs.Node) -> bool:
    """Whether a QuantizeLinear or DequantizeLinear has one constant scale and zero point for all values."""
    return all(isinstance(part, gs.Constant) and part.values.size == 1 for part in node.inputs[1:])


def zero_of(decode: gs.Node, like: Array) -> Array:
    """The zero point of a DequantizeLinear, or zero as a code."""
    return decode.inputs[2].values if len(decode.inputs) > 2 else np.zeros((), like.dtype)


def codes_of(node: gs.Node) -> Array:
    """The codes of a layer's weight."""
    codes: Array = node.inputs[1].inputs[0].inputs[0].values
    return codes


def give_codes(graph: Graph, node: gs.Node, codes: Array, copies: int = 1) -> None:
    """Give a layer other codes for its weight, in place.

    Args:
        graph: gets the nodes that decode them.
        node: a layer of codes, whose bias is constant or decoded from constants.
        codes: with the outputs first.
        copies: how often the outputs are there, one copy behind the other; their scales and biases then are as well.
    """
    for slot, tensor in enumerate(node.inputs[1:], start=1):
        values = [np.asarray(constant.values) for constant in constants_of(tensor) or []]
        values = [np.tile(value, copies) if value.ndim == 1 and value.size > 1 else value for value in values]
        if slot == 1:
            values[0] = np.ascontiguousarray(codes)
        name = f"{node.name}_blocks_{slot}"
        made = [gs.Constant(f"{name}_{place}", value) for place, value in enumerate(values)]
        if isinstance(tensor, gs.Constant):
            node.inputs[slot] = made[0]
            continue
        node.inputs[slot] = gs.Variable(f"{name}_decoded", tensor.dtype)
        attrs = dict(tensor.inputs[0].attrs)
        graph.nodes.append(gs.Node("DequantizeLinear", f"{name}_decoded", attrs, made, [node.inputs[slot]]))
