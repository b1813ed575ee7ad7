"""Graphs ready to be planned, and what removal really leaves of them."""

from __future__ import annotations

import numpy as np
import onnx

from yocc.analysis.coupling.channels import ChannelMap, map_channels
from yocc.compiler.graph import Graph, clone, convert_opset, load, refresh
from yocc.compiler.graph.cost import Totals, layer_costs, totals
from yocc.compiler.graph.shapes import Shapes, concrete_shapes
from yocc.passes.prune.budget import Capacity, capacity
from yocc.passes.prune.remove import remove_channels, split_shared


def mapped(model: onnx.ModelProto) -> tuple[Graph, Shapes, ChannelMap]:
    graph = convert_opset(load(model), 13)
    refresh(graph)
    split_shared(graph)
    shapes = concrete_shapes(graph)
    return graph, shapes, map_channels(graph, shapes)


def equations(graph: Graph, shapes: Shapes, channels: ChannelMap) -> Capacity:
    return capacity(graph, channels, layer_costs(graph, shapes))


def counted(graph: Graph) -> Totals:
    return totals(layer_costs(graph, concrete_shapes(graph)))


def removed(graph: Graph, shapes: Shapes, channels: ChannelMap, kept: np.ndarray) -> Graph:
    pruned = clone(graph)
    remove_channels(pruned, shapes, channels, kept)
    refresh(pruned)
    return pruned
