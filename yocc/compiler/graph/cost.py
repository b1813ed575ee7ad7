"""Parameters and multiply-accumulates (MACs), layer by layer."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.biases import AddedBias, added_bias
from yocc.compiler.graph.decoding import decoded_weight
from yocc.compiler.graph.loops import steps
from yocc.compiler.graph.nops import captured_names
from yocc.compiler.graph.operators import OPS, RECURRENT, WEIGHTED
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.graph.types import numpy_type

_KEEP_SHAPE = frozenset({"Cast", "DequantizeLinear", "Dropout", "Identity", "QuantizeLinear"})
"""Operators that hand on a weight of the same shape."""
_SAME_VALUES = _KEEP_SHAPE | {"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators that hand on the values of a weight, in another shape perhaps."""
_EINSUM = "Einsum"


@dataclass(frozen=True)
class LayerCost:
    """What one operator costs: a layer, a recurrent network, or an embedding (a Gather of rows of a constant table).

    Attributes:
        node: its name.
        op: its operator.
        parameters: trained values it reads; a constant read by several operators counts at the first. What is added to
            the output of a layer without a bias is the layer's.
        macs: multiply-accumulates for one run at the analysed input size; 0 where no weight matrix is multiplied.
        weight_shape: shape of its weight, or None.
        output_shape: shape of its first output, or None when unknown.
        added: the Add or Sub that holds its bias, or None.
    """

    node: str
    op: str
    parameters: int
    macs: int
    weight_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    added: str | None = None


@dataclass(frozen=True)
class Totals:
    """Sums over a graph: parameters as the literature counts them (running statistics are not trained) and MACs."""

    parameters: int
    macs: int


def layer_costs(graph: Graph, shapes: Shapes) -> list[LayerCost]:
    """Cost of every operator that has parameters or multiplies weights, in graph order.

    An If, Loop or Scan costs what is in it: all parameters, and the MACs of the dearer branch, or of a step times how
    often it runs, once where that depends on data.
    """
    return _costs(graph, shapes, set())


def _costs(graph: gs.Graph, shapes: Shapes, counted: set[str]) -> list[LayerCost]:
    layers = []
    computed = _computed_from_constants(graph)
    ends = {tensor.name for tensor in graph.outputs} | captured_names(graph)
    for node in graph.nodes:
        found = {slot: _parameter(node, slot, shapes, computed) for slot in _parameter_slots(node)}
        matrix = _matrix(node, found)
        added = None if matrix is None or not _may_be_added_to(node) else _added(node, shapes, computed, ends)
        read = [*found.values(), None if added is None else _parameter(added.node, added.slot, shapes, computed)]
        parameters = 0
        for weight in read:
            if weight is not None and weight.name not in counted:
                counted.add(weight.name)
                parameters += math.prod(weight.shape)
        inner = Totals(0, 0) if node.domain else _inside(node, shapes, counted)
        if not parameters and matrix is None and inner == Totals(0, 0):
            continue
        # Outputs may be left out.
        output = shapes.of(next((tensor for tensor in node.outputs if tensor.name), node.outputs[0]))
        parameters, macs = parameters + inner.parameters, inner.macs + _macs(node, found, shapes)
        layers.append(
            LayerCost(node.name, node.op, parameters, macs, matrix, output, None if added is None else added.node.name)
        )
    return layers


def _inside(node: gs.Node, shapes: Shapes, counted: set[str]) -> Totals:
    """What the subgraphs of a node cost in one run of the node."""
    parts = [totals(_costs(graph, shapes, counted)) for graph in node.subgraphs()]
    times = steps(node, shapes.shapes, shapes.values) if node.op in ("Loop", "Scan") else None
    return Totals(
        sum(part.parameters for part in parts),
        max((part.macs for part in parts), default=0) * (1 if times is None else times),
    )


def _may_be_added_to(node: gs.Node) -> bool:
    """Whether an operator is a layer without a bias of its own."""
    return node.op in (*WEIGHTED, _EINSUM) and (node.op == _EINSUM or not any(each.name for each in node.inputs[2:]))


