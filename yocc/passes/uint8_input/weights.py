"""What is done to pixels, done to the weights of the layers that read them instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.types import numpy_type

Array = np.ndarray[Any, Any]
_ALONE = frozenset({"Identity", "Slice", "Transpose", "Split", "SpaceToDepth", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that only move the values of their first input."""


def fold_unit(graph: Graph, tensor: gs.Variable, unit: Array, channel: int) -> bool:
    """Multiply the weights of the layers that read a tensor; whether these are all that reads it.

    One factor goes through operators that only move values; one for each channel needs layers that read the tensor
    itself. Zeros that layers pad with stay zeros.

    Args:
        graph: changed in place.
        tensor: what is to be multiplied.
        unit: one factor, or one for each channel.
        channel: axis of the channels.
    """
    single = np.unique(unit).size == 1
    layers = _layers_behind(graph, tensor, _ALONE | {"Concat"} if single else frozenset({"Identity"}))
    if layers is None or not all(_is_plain(node) for node in layers):
        return False
    if not single and (channel != 1 or any(node.attrs.get("group", 1) != 1 for node in layers)):
        return False
    factor = unit[:1] if single and unit.ndim else unit
    for node in layers:
        values = node.inputs[1].values
        spread = factor if single else factor.reshape(-1, *([1] * (values.ndim - 2)))
        _replace(graph, node, (values * spread).astype(values.dtype))
    return True


def reverse_channels(graph: Graph, tensor: gs.Variable, channel: int) -> bool:
    """Reverse the input channels of the layers that read a tensor; whether these are all that reads it."""
    layers = _layers_behind(graph, tensor, frozenset({"Identity", "QuantizeLinear", "DequantizeLinear"}), _per_tensor)
    if layers is None or channel != 1 or any(node.attrs.get("group", 1) != 1 for node in layers):
        return False
    weights = [_stored(node) for node in layers]
    if any(weight is None for weight in weights):
        return False
    for node, weight in zip(layers, weights, strict=True):
        reader, constant = weight or (node, node.inputs[1])
        slot = next(slot for slot, each in enumerate(reader.inputs) if each is constant)
        reader.inputs[slot] = gs.Constant(_unused(graph, constant.name), np.ascontiguousarray(constant.values[:, ::-1]))
    return True


def _layers_behind(
    graph: Graph, tensor: gs.Variable, through: frozenset[str], allowed: Callable[[gs.Node], bool] = lambda _: True
) -> list[gs.Node] | None:
    """The convolutions that a tensor reaches, None where something else computes with it."""
    reached = {id(tensor): tensor}
    given = {id(each) for each in graph.outputs}
    layers = []
    for node in graph.nodes:
        places = [slot for slot, each in enumerate(node.inputs) if id(each) in reached]
        if not places:
            continue
        if node.op == "Conv" and places == [0]:
            layers.append(node)
        elif (node.op in through and allowed(node) and _moves(node, places)) or _converts(node):
            reached |= {id(each): each for each in node.outputs}
        else:
            return None
    own = {id(node) for node in graph.nodes}
    inside = any(id(node) not in own for each in reached.values() for node in each.outputs)  # of an If or Loop
    return None if inside or reached.keys() & given or not layers else layers


def _moves(node: gs.Node, places: list[int]) -> bool:
    return len(places) == len(node.inputs) if node.op == "Concat" else places == [0]


def _converts(node: gs.Node) -> bool:
    return node.op == "Cast" and numpy_type(node.outputs[0].dtype or np.int64).kind == "f"


def _per_tensor(node: gs.Node) -> bool:
    return "Linear" not in node.op or (isinstance(node.inputs[1], gs.Constant) and node.inputs[1].values.size == 1)


def _is_plain(node: gs.Node) -> bool:
    return isinstance(node.inputs[1], gs.Constant) and numpy_type(node.inputs[1].dtype).kind == "f"


def _stored(node: gs.Node) -> tuple[gs.Node, gs.Constant] | None:
    """A layer's weight and what reads it: the layer, or the DequantizeLinear in front of it."""
    weight = node.inputs[1]
    if isinstance(weight, gs.Constant):
        return node, weight
    maker = weight.inputs[0] if weight.inputs else None
    if maker is None or maker.op != "DequantizeLinear" or len(weight.outputs) != 1 or maker.attrs.get("block_size", 0):
        return None
    scale, stored = maker.inputs[1], maker.inputs[0]
    if not isinstance(scale, gs.Constant) or not isinstance(stored, gs.Constant):
        return None
    return (maker, stored) if scale.values.size == 1 or maker.attrs.get("axis", 1) == 0 else None


def _replace(graph: Graph, node: gs.Node, values: Array) -> None:
    node.inputs[1] = gs.Constant(_unused(graph, node.inputs[1].name), np.ascontiguousarray(values))


def _unused(graph: Graph, name: str) -> str:
    taken = graph.tensors()
    name = f"{name}_of_bytes"
    while name in taken:
        name += "_"
    return name
