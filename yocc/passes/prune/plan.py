"""The decision which channels go, apart from taking them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.compiler.cost import LayerCost, Totals, layer_costs, totals
from yocc.compiler.graph import Graph
from yocc.compiler.passes import PassContext
from yocc.compiler.shapes import Shapes, concrete_shapes
from yocc.errors import PassError
from yocc.passes.prune.allocate import Allocation, allocate
from yocc.passes.prune.budget import capacity
from yocc.passes.prune.channels import ChannelMap, map_channels
from yocc.passes.prune.criteria import Subject, criterion_named
from yocc.passes.prune.ranking import Ranking

BUDGETS = ("both", "parameters", "macs", "channels")
"""What a ratio may be a share of; both are parameters and MACs."""


@dataclass(frozen=True)
class PrunePlan:
    """What is to be removed, and what that was decided from.

    Attributes:
        shapes: concrete shapes before pruning.
        channels: the channel map before pruning.
        before: parameters and MACs before pruning.
        layers: those of each layer.
        allocation: how many classes each group keeps.
        kept: whether each class stays, shape [classes].
        saliency: share of the saliency of a layer's channels that is left, by layer; for the criteria `reconstruction`
            and `effect` of what would be lost with all channels but one.
    """

    shapes: Shapes
    channels: ChannelMap
    before: Totals
    layers: Sequence[LayerCost]
    allocation: Allocation
    kept: Any
    saliency: Mapping[str, float]


@dataclass(frozen=True)
class Goal:
    """Shares to keep; None where anything will do.

    Attributes:
        parameters: of the parameters.
        macs: of the MACs.
        channels: of the channels that may go.
    """

    parameters: float | None
    macs: float | None
    channels: float | None

    @classmethod
    def of(cls, budget: str, ratio: float) -> Goal:
        """What removing a ratio means for one of `BUDGETS`."""
        left = 1 - ratio
        return cls(
            left if budget in ("both", "parameters") else None,
            left if budget in ("both", "macs") else None,
            left if budget == "channels" else None,
        )


def plan_pruning(
    graph: Graph, ctx: PassContext, *, ratio: float, criterion: str, multiple: int, budget: str = "both"
) -> PrunePlan:
    """Decide which channels to remove so that `ratio` of what the budget names goes.

    Raises:
        PassError: nothing in the graph can be pruned, or the criterion does not apply to it.
        CalibrationError: the criterion needs pictures and there are none.
    """
    shapes = concrete_shapes(graph, ctx.input_shapes)
    layers = layer_costs(graph, shapes)
    channels = map_channels(graph, shapes, ctx.protected)
    if not channels.groups:
        raise PassError("No channel of this model can be removed.", "See `yocc inspect` for the reason at each layer.")
    rankings = criterion_named(criterion).rank(Subject(graph, shapes, channels, ctx))
    goal = Goal.of(budget, ratio)
    allocation = allocate(
        capacity(graph, channels, layers),
        [ranking.losses for ranking in rankings],
        [group.repeats for group in channels.groups],
        parameters=goal.parameters,
        macs=goal.macs,
        channels=goal.channels,
        multiple=multiple,
    )
    kept = np.ones(channels.classes, dtype=bool)
    for ranking, count in zip(rankings, allocation.kept, strict=True):
        kept[ranking.classes[count:]] = False
    return PrunePlan(
        shapes, channels, totals(layers), layers, allocation, kept, _saliency_left(channels, rankings, allocation)
    )


def _saliency_left(channels: ChannelMap, rankings: Sequence[Ranking], allocation: Allocation) -> dict[str, float]:
    """The mean over the groups a layer makes channels of, weighted by their sizes."""
    parts: dict[str, list[tuple[int, float]]] = {}
    for group, ranking, count in zip(channels.groups, rankings, allocation.kept, strict=True):
        for layer in group.producers:
            parts.setdefault(layer, []).append((len(group.classes), float(ranking.left[count])))
    return {
        layer: sum(size * left for size, left in found) / sum(size for size, _ in found)
        for layer, found in parts.items()
    }
