"""Figures of a round of pruning, exact; rounded where they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yocc.analysis.pacing import Paced, TimeFigures
from yocc.passes.prune.filters import FilterPlan
from yocc.passes.prune.plan import PrunePlan


@dataclass(frozen=True)
class PruneFigures:
    """What a round of pruning left.

    Attributes:
        parameters: share of the parameters before this round, 0..1.
        macs: share of the MACs before this round, 0..1.
        parameters_before: before this round.
        macs_before: before this round.
        channels: share of the channels that may go; None where none were counted.
        multiple: what channel counts are multiples of; None where none were counted.
        zeros: share of zeros in thinned layers; None where no weights were set to zero.
        time: of a budget of time.
        candidates: error of each candidate, in order; empty where there was one.
        saliency: share of the saliency of its channels that each layer has left since the first round.
    """

    parameters: float
    macs: float
    parameters_before: int
    macs_before: int
    channels: float | None = None
    multiple: int | None = None
    zeros: float | None = None
    time: TimeFigures | None = None
    candidates: tuple[float, ...] = ()
    saliency: Mapping[str, float] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """Without what there is none of; saliency is shown at the layers."""
        found = {
            "parameters": self.parameters,
            "macs": self.macs,
            "channels": self.channels,
            "parameters_before": self.parameters_before,
            "macs_before": self.macs_before,
            "multiple": self.multiple,
            "zeros": self.zeros,
            "latency": None if self.time is None else self.time.shown(),
            "candidates": [round(error, 6) for error in self.candidates] or None,
        }
        return {name: value for name, value in found.items() if value is not None}


def channel_figures(
    plan: PrunePlan, before: PruneFigures | None, paced: Paced[PrunePlan] | None, candidates: list[float]
) -> PruneFigures:
    """Figures of a plan that removes channels.

    Args:
        plan: what is removed.
        before: figures of the round before; None in the first one.
        paced: the plan's time; None where time is not the budget.
        candidates: their errors, in order.
    """
    left = {} if before is None else before.saliency
    return PruneFigures(
        plan.allocation.parameters,
        plan.allocation.macs,
        plan.before.parameters,
        plan.before.macs,
        plan.allocation.channels,
        plan.allocation.multiple,
        time=None if paced is None else TimeFigures.of(paced),
        candidates=tuple(candidates),
        saliency={layer: share * left.get(layer, 1.0) for layer, share in plan.saliency.items()},
    )


def channel_layers(
    plan: PrunePlan, figures: PruneFigures, before: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Channels of each layer before the first round and now; `before` is what the last round said of the layers."""
    found = {}
    for cut in plan.channels.cuts:
        if cut.role != "out":
            continue
        entry = {
            "channels": before.get(cut.node, {}).get("channels", len(cut.atoms)),
            "kept": int(plan.kept[cut.atoms].sum()),
        }
        if cut.node in figures.saliency:
            entry["saliency_kept"] = round(figures.saliency[cut.node], 4)
        found[cut.node] = entry
    return found


def filter_figures(plan: FilterPlan) -> PruneFigures:
    """Figures of a plan by which layers read less."""
    left = plan.allocation
    return PruneFigures(left.parameters, left.macs, plan.parameters, plan.macs, left.channels, left.multiple)
