"""Ranks for a share of the time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from yocc.analysis.pacing import Paced, pace
from yocc.analysis.ranks.layers import Form, Layer
from yocc.analysis.ranks.moves import Move, MovePlan, faster_moves
from yocc.analysis.timing import STEP, time_ratio
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.passes import PassContext
from yocc.fitting.budgets import Ways, choose_in
from yocc.passes.factorize.choose import Losses
from yocc.passes.factorize.clocks import Clock, clock_for
from yocc.passes.factorize.timing import rank_step, with_pairs

Array = np.ndarray[Any, Any]


def plan_for_time(
    graph: Graph, ctx: PassContext, losses: Losses, *, goal: float, base: float, multiple: int
) -> Paced[MovePlan]:
    """Choose ranks so that a run takes `goal` of the original's time.

    Args:
        graph: what is factorized; not changed.
        ctx: has a latency table or a profiler, by which pairs are measured; without both the square root law predicts.
            Without a profiler nothing is measured.
        losses: its layers.
        goal: share of the time of the original, `ctx.teacher`, or of the graph where there is none.
        base: share of that time the graph takes as it is.
        multiple: of the ranks, if that is possible.
    """
    clock = clock_for(graph, ctx)
    original = graph if ctx.teacher is None else ctx.teacher.graph

    def timed(plan: MovePlan) -> float:
        ranks = {name: (move.form, move.rank) for name, move in plan.moves.items()}
        return time_ratio(ctx, original, with_pairs(graph, ctx, ranks)[0])

    return pace(
        lambda share: choose_in_time(losses, clock, share, multiple),
        None if ctx.profiler is None else timed,
        goal=goal,
        base=base,
        predictor=clock.name,
    )


def choose_in_time(losses: Losses, clock: Clock, share: float, multiple: int) -> tuple[MovePlan, float]:
    """The ranks that lose least together within a share of the time.

    Dynamic programming over the time on a grid, exact up to the grid: Frantar and Alistarh, "SPDY: Accurate Pruning
    with Speedup Guarantees", ICML 2022. No choice of these ranks that takes as little time loses less than the bound.

    Args:
        losses: layers, each with what it loses by form and rank.
        clock: predicts the time of the network.
        share: of its time, which may be left.
        multiple: of the ranks that the target wants; steps are halved where they do not reach the share.

    Returns:
        The plan, and the share of the time that it is predicted to leave.
    """
    known = {name: (layer, lost) for name, (layer, lost) in losses.items() if clock.whole(layer) is not None}
    finer = 1
    while True:
        moves = {name: _moves(layer, lost, clock, (multiple, finer)) for name, (layer, lost) in known.items()}
        found = _choose(moves, known, clock, share)
        if found[0].reached or finer >= max(multiple, STEP):
            return found
        finer *= 2


def _moves(
    layer: Layer, losses: Mapping[Form, Array], clock: Clock, steps: tuple[int, int]
) -> list[tuple[Move, float]]:
    """Moves that are faster than the layer, with their times; `steps`: the target's multiple, and what divides it."""
    multiple, finer = steps
    found = []
    for form, lost in losses.items():
        step = max(1, rank_step(layer, form, multiple) // finer)
        for move in faster_moves(layer, {form: lost}, step, clock.faster):
            time = clock.pair(layer, move)
            if time is not None:
                found.append((move, time))
    return found


def _choose(
    moves: Mapping[str, list[tuple[Move, float]]], layers: Losses, clock: Clock, share: float
) -> tuple[MovePlan, float]:
    whole = {name: clock.whole(layer) or 0.0 for name, (layer, _) in layers.items()}
    rest = clock.total - sum(whole.values())
    items = [
        Ways(
            np.array([0.0, *(move.loss for move, _ in own)]),
            times := np.array([whole[name], *(time for _, time in own)]),
            np.zeros_like(times),
        )
        for name, own in moves.items()
    ]
    chosen = choose_in(items, clock.left(share) - rest)
    pairs = list(zip(moves, items, chosen.places, strict=True))
    taken = {name: moves[name][place - 1][0] for name, _, place in pairs if place}
    left = rest + sum(float(item.costs[place]) for _, item, place in pairs)
    return MovePlan(taken, chosen.loss, chosen.bound, chosen.fits), clock.share(left)
