"""Parameters and MACs of a graph as a function of how many channels each group keeps.

Equations (7) and (8) of target-capacity filter pruning (Jeon et al., "Target Capacity Filter Pruning Method for
Optimized Inference Time Based on YOLOv5 in Embedded Systems", IEEE Access 2022), for any graph: a layer's cost is a
constant times its output channels times its input channels, and both are sums over groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.analysis.coupling.channels import ChannelMap
from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import LayerCost, totals, weight_of

Vector = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Capacity:
    """Costs bilinear in the kept counts n, shape [groups].

    Attributes:
        out: output channels of each layer are `out_fixed + out @ n`, shape [layers, groups].
        out_fixed: shape [layers].
        into: input channels of each layer, likewise.
        into_fixed: shape [layers].
        parameters: parameters for each pair of output and input channel, shape [layers].
        macs: MACs for each pair, shape [layers].
        linear: parameters for each kept class of a group (biases, normalization), shape [groups].
        fixed: parameters that no group changes.
    """

    out: Vector
    out_fixed: Vector
    into: Vector
    into_fixed: Vector
    parameters: Vector
    macs: Vector
    linear: Vector
    fixed: float

    def totals(self, kept: Vector) -> tuple[float, float]:
        """Parameters and MACs when `kept` classes of each group stay."""
        pairs = (self.out_fixed + self.out @ kept) * (self.into_fixed + self.into @ kept)
        return float(self.parameters @ pairs + self.linear @ kept + self.fixed), float(self.macs @ pairs)

    def slopes(self, kept: Vector) -> tuple[Vector, Vector]:
        """Parameters and MACs that one more class of each group costs, each of shape [groups]."""
        outputs = self.out_fixed + self.out @ kept
        inputs = self.into_fixed + self.into @ kept
        parameters = (self.parameters * inputs) @ self.out + (self.parameters * outputs) @ self.into + self.linear
        macs = (self.macs * inputs) @ self.out + (self.macs * outputs) @ self.into
        return parameters, macs


def capacity(graph: Graph, channels: ChannelMap, layers: list[LayerCost]) -> Capacity:
    """Set up the equations for a graph.

    Args:
        graph: the graph that was analysed.
        channels: its channel map.
        layers: its costs at full width, from `layer_costs`.
    """
    group_of = groups_of_classes(channels)
    cuts = {(cut.node, cut.slot, cut.axis): cut for cut in channels.cuts}
    nodes = {node.name: node for node in graph.nodes}
    seen: set[str] = set()
    rows = []
    for layer in layers:
        if not layer.weight_shape:
            continue
        weight = weight_of(nodes[layer.node])
        if weight is None:  # a recurrent network, an embedding, or a weight computed at run time: nothing of it goes
            none = np.zeros(len(channels.groups))
            rows.append((none, 1.0, none, 1.0, 0.0, float(layer.macs)))
            continue
        row = _row(layer, nodes[layer.node], cuts, group_of, len(channels.groups))
        rows.append((*row[:4], 0.0 if weight.name in seen else row[4], row[5]))
        seen.add(weight.name)
    out, out_fixed, into, into_fixed, parameters, macs = (np.array(column) for column in zip(*rows, strict=True))
    linear = np.zeros(len(channels.groups))
    counted = {name for layer in layers if layer.parameters for name in (layer.node, layer.added)}
    for cut in channels.cuts:
        node = nodes[cut.node]
        if (
            cut.node in counted
            and cut.role == "along"
            and cut.slot in (1, 2)
            and weight_of(node) is not node.inputs[cut.slot]
        ):
            add_counts(linear, cut.atoms, group_of)
    full = np.array([len(group.classes) for group in channels.groups], dtype=np.float64)
    unfixed = Capacity(out, out_fixed, into, into_fixed, parameters, macs, linear, 0.0)
    return Capacity(
        out, out_fixed, into, into_fixed, parameters, macs, linear, totals(layers).parameters - unfixed.totals(full)[0]
    )


def _row(
    layer: LayerCost, node: Any, cuts: dict[tuple[str, int, int], Any], group_of: Any, groups: int
) -> tuple[Any, ...]:
    """One layer's counts of output and input channels by group, and its cost for each pair of them."""
    shape = layer.weight_shape or ()
    # A product with a vector is one with a matrix of one column.
    shape = shape if len(shape) > 1 else (*shape, 1)
    slot = next(slot for slot, tensor in enumerate(node.inputs) if tensor is weight_of(node) or slot == 1)
    # Of a stack of matrices the last two axes hold channels, of all other weights the first two.
    axes = (len(shape) - 2, len(shape) - 1) if node.op == "MatMul" else (0, 1)
    sides = []
    for axis in axes:
        counts, cut = np.zeros(groups), cuts.get((layer.node, slot, axis))
        fixed = float(shape[axis])
        if cut is not None:
            add_counts(counts, cut.atoms, group_of)
            fixed = float(np.count_nonzero(group_of[cut.atoms] < 0))
        sides.append((counts, fixed))
    pairs = shape[axes[0]] * shape[axes[1]]
    (first, first_fixed), (second, second_fixed) = sides
    return first, first_fixed, second, second_fixed, int(np.prod(shape)) / pairs, layer.macs / pairs


def groups_of_classes(channels: ChannelMap) -> Any:
    """The group of each class, -1 for those that stay, shape [classes]."""
    group_of = np.full(channels.classes, -1)
    for index, group in enumerate(channels.groups):
        group_of[group.classes] = index
    return group_of


def add_counts(counts: Vector, atoms: Any, group_of: Any) -> None:
    """Add to `counts`, shape [groups], how many of the channels one class of each group stands for."""
    groups = group_of[atoms]
    numbers, times = np.unique(groups[groups >= 0], return_counts=True)
    for number, repeat in zip(numbers, times, strict=True):
        # Each class of a group occurs equally often, so the share of one class is the total divided by their number.
        counts[number] += repeat / np.count_nonzero(np.isin(np.unique(atoms), np.flatnonzero(group_of == number)))
