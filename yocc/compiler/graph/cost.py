"""Parameters and multiply-accumulates (MACs), layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.decoding import decoded_weight
from yocc.compiler.graph.operators import OPS, WEIGHTED
from yocc.compiler.graph.shapes import Shapes

_KEEP_SHAPE = frozenset({"Cast", "DequantizeLinear", "Dropout", "Identity", "QuantizeLinear"})
"""Operators that hand on a weight of the same shape."""


@dataclass(frozen=True)
class LayerCost:
    """What one operator costs.

    Attributes:
        node: its name.
        op: its operator.
        parameters: trained values it reads; a constant read by several operators counts at the first.
        macs: multiply-accumulates for one run at the analysed input size; 0 where no weight matrix is multiplied.
        weight_shape: shape of its weight, or None.
        output_shape: shape of its first output, or None when unknown.
    """

    node: str
    op: str
    parameters: int
    macs: int
    weight_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Totals:
    """Sums over a graph: parameters as the literature counts them (running statistics are not trained) and MACs."""

    parameters: int
    macs: int


def layer_costs(graph: Graph, shapes: Shapes) -> list[LayerCost]:
    """Cost of every operator that has parameters or multiplies weights, in graph order."""
    counted: set[str] = set()
    layers = []
    for node in graph.nodes:
        facts = OPS.get(node.op)
        if facts is None or not facts.parameters:
            continue
        parameters = 0
        for slot in facts.parameters:
            weight = constant_behind(node, slot)
            if weight is not None and weight.name not in counted:
                counted.add(weight.name)
                parameters += int(np.prod(weight.shape))
        weight = weight_of(node)
        if not parameters and weight is None:
            continue
        output = shapes.of(node.outputs[0])
        layers.append(
            LayerCost(
                node.name,
                node.op,
                parameters,
                _macs(node, weight, shapes),
                None if weight is None else tuple(weight.shape),
                output,
            )
        )
    return layers


def totals(layers: Sequence[LayerCost]) -> Totals:
    """Sum up layers."""
    return Totals(sum(layer.parameters for layer in layers), sum(layer.macs for layer in layers))


def weight_of(node: gs.Node) -> gs.Constant | None:
    """The constant weight matrix of a weighted operator, seen through Q/DQ; None when it has none."""
    if node.op not in WEIGHTED:
        return None
    weight = constant_behind(node, 1)
    if weight is None and node.op == "MatMul":
        return constant_behind(node, 0)
    return weight


def constant_behind(node: gs.Node, slot: int) -> gs.Constant | None:
    """The constant at an input slot, also behind operators that keep its shape, or decoded from codes."""
    if slot >= len(node.inputs):
        return None
    tensor = node.inputs[slot]
    while not isinstance(tensor, gs.Constant):
        if not tensor.inputs or tensor.inputs[0].op not in _KEEP_SHAPE:
            return decoded_weight(tensor)
        tensor = tensor.inputs[0].inputs[0]
    return tensor


def _macs(node: gs.Node, weight: gs.Constant | None, shapes: Shapes) -> int:
    output, data = shapes.of(node.outputs[0]), shapes.of(node.inputs[0])
    if weight is None or output is None or data is None:
        return 0
    size = int(np.prod(weight.shape))
    if node.op == "Conv":
        return size * int(np.prod(output[2:])) * output[0]
    if node.op == "ConvTranspose":
        return size * int(np.prod(data[2:])) * data[0]
    if node.op == "Gemm":
        return size * output[0]
    inner = shapes.of(node.inputs[1])
    if constant_behind(node, 1) is None and inner is not None:
        return size * int(np.prod(inner[-1:]))
    return size * int(np.prod(output[:-1]))
