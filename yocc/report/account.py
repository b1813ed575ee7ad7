"""Layer by layer: what each was in the model that came in, and what became of it.

Passes say what they did to a layer in `PassResult.layers`, figures by name, and why they left it as it was in
`PassResult.skipped`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import LayerCost, constant_behind, layer_costs, matrix_slot, weight_of
from yocc.compiler.graph.operators import GATES
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.graph.types import numpy_type
from yocc.compiler.pipeline.kernels import fused_behind
from yocc.compiler.pipeline.result import LAYERS, SKIPPED

FIGURES = LAYERS
REASONS = SKIPPED


@dataclass(frozen=True)
class LayerState:
    """A layer in one of the two models.

    Attributes:
        channels_in: channels it reads, None where it multiplies no weight and for Einsum, whose axes can be anything.
        channels_out: channels it makes, None where it multiplies no weight.
        parameters: trained values.
        macs: multiply-accumulates for one run.
        weights: element type of the stored weight, empty where there is none.
        activations: element type it computes on; that of the codes where its input is quantized.
    """

    channels_in: int | None
    channels_out: int | None
    parameters: int
    macs: int
    weights: str
    activations: str


@dataclass(frozen=True)
class LayerReport:
    """A layer before and after.

    Attributes:
        name: of its node.
        op: its operator.
        before: in the model that came in; None where a pass made it.
        after: in the model written; None where it was folded into another or removed.
        figures: what each pass says of it, by pass.
        skipped: why a pass left it as it was, by pass.
    """

    name: str
    op: str
    before: LayerState | None
    after: LayerState | None
    figures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)


LayerStates = Mapping[tuple[str, str], LayerState]
"""States by name and operator, in graph order."""


def layer_states(graph: Graph, shapes: Shapes) -> LayerStates:
    """The state of every operator that has parameters."""
    nodes = {node.name: node for node in graph.nodes}
    return {(cost.node, cost.op): _state(nodes[cost.node], cost) for cost in layer_costs(graph, shapes)}


def layer_names(graph: Graph) -> dict[str, str]:
    """Layers by every name a runtime may know them by.

    These are the node's and those of the tensors that it writes, or that its only reader writes where runtimes compute
    both together.
    """
    names = {}
    for node in graph.nodes:
        if weight_of(node) is None:
            continue
        names[node.name] = node.name
        for maker in (node, *fused_behind(node)):
            names.update({tensor.name: node.name for tensor in maker.outputs[:1]})
    return names


def layer_reports(before: LayerStates, after: LayerStates, details: Mapping[str, Any]) -> tuple[LayerReport, ...]:
    """Bring both models and what the passes said together, in the order of the model that came in."""
    return tuple(
        LayerReport(
            name,
            op,
            before.get((name, op)),
            after.get((name, op)),
            {origin: found[name] for origin, found in _said(details, FIGURES).items() if name in found},
            {origin: found[name] for origin, found in _said(details, REASONS).items() if name in found},
        )
        for name, op in dict.fromkeys([*before, *after])
    )


def without_layers(details: Any) -> Any:
    """Figures of a pass without those that stand at the layers."""
    if not isinstance(details, Mapping):
        return details
    return {
        key: value for key, value in details.items() if key not in (FIGURES, REASONS) or not isinstance(value, Mapping)
    }


def _said(details: Mapping[str, Any], what: str) -> dict[str, Mapping[str, Any]]:
    return {
        origin: said[what]
        for origin, said in details.items()
        if isinstance(said, Mapping) and isinstance(said.get(what), Mapping)
    }


def _state(node: gs.Node, cost: LayerCost) -> LayerState:
    found = matrix_slot(node, [slot for slot in range(len(node.inputs)) if constant_behind(node, slot) is not None])
    slot = 1 if found is None else found
    weight = constant_behind(node, slot)
    incoming, outgoing = (None, None) if cost.weight_shape is None else _channels(node, slot, cost.weight_shape)
    data = node.inputs[1 if slot == 0 and len(node.inputs) > 1 else 0]
    return LayerState(
        incoming, outgoing, cost.parameters, cost.macs, "" if weight is None else _type(weight), _computed_type(data)
    )


def _channels(node: gs.Node, slot: int, shape: tuple[int, ...]) -> tuple[int | None, int | None]:
    """Channels in and out of an operator that multiplies a weight of this shape; None where its axes are free."""
    if node.op == "Einsum":
        return None, None
    groups = int(node.attrs.get("group", 1))
    if node.op in GATES:
        return shape[-1], shape[0] * shape[1] // GATES[node.op]  # `hidden_size` may be left out
    if node.op == "Conv":
        return shape[1] * groups, shape[0]
    if node.op == "ConvTranspose":
        return shape[0], shape[1] * groups
    transposed = bool(node.attrs.get("transA" if slot == 0 else "transB", 0)) != (slot == 0)
    rows, columns = (shape[-2], shape[-1]) if len(shape) > 1 else (shape[0], 1)
    return (columns, rows) if transposed else (rows, columns)


def _computed_type(tensor: gs.Tensor) -> str:
    maker = tensor.inputs[0] if tensor.inputs else None
    return _type(maker.inputs[0] if maker is not None and maker.op == "DequantizeLinear" else tensor)


def _type(tensor: gs.Tensor) -> str:
    return "" if tensor.dtype is None else str(numpy_type(tensor.dtype).name)
