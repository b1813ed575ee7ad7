"""The decision which channels go, apart from taking them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yocc.analysis.coupling.channels import ChannelMap, map_channels
from yocc.analysis.coupling.weighted import QUANTIZED
from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import LayerCost, Totals, layer_costs, totals
from yocc.compiler.graph.shapes import Shapes, concrete_shapes
from yocc.compiler.pipeline.lineage import Channels
from yocc.compiler.pipeline.partial import does_run
from yocc.compiler.pipeline.passes import PassContext
from yocc.errors import BackendError, PassError
from yocc.passes.prune.allocate import Allocation, allocate
from yocc.passes.prune.budget import Capacity, capacity
from yocc.passes.prune.criteria import Subject, criterion_named
from yocc.passes.prune.latency import Latency
from yocc.passes.prune.ranking import Ranking

BUDGETS = ("both", "parameters", "macs", "channels", "latency")
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

    def kept_outputs(self) -> Channels:
        """Which of its output channels each layer keeps."""
        return {cut.node: np.flatnonzero(self.kept[cut.atoms]) for cut in self.channels.cuts if cut.role == "out"}


@dataclass(frozen=True)
class Goal:
    """Shares to keep; None where anything will do.

    Attributes:
        parameters: of the parameters.
        macs: of the MACs.
        channels: of the channels that may go.
        latency: of the time of a run.
    """

    parameters: float | None = None
    macs: float | None = None
    channels: float | None = None
    latency: float | None = None

    @classmethod
    def of(cls, budget: str, ratio: float) -> Goal:
        """What removing a ratio means for one of `BUDGETS`."""
        left = 1 - ratio
        return cls(
            left if budget in ("both", "parameters") else None,
            left if budget in ("both", "macs") else None,
            left if budget == "channels" else None,
            left if budget == "latency" else None,
        )


@dataclass(frozen=True)
class Ranked:
    """A graph whose channels are in order, for which plans can be made.

    Attributes:
        shapes: concrete shapes.
        channels: the channel map.
        layers: costs of each layer.
        rankings: one for each group.
        capacity: the cost equations.
    """

    shapes: Shapes
    channels: ChannelMap
    layers: Sequence[LayerCost]
    rankings: Sequence[Ranking]
    capacity: Capacity

    def plan(self, goal: Goal, multiple: int, latency: Latency | None = None) -> PrunePlan:
        """Choose how many channels go.

        Args:
            goal: shares to keep.
            multiple: channel counts to prefer.
            latency: predicts time; needed where the goal names it.
        """
        timed = None if latency is None or goal.latency is None else (latency, goal.latency)
        allocation = allocate(
            self.capacity,
            [ranking.losses for ranking in self.rankings],
            [group.repeats for group in self.channels.groups],
            parameters=goal.parameters,
            macs=goal.macs,
            channels=goal.channels,
            latency=timed,
            multiple=multiple,
        )
        kept = np.ones(self.channels.classes, dtype=bool)
        for ranking, count in zip(self.rankings, allocation.kept, strict=True):
            kept[ranking.classes[count:]] = False
        left = _saliency_left(self.channels, self.rankings, allocation)
        return PrunePlan(self.shapes, self.channels, totals(self.layers), self.layers, allocation, kept, left)


def rank_channels(graph: Graph, ctx: PassContext, criterion: str) -> Ranked:
    """Put the channels of a graph in order.

    Raises:
        PassError: nothing in the graph can be pruned, or the criterion does not apply to it.
        CalibrationError: the criterion needs pictures and there are none.
    """
    shapes = concrete_shapes(graph, ctx.input_shapes)
    layers = layer_costs(graph, shapes)
    channels = map_channels(graph, shapes, ctx.protected)
    if not channels.groups:
        raise nothing_to_remove(channels)
    subject = Subject(graph, shapes, channels, ctx)
    try:
        place = f"channels ranked by {criterion}"
        rankings = ctx.across(place, lambda: criterion_named(criterion).rank(subject))
    except BackendError as error:
        if does_run(graph, ctx):
            raise
        ctx.note(
            f"Channels are chosen by their weights instead of by {criterion!r}, as the model does not run here: "
            f"{error.message}",
            level="warning",
        )
        rankings = criterion_named("auto").rank(subject)
    return Ranked(shapes, channels, layers, rankings, capacity(graph, channels, layers))


def plan_pruning(
    graph: Graph, ctx: PassContext, *, ratio: float, criterion: str, multiple: int, budget: str = "both"
) -> PrunePlan:
    """Decide which channels to remove so that `ratio` of what the budget names goes; time takes a `Ranked`.

    Raises:
        PassError: nothing in the graph can be pruned, or the criterion does not apply to it.
        CalibrationError: the criterion needs pictures and there are none.
    """
    return rank_channels(graph, ctx, criterion).plan(Goal.of(budget, ratio), multiple)


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


def nothing_to_remove(channels: ChannelMap) -> PassError:
    """The error where no group of channels can go, with the reason at the first layer that has one."""
    reason = next(iter(channels.reasons.values()), None)
    why = "" if reason is None or not reason.node else f": {reason.text}, {reason.node!r} for one"
    hint = "See `yocc inspect` for the reason at each layer, or lower ranks instead: --moves ranks."
    if reason is not None and reason.text.endswith(QUANTIZED):
        hint = "Prune the model in float and quantize it afterwards, with --prune and --int8."
    return PassError(f"No channel of this model can be removed{why}.", hint, node="" if reason is None else reason.node)
