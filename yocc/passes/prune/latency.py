"""How long a network will take as a function of how many channels each group keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.coupling.atoms import along, varying_axes
from yocc.analysis.coupling.channels import ChannelMap
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.latency import LatencyTable
from yocc.compiler.pipeline.latency_terms import fit_terms
from yocc.errors import PassError
from yocc.passes.prune.budget import Capacity, add_counts, groups_of_classes

Vector = np.ndarray[Any, np.dtype[np.float64]]


class Latency(Protocol):
    """Predicts time, in any unit."""

    def total(self, kept: Vector) -> float:
        """When `kept` classes of each group stay, shape [groups]."""

    def slopes(self, kept: Vector) -> Vector:
        """What one more class of each group costs, shape [groups]."""


@dataclass(frozen=True)
class SquareRootLaw:
    """T*/T = sqrt(F*/F): the seeds of target-capacity pruning found it on GPUs (Jeon et al. 2022, equation 11).

    Attributes:
        capacity: counts the MACs, F.
    """

    capacity: Capacity

    def total(self, kept: Vector) -> float:
        """The root of the MACs."""
        return float(np.sqrt(self.capacity.totals(kept)[1]))

    def slopes(self, kept: Vector) -> Vector:
        """The derivative of the root."""
        slopes: Vector = 0.5 * self.capacity.slopes(kept)[1] / max(self.total(kept), 1e-300)
        return slopes


@dataclass(frozen=True)
class TableLatency:
    """Sums over layers of `constant + per_out * o + per_in * i + per_pair * o * i`, o and i as in `Capacity`.

    Attributes:
        out: shape [layers, groups].
        out_fixed: shape [layers].
        into: shape [layers, groups].
        into_fixed: shape [layers].
        terms: constant, per_out, per_in and per_pair of each layer, shape [layers, 4].
        rest: what no layer accounts for.
    """

    out: Vector
    out_fixed: Vector
    into: Vector
    into_fixed: Vector
    terms: Vector
    rest: float

    def total(self, kept: Vector) -> float:
        """Milliseconds."""
        outputs, inputs = self._widths(kept)
        constant, per_out, per_in, per_pair = self.terms.T
        return self.rest + float(np.sum(constant + per_out * outputs + per_in * inputs + per_pair * outputs * inputs))

    def slopes(self, kept: Vector) -> Vector:
        """Milliseconds for each class."""
        outputs, inputs = self._widths(kept)
        _, per_out, per_in, per_pair = self.terms.T
        slopes: Vector = (per_out + per_pair * inputs) @ self.out + (per_in + per_pair * outputs) @ self.into
        return slopes

    def _widths(self, kept: Vector) -> tuple[Vector, Vector]:
        return self.out_fixed + self.out @ kept, self.into_fixed + self.into @ kept


def table_latency(graph: Graph, shapes: Shapes, channels: ChannelMap, table: LatencyTable) -> TableLatency:
    """Set up the sums for a graph; what the table says of nodes that are not there counts as rest.

    Raises:
        PassError: the table knows no layer of the graph.
    """
    group_of, count = groups_of_classes(channels), len(channels.groups)
    nodes = {node.name: node for node in graph.nodes}
    known = [name for name in table.layers if name in nodes]
    if not any(nodes[name].op == "Conv" for name in known):
        raise PassError(
            f"The latency table of {table.device!r} knows no convolution of this model.",
            "Measure it with `yocc latency` on the same model file.",
        )
    elsewhere = [max((point.ms for point in table.layers[name]), default=0.0) for name in table.layers.keys() - nodes]
    sides = [[_width(shapes, channels, tensor, group_of, count) for tensor in _ends(nodes[name])] for name in known]
    (into, into_fixed), (out, out_fixed) = (
        (np.array([side[end][0] for side in sides]), np.array([side[end][1] for side in sides])) for end in (0, 1)
    )
    terms = np.array([fit_terms(table.layers[name]) for name in known])
    return TableLatency(out, out_fixed, into, into_fixed, terms, table.rest + sum(sorted(elsewhere)))


def _ends(node: gs.Node) -> tuple[gs.Tensor, gs.Tensor]:
    return node.inputs[0], node.outputs[0]


def _width(shapes: Shapes, channels: ChannelMap, tensor: gs.Tensor, group_of: Any, count: int) -> tuple[Vector, float]:
    """Channels of a tensor: those of each class of each group, and those that stay."""
    shape, atoms = shapes.of(tensor), channels.atoms.get(tensor.name)
    if shape is None or len(shape) < 2:
        return np.zeros(count), 0.0
    if atoms is None or any(axis != 1 for axis in varying_axes(atoms)):
        return np.zeros(count), float(shape[1])
    classes, counts = along(atoms, 1, shape[1]), np.zeros(count)
    add_counts(counts, classes, group_of)
    return counts, float(np.count_nonzero(group_of[classes] < 0))
