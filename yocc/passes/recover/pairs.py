"""Layers that a low-rank factorization made two of: they are refitted as the one layer they were.

The best full weight for the original's outputs is found as for any layer, and then brought to the form of the pair, in
the metric that the factorization was made in (see `yocc.fitting.reduced_rank`).
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
from yocc.fitting.reduced_rank import Bring, projected, separated
from yocc.passes.recover.waves import LARGEST, inputs_of, weights_of

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Factored:
    """A pair of layers in the graph.

    Attributes:
        first: what reads the input.
        second: what gives the output.
        window: a layer that sees the same of the input as both together: the first one, or the original of two whose
            kernels lie along one axis each.
        metric: what an error in the outputs that are left costs, shape [outputs, outputs].
        origin: weight of the layer that they were, shape [inputs, outputs]; their product where channels went since.
    """

    first: gs.Node
    second: gs.Node
    window: gs.Node
    metric: Array
    origin: Array

    @property
    def rank(self) -> int:
        """Channels between the two."""
        return int(flat_weight(self.first).shape[1])

    def product(self) -> tuple[Array, Array]:
        """Weight of shape [inputs, outputs] and bias, as one layer."""
        return _product(self.first, self.second), weights_of(self.second)[1]

    def bring(self) -> Bring:
        """What brings a full weight to the form of the pair."""
        if self.window is self.first:
            return projected(self.metric, self.rank)
        _, channels, _, width = self.first.inputs[1].shape
        size = (channels, *self.window.inputs[1].shape[2:])
        order = np.arange(int(np.prod(size))).reshape(size)
        if width > 1:
            order = order.transpose(0, 2, 1)
        return separated(self.metric, order.shape, order.reshape(-1), self.rank)

    def between(self, windows: Array) -> Array:
        """What the second layer multiplies where the pair sees windows, both with a row for each sample."""
        if self.window is self.first:
            return windows @ flat_weight(self.first)
        first = self.first.inputs[1].values
        seen = windows.reshape(len(windows), first.shape[1], *self.window.inputs[1].shape[2:])
        pattern = "scab,rca->srb" if first.shape[3] == 1 else "scab,rcb->sra"
        found: Array = np.einsum(pattern, seen, first.reshape(*first.shape[:2], -1), optimize=True)
        return found.reshape(len(windows), -1)


def factored_layers(graph: Graph, teacher: Teacher) -> dict[str, Factored]:
    """The pairs that can be refitted as one layer, by the name of the second."""
    nodes = {node.name: node for node in graph.nodes}
    originals = {node.name: node for node in teacher.graph.nodes}
    found = {}
    for name, pair in teacher.pairs.items():
        first, second = nodes.get(pair.first), nodes.get(name)
        if first is None or second is None or name not in teacher.kept or name in teacher.zeroed:
            continue
        window = _window(first, second, originals)
        if window is not None and _can_refit(graph, first, second, window):
            found[name] = _factored(first, second, window, pair, teacher, originals)
    return found


def _window(first: gs.Node, second: gs.Node, originals: Mapping[str, gs.Node]) -> gs.Node | None:
    """The layer that sees what both see; None where there is none."""
    if not (is_plain(first) and is_plain(second)):
        return None
    if all(size == 1 for size in second.inputs[1].shape[2:]):
        return first
    original = originals.get(second.name)
    return original if original is not None and is_plain(original) else None


def _factored(
    first: gs.Node, second: gs.Node, window: gs.Node, pair: Pair, teacher: Teacher, originals: Mapping[str, gs.Node]
) -> Factored:
    left = np.searchsorted(pair.channels, teacher.kept[second.name])
    product = _product(first, second)
    original = originals.get(second.name)
    whole = original is not None and is_plain(original) and flat_weight(original).shape == product.shape
    origin = flat_weight(original) if whole else product
    return Factored(first, second, window, pair.metric[np.ix_(left, left)], origin)


def _product(first: gs.Node, second: gs.Node) -> Array:
    """The weight of both as one layer, shape [inputs, outputs]."""
    if all(size == 1 for size in second.inputs[1].shape[2:]):
        return flat_weight(first) @ flat_weight(second)
    one, other = (node.inputs[1].values.astype(np.float64) for node in (first, second))
    # One of them has a height of 1 and the other a width of 1, so that their product is a kernel of both.
    whole = np.einsum("nrab,rcde->ncadbe", other, one)
    found: Array = whole.reshape(len(other), -1).T
    return found


def _can_refit(graph: Graph, first: gs.Node, second: gs.Node, window: gs.Node) -> bool:
    between = first.outputs[0]
    alone = len(between.outputs) == 1 and all(between is not tensor for tensor in graph.outputs)
    constant = all(isinstance(tensor, gs.Constant) for node in (first, second) for tensor in node.inputs[1:])
    kernel = int(np.prod(window.inputs[1].shape[2:])) // int(np.prod(first.inputs[1].shape[2:])) or 1
    small = inputs_of(first) * kernel <= LARGEST and len(first.inputs) == 2
    return alone and second.inputs[0] is between and constant and small
