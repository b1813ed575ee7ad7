"""Parameters and multiply-accumulates (MACs), layer by layer."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.decoding import decoded_weight
from yocc.compiler.graph.operators import OPS, RECURRENT, WEIGHTED
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.graph.types import numpy_type

_KEEP_SHAPE = frozenset({"Cast", "DequantizeLinear", "Dropout", "Identity", "QuantizeLinear"})
"""Operators that hand on a weight of the same shape."""


@dataclass(frozen=True)
class LayerCost:
    """What one operator costs: a layer, a recurrent network, or an embedding (a Gather of rows of a constant table).

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
    computed = _computed_from_constants(graph)
    for node in graph.nodes:
        found = {slot: _parameter(node, slot, shapes, computed) for slot in _parameter_slots(node)}
        parameters = 0
        for weight in found.values():
            if weight is not None and weight.name not in counted:
                counted.add(weight.name)
                parameters += math.prod(weight.shape)
        matrix = _matrix(node, found)
        if not parameters and matrix is None:
            continue
        # Outputs may be left out.
        output = shapes.of(next((tensor for tensor in node.outputs if tensor.name), node.outputs[0]))
        layers.append(LayerCost(node.name, node.op, parameters, _macs(node, found, shapes), matrix, output))
    return layers


@dataclass(frozen=True)
class _Parameter:
    """A trained parameter: the name under which it counts once, and its shape."""

    name: str
    shape: tuple[int, ...]


def _parameter_slots(node: gs.Node) -> tuple[int, ...]:
    if node.op in RECURRENT and not node.domain:
        return RECURRENT[node.op]
    if node.op == "Gather":
        return (0,) if not isinstance(node.inputs[1], gs.Constant) else ()
    facts = OPS.get(node.op)
    return () if facts is None else facts.parameters


def _parameter(node: gs.Node, slot: int, shapes: Shapes, computed: Collection[str]) -> _Parameter | None:
    """The parameter at an input slot, also if constants of another shape are computed into it."""
    if slot >= len(node.inputs) or not node.inputs[slot].name:
        return None
    if node.op == "Gather" and not _is_table(node.inputs[0], shapes):
        return None
    weight = constant_behind(node, slot)
    if weight is not None:
        return _Parameter(weight.name, tuple(weight.shape))
    tensor = node.inputs[slot]
    shape = shapes.of(tensor) if tensor.name in computed else None
    return None if shape is None else _Parameter(tensor.name, tuple(shape))


def _is_table(tensor: gs.Tensor, shapes: Shapes) -> bool:
    """Whether rows of a tensor may be embeddings: numbers that are no sizes, of at least two axes."""
    kind = None if tensor.dtype is None else np.dtype(numpy_type(tensor.dtype)).kind
    return kind == "f" and len(shapes.of(tensor) or ()) > 1


def _computed_from_constants(graph: Graph) -> set[str]:
    """Variables that depend on no input."""
    found: set[str] = set()
    for node in graph.nodes:
        read = [tensor for tensor in node.inputs if tensor.name]
        known = all(isinstance(tensor, gs.Constant) or tensor.name in found for tensor in read)
        if read and known and not any(True for _ in node.subgraphs()):
            found |= {tensor.name for tensor in node.outputs}
    return found


def _matrix(node: gs.Node, found: Mapping[int, _Parameter | None]) -> tuple[int, ...] | None:
    """Shape of the weight that an operator multiplies by, or looks rows up in."""
    weight = found.get(0) if node.op == "Gather" else found.get(1)
    if node.op == "MatMul" and weight is None:
        weight = found.get(0)
    multiplies = node.op in WEIGHTED or node.op in RECURRENT or node.op == "Gather"
    return weight.shape if multiplies and weight is not None else None


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


def _macs(node: gs.Node, found: Mapping[int, _Parameter | None], shapes: Shapes) -> int:
    output, data = shapes.of(node.outputs[0]), shapes.of(node.inputs[0])
    shape = _matrix(node, found)
    if shape is None or data is None or node.op == "Gather":
        return 0
    size = math.prod(shape)
    if node.op in RECURRENT:
        # Every direction multiplies both matrices at each step of each sequence.
        recurrent = found.get(2)
        return (size + (0 if recurrent is None else math.prod(recurrent.shape))) * math.prod(data[:2])
    if output is None:
        return 0
    if node.op == "Conv":
        return size * math.prod(output[2:]) * output[0]
    if node.op == "ConvTranspose":
        return size * math.prod(data[2:]) * data[0]
    if node.op == "Gemm":
        return size * output[0]
    inner = shapes.of(node.inputs[1])
    if found.get(1) is None and inner is not None:
        return size * math.prod(inner[-1:])
    return size * math.prod(output[:-1])
