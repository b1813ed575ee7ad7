"""Plans of low ranks, chosen by losses that are varied, and applied without a refit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from yocc.analysis.ranks.layers import find_layers
from yocc.analysis.ranks.moves import Move, MovePlan, plan_moves, rank_moves
from yocc.analysis.ranks.spectra import LayerSpectrum
from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.graph.cost import Totals, layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.lineage import Pair
from yocc.compiler.pipeline.passes import PassContext
from yocc.rewrites.low_rank import split_layer

Factors = np.ndarray[tuple[int], np.dtype[np.float64]]
_MULTIPLE = 8


@dataclass(frozen=True)
class Plans:
    """Plans of one model.

    Attributes:
        graph: the original.
        ctx: that losses were measured with.
        spectra: what each layer loses at each rank.
    """

    graph: Graph
    ctx: PassContext
    spectra: Mapping[str, LayerSpectrum]

    @cached_property
    def before(self) -> Totals:
        """What the original costs."""
        return totals(layer_costs(self.graph, concrete_shapes(self.graph, self.ctx.input_shapes)))

    @cached_property
    def moves(self) -> dict[str, list[Move]]:
        """What each layer may become."""
        return {name: rank_moves(own.layer, own.losses(), _MULTIPLE) for name, own in self.spectra.items()}

    def best(self, factors: Factors, *, macs: float, parameters: float = 0.0, most: float = np.inf) -> MovePlan:
        """The plan that loses least by losses times factors; its own loss is without them.

        Args:
            factors: one for each layer, shape [layers].
            macs: share of them to save at least.
            parameters: likewise.
            most: share of the parameters to save at most.
        """
        varied = {
            name: [replace(move, loss=move.loss * factor) for move in moves]
            for (name, moves), factor in zip(self.moves.items(), factors, strict=True)
        }
        plan = plan_moves(
            varied,
            {name: own.layer.cost for name, own in self.spectra.items()},
            macs=macs * self.before.macs,
            parameters=parameters * self.before.parameters,
            most_parameters=most * self.before.parameters,
        )
        taken = {
            name: next(each for each in self.moves[name] if (each.form, each.rank) == (move.form, move.rank))
            for name, move in plan.moves.items()
        }
        return replace(plan, moves=taken, loss=sum(move.loss for move in taken.values()))

    def macs_left(self, plan: MovePlan) -> float:
        """Share of the MACs that a plan leaves."""
        saved = plan.saved({name: own.layer for name, own in self.spectra.items()})
        return 1 - saved.macs / self.before.macs

    def applied(self, plan: MovePlan) -> tuple[Graph, dict[str, Pair]]:
        """A copy of the graph with the layers of a plan replaced, and what became pairs."""
        changed, pairs = clone(self.graph), {}
        layers, _ = find_layers(changed, concrete_shapes(changed, self.ctx.input_shapes))
        for name, move in plan.moves.items():
            own = replace(self.spectra[name], layer=layers[name])
            first = split_layer(changed, layers[name], own.split(move.form, move.rank))
            pairs[name] = Pair(first.name, np.arange(layers[name].outputs), own.metric)
        refresh(changed)
        return changed, pairs