def _added(node: gs.Node, shapes: Shapes, computed: Collection[str], ends: Collection[str]) -> AddedBias | None:
    def is_known(tensor: gs.Tensor) -> bool:
        return isinstance(tensor, gs.Constant) or tensor.name in computed

    return added_bias(node, shapes.of(node.outputs[0]), ends, is_known)


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
    if node.op == _EINSUM:
        return tuple(range(len(node.inputs)))
    if node.op == "Gemm":
        return (0, 1, 2)
    facts = OPS.get(node.op)
    return () if facts is None else facts.parameters


def _parameter(node: gs.Node, slot: int, shapes: Shapes, computed: Collection[str]) -> _Parameter | None:
    """The parameter at an input slot, also if constants of another shape are computed into it."""
    if slot >= len(node.inputs) or not node.inputs[slot].name:
        return None
    # What is looked up by constants, as levels of codes are, is a weight in the making.
    if node.op == "Gather" and (node.inputs[1].name in computed or not _is_table(node.inputs[0], shapes)):
        return None
    weight = constant_behind(node, slot)
    if weight is not None:
        return _Parameter(weight.name, tuple(weight.shape))
    tensor = node.inputs[slot]
    shape = shapes.of(tensor) if tensor.name in computed else None
    return None if shape is None else _Parameter(_turned_from(tensor), tuple(shape))


def _turned_from(tensor: gs.Tensor) -> str:
    """The constant whose values a computed weight has in another shape, which count once; else its own name."""
    source = tensor
    while not isinstance(source, gs.Constant) and source.inputs and source.inputs[0].op in _SAME_VALUES:
        source = source.inputs[0].inputs[0]
    return str(source.name if isinstance(source, gs.Constant) else tensor.name)


def _is_table(tensor: gs.Tensor, shapes: Shapes) -> bool:
    """Whether rows of a tensor may be embeddings: numbers that are no sizes, of at least two axes."""
    kind = None if tensor.dtype is None else np.dtype(numpy_type(tensor.dtype)).kind
    return kind == "f" and len(shapes.of(tensor) or ()) > 1


def _computed_from_constants(graph: gs.Graph) -> set[str]:
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
    slot = matrix_slot(node, [slot for slot, weight in found.items() if weight is not None])
    weight = None if slot is None else found[slot]
    return None if weight is None else weight.shape


def matrix_slot(node: gs.Node, known: Collection[int]) -> int | None:
    """The input slot of the weight that an operator multiplies by, or looks rows up in; None where there is none.

    Args:
        node: the operator.
        known: input slots that depend on no input of the graph.
    """
    if node.op == "Gather":
        slots: tuple[int, ...] = (0,)
    elif node.op == _EINSUM:
        slots = tuple(reversed(range(len(node.inputs))))
    elif node.op in ("Gemm", "MatMul"):
        slots = (1, 0)
    else:
        slots = (1,) if node.op in WEIGHTED or node.op in RECURRENT else ()
    # Of two constants, `simplify` makes one.
    return next((slot for slot in slots if slot in known), None)


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
    if node.op == _EINSUM:
        return _einsum_macs(node, shapes)
    # Products: each output sums over the inner axis, the last of the first operand.
    inner = data[0] if node.op == "Gemm" and node.attrs.get("transA", 0) else data[-1]
    return math.prod(output) * inner


def _einsum_macs(node: gs.Node, shapes: Shapes) -> int:
    """The product of the sizes of all indices; an axis of one element may meet a longer one."""
    sizes: dict[str | int, int] = {}
    terms = str(node.attrs.get("equation", "")).replace(" ", "").partition("->")[0].split(",")
    for term, tensor in zip(terms, node.inputs, strict=False):
        shape = shapes.of(tensor)
        if shape is None:
            return 0
        first, dots, last = term.partition("...")
        hidden = len(shape) - len(first) - len(last)
        # Axes behind the ellipsis broadcast from the last on.
        indices = [*first, *(range(-hidden, 0) if dots else ()), *last]
        for index, size in zip(indices, shape, strict=False):
            sizes[index] = max(size, sizes.get(index, 1))
    return math.prod(sizes.values())
