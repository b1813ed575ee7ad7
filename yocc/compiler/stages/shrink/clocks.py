"""What predicts the time of widths and of ranks, so that both can be weighed against each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.latency import LatencyTable
from yocc.compiler.pipeline.passes import PassContext
from yocc.passes.factorize.clocks import Clock, LawClock, TableClock, pairs_for
from yocc.passes.prune.latency import Latency
from yocc.passes.prune.pacing import predictor_for
from yocc.passes.prune.plan import Ranked


@dataclass(frozen=True)
class Clocks:
    """Predictors from one table, so that they err alike.

    Attributes:
        channels: of the time by the channels that each group keeps; None where none may go.
        table: of layers and pairs; None for the law of the square root.
    """

    channels: Latency | None
    table: LatencyTable | None

    @classmethod
    def of(cls, graph: Graph, ctx: PassContext, ranked: Ranked | None) -> Clocks:
        """By a table that is given or measured now, or else by the law.

        Args:
            graph: not changed.
            ctx: has a table or a profiler, or neither.
            ranked: its channels; None where none may go.
        """
        pairs = pairs_for(graph, ctx)
        channels = None if ranked is None else predictor_for(graph, ctx, ranked)
        if pairs is None or channels is None or channels.table is None:
            return cls(None if channels is None else channels.latency, pairs)
        return cls(channels.latency, replace(channels.table, pairs=pairs.pairs))

    def ranks(self, graph: Graph, shapes: Shapes) -> Clock:
        """Of the time by ranks, for a graph at its widths."""
        if self.table is None:
            return LawClock(totals(layer_costs(graph, shapes)).macs)
        return TableClock.of(self.table, graph, shapes)
