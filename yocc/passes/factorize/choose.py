"""The ranks that lose least together for a share of the parameters and of the MACs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from yocc.analysis.ranks.layers import Form, Layer
from yocc.analysis.ranks.moves import MovePlan, faster_moves, plan_moves, saves_enough
from yocc.analysis.ranks.times import PairTimes
from yocc.compiler.graph.cost import Totals

Losses = Mapping[str, tuple[Layer, Mapping[Form, np.ndarray[Any, Any]]]]
"""Layers, each with what it loses by form at each rank."""
TOLERANCE = 0.005
"""How far what is saved may exceed an exact share before smaller steps are tried, as `prune` has it."""
PROMISE = 0.01
"""How far what is saved may be from the share asked for without a warning, as a share of the original."""


def choose_ranks(
    layers: Losses,
    before: Totals,
    *,
    ratio: float,
    multiple: int,
    exact: bool,
    times: PairTimes | None = None,
) -> tuple[MovePlan, int]:
    """Ranks for all layers, in steps that are halved until the share is met.

    Args:
        layers: each with what it loses by form and rank.
        before: parameters and MACs of the whole network.
        ratio: share of both to save at least.
        multiple: of the ranks, if that is possible.
        exact: save no more than `ratio` of the parameters either, up to `TOLERANCE`, if that is possible.
        times: says which pairs are slower than their layer; None to go by the MACs that they save.

    Returns:
        The plan, and what its ranks are multiples of.
    """
    found: tuple[MovePlan, int] | None = None
    least = np.inf
    whole = {name: layer.cost for name, (layer, _) in layers.items()}
    own = {name: layer for name, (layer, _) in layers.items()}
    faster = saves_enough if times is None else times.faster
    most = (ratio + TOLERANCE) * before.parameters if exact else np.inf
    while True:
        plan = plan_moves(
            {name: faster_moves(layer, losses, multiple, faster) for name, (layer, losses) in layers.items()},
            whole,
            macs=ratio * before.macs,
            parameters=ratio * before.parameters,
            most_parameters=most,
        )
        excess = max(plan.saved(own).parameters - most, 0.0)
        met = plan.reached and not excess
        # Smaller steps that are hardly nearer are no gain over larger ones.
        nearer = plan.reached and excess < least - PROMISE * before.parameters
        if found is None or not found[0].reached or met or nearer:
            found, least = (plan, multiple), excess
        if met or multiple == 1:
            return found
        multiple //= 2
