"""What changed between two models: size, interface, operators, layers, constants and attributes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_graphsurgeon as gs

from yocc.api.node_changes import AttributeChange, ConstantChange, every_node, node_changes
from yocc.api.opening import find_model
from yocc.compiler.graph import Graph, load
from yocc.compiler.graph.cost import Totals, layer_costs, totals
from yocc.compiler.graph.shapes import Shapes, concrete_shapes
from yocc.compiler.stages.anatomy import anatomy_of
from yocc.report.account import LayerReport, layer_reports, layer_states


@dataclass(frozen=True)
class Summary:
    """One of the models.

    Attributes:
        path: of its file.
        bytes: of its file.
        opset: version of the default operator set.
        nodes: number of operators.
        totals: parameters and MACs.
        inputs: name and shape of each input.
        outputs: name and shape of each output; None or text where a dimension is open.
    """

    path: str
    bytes: int
    opset: int
    nodes: int
    totals: Totals
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int | str | None, ...]]


@dataclass(frozen=True)
class ModelDifference:
    """What changed from one model to another.

    Attributes:
        before: the first model.
        after: the second.
        operators: how many of each operator there were and are, where that differs.
        layers: layers that came, went, or have other sizes or types, in the order of the first model.
        constants: weights, biases, statistics, bounds and other constants that operators of both models have, and that
            differ; those of layers of another size or type are left out.
        attributes: values of attributes that differ in operators of both models.
        rewired: names of operators of both models, and of outputs, that read results of other operators.
        metadata: values in the metadata before and after, where they differ; empty where there is none.
    """

    before: Summary
    after: Summary
    operators: Mapping[str, tuple[int, int]]
    layers: tuple[LayerReport, ...]
    constants: tuple[ConstantChange, ...]
    attributes: tuple[AttributeChange, ...]
    rewired: tuple[str, ...]
    metadata: Mapping[str, tuple[str, str]]

    @property
    def same(self) -> bool:
        """Whether nothing differs but names and the order of nodes."""
        first, second = self.before, self.after
        interface = (first.inputs, first.outputs, first.opset) == (second.inputs, second.outputs, second.opset)
        changed = self.constants or self.attributes or self.rewired
        return interface and not (self.operators or self.layers or changed or self.metadata)


def diff_models(before: Path, after: Path) -> ModelDifference:
    """Compare two models by what they are made of; nothing runs.

    Args:
        before: an ONNX file, or a folder yocc wrote.
        after: likewise.

    Raises:
        ModelError: one of them is broken.
    """
    paths = [find_model(path).artifact.model for path in (before, after)]
    graphs = [load(path) for path in paths]
    shapes = [concrete_shapes(graph, anatomy_of(graph).shapes) for graph in graphs]
    states = [layer_states(graph, known) for graph, known in zip(graphs, shapes, strict=True)]
    first, second = (Counter(_kind(node) for _, node in every_node(graph)) for graph in graphs)
    layers = tuple(each for each in layer_reports(states[0], states[1], {}) if each.before != each.after)
    changes = node_changes(graphs[0], graphs[1], resized={(each.name, each.op) for each in layers})
    told = [graph.metadata for graph in graphs]
    return ModelDifference(
        _summary(paths[0], graphs[0], shapes[0]),
        _summary(paths[1], graphs[1], shapes[1]),
        operators={
            kind: (first[kind], second[kind]) for kind in sorted({*first, *second}) if first[kind] != second[kind]
        },
        layers=layers,
        constants=changes.constants,
        attributes=changes.attributes,
        rewired=changes.rewired,
        metadata={
            key: (told[0].get(key, ""), told[1].get(key, ""))
            for key in sorted({*told[0], *told[1]})
            if told[0].get(key, "") != told[1].get(key, "")
        },
    )


def _summary(path: Path, graph: Graph, shapes: Shapes) -> Summary:
    return Summary(
        str(path),
        path.stat().st_size,
        graph.opset,
        len(graph.nodes),
        totals(layer_costs(graph, shapes)),
        {tensor.name: shapes.shapes.get(tensor.name, ()) for tensor in graph.inputs},
        {tensor.name: tuple(tensor.shape or ()) for tensor in graph.outputs},
    )


def _kind(node: gs.Node) -> str:
    return f"{node.domain}::{node.op}" if node.domain else str(node.op)
