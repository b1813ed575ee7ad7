"""What predicts the time of a network with pairs in it: a latency table, or the law of the square root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from yocc.analysis.pacing import LAW
from yocc.analysis.ranks.layers import Layer
from yocc.analysis.ranks.moves import Move, saves_enough
from yocc.analysis.ranks.times import PairTimes, work
from yocc.analysis.timing import widths_of
from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import Shapes, concrete_shapes
from yocc.compiler.pipeline.latency import LatencyTable
from yocc.compiler.pipeline.passes import PassContext
from yocc.passes.factorize.timing import measure_pairs


class Clock(Protocol):
    """Predicts time as a sum over layers, in any unit."""

    @property
    def total(self) -> float:
        """Of the network as it is."""

    @property
    def name(self) -> str:
        """For the report."""

    def whole(self, layer: Layer) -> float | None:
        """Of a layer; None where that is not known."""

    def pair(self, layer: Layer, move: Move) -> float | None:
        """Of a pair in its place; None where that is not known."""

    def faster(self, layer: Layer, move: Move) -> bool:
        """Whether the pair takes less."""

    def left(self, share: float) -> float:
        """The sum at which a share of the time is left."""

    def share(self, left: float) -> float:
        """The share of the time that is left with a sum."""


@dataclass(frozen=True)
class TableClock:
    """Milliseconds by a table.

    Attributes:
        total: of the network as it is.
        times: of its layers and pairs.
    """

    total: float
    times: PairTimes

    @classmethod
    def of(cls, table: LatencyTable, graph: Graph, shapes: Shapes) -> TableClock:
        """For a graph at its widths; what the table says of nodes that are not there counts as rest."""
        times, nodes = PairTimes(table), {node.name: node for node in graph.nodes}
        elsewhere = sorted(max(point.ms for point in table.layers[name]) for name in table.layers.keys() - nodes)
        own = [times.at(name, *widths_of(shapes, nodes[name])) for name in table.layers if name in nodes]
        return cls(table.rest + sum(elsewhere) + sum(own), times)

    @property
    def name(self) -> str:
        """As pruning has it."""
        return f"table of {self.times.table.device}"

    def whole(self, layer: Layer) -> float | None:
        """As the table has it."""
        return self.times.whole(layer)

    def pair(self, layer: Layer, move: Move) -> float | None:
        """As measured, or else by its MACs and values."""
        return self.times.estimated(layer, move)

    def faster(self, layer: Layer, move: Move) -> bool:
        """As measured, or else by the MACs it saves."""
        return self.times.faster(layer, move)

    def left(self, share: float) -> float:
        """A share of the milliseconds."""
        return share * self.total

    def share(self, left: float) -> float:
        """A share of the milliseconds."""
        return left / self.total


@dataclass(frozen=True)
class LawClock:
    """MACs, and values between two layers as MACs, where time is in proportion to the square root of their sum.

    Attributes:
        total: MACs of the network.
        name: of the law.
    """

    total: float
    name: str = LAW

    def whole(self, layer: Layer) -> float | None:
        """Its MACs."""
        return float(layer.cost.macs)

    def pair(self, layer: Layer, move: Move) -> float | None:
        """Its MACs, and its values as MACs."""
        return work(layer, move)

    def faster(self, layer: Layer, move: Move) -> bool:
        """Whether enough MACs are saved."""
        return saves_enough(layer, move)

    def left(self, share: float) -> float:
        """The square, as of the law T*/T = sqrt(F*/F)."""
        return self.total * share**2

    def share(self, left: float) -> float:
        """The square root."""
        return float((left / self.total) ** 0.5)


def clock_for(graph: Graph, ctx: PassContext) -> Clock:
    """By a table that is given, or pairs that are measured now, or else the law; arguments as for `pairs_for`."""
    table, shapes = pairs_for(graph, ctx), concrete_shapes(graph, ctx.input_shapes)
    return LawClock(totals(layer_costs(graph, shapes)).macs) if table is None else TableClock.of(table, graph, shapes)


def pairs_for(graph: Graph, ctx: PassContext) -> LatencyTable | None:
    """A table that is given, or one of pairs that is measured now; None where nothing is timed.

    Args:
        graph: not changed.
        ctx: has a table or a profiler, or neither.
    """
    table, profiler = ctx.latency, ctx.profiler
    if table is not None and not table.pairs:
        ctx.note(
            f"The table of {table.device} has no pairs, whose times are estimated by their MACs; `yocc latency` "
            "measures them.",
            level="warning",
        )
    if table is None and profiler is not None:
        cost = totals(layer_costs(graph, concrete_shapes(graph, ctx.input_shapes)))
        place = f"pairs in {cost.macs} MACs and {cost.parameters} parameters"
        table = ctx.memo.once(place, lambda: measure_pairs(graph, ctx, profiler))
    return table
