"""Layers that a low-rank factorization made two of: they are refitted as the one layer they were.

The best full weight for the original's outputs is found as for any layer, and then brought to the rank of the pair:
reduced-rank regression (Izenman, "Reduced-rank regression for the multivariate linear model", 1975), in the metric that
the factorization was made in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.windows import flat_weight, is_plain
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.lineage import Pair, Teacher
from yocc.passes.recover.waves import LARGEST, inputs_of, weights_of

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Factored:
    """A pair of layers in the graph.

    Attributes:
        first: what reads the input.
        second: what gives the output; its kernel is a point.
        metric: what an error in the outputs that are left costs, shape [outputs, outputs].
        origin: weight of the layer that they were, shape [inputs, outputs]; their product where channels went since.
    """

    first: gs.Node
    second: gs.Node
    metric: Array
    origin: Array

    @property
    def rank(self) -> int:
        """Channels between the two."""
        return int(flat_weight(self.first).shape[1])

    def product(self) -> tuple[Array, Array]:
        """Weight of shape [inputs, outputs] and bias, as one layer."""
        (first, before), (second, bias) = weights_of(self.first), weights_of(self.second)
        return first @ second, before @ second + bias


def factored_layers(graph: Graph, teacher: Teacher) -> dict[str, Factored]:
    """The pairs that can be refitted as one layer, by the name of the second."""
    nodes = {node.name: node for node in graph.nodes}
    originals = {node.name: node for node in teacher.graph.nodes}
    found = {}
    for name, pair in teacher.pairs.items():
        first, second = nodes.get(pair.first), nodes.get(name)
        if first is None or second is None or name not in teacher.kept or name in teacher.zeroed:
            continue
        if _can_refit(graph, first, second):
            found[name] = _factored(first, second, pair, teacher, originals)
    return found


def _factored(
    first: gs.Node, second: gs.Node, pair: Pair, teacher: Teacher, originals: Mapping[str, gs.Node]
) -> Factored:
    left = np.searchsorted(pair.channels, teacher.kept[second.name])
    product = flat_weight(first) @ flat_weight(second)
    original = originals.get(second.name)
    whole = original is not None and is_plain(original) and flat_weight(original).shape == product.shape
    origin = flat_weight(original) if whole else product
    return Factored(first, second, pair.metric[np.ix_(left, left)], origin)


def _can_refit(graph: Graph, first: gs.Node, second: gs.Node) -> bool:
    between = first.outputs[0]
    alone = len(between.outputs) == 1 and all(between is not tensor for tensor in graph.outputs)
    if not alone or second.inputs[0] is not between or not (is_plain(first) and is_plain(second)):
        return False
    constant = all(isinstance(tensor, gs.Constant) for node in (first, second) for tensor in node.inputs[1:])
    small = inputs_of(first) <= LARGEST and len(first.inputs) == 2
    return constant and small and all(size == 1 for size in second.inputs[1].shape[2:])
