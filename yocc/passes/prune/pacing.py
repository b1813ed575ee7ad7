"""Pruning to a share of the time: plan by prediction, measure, correct the prediction, until the time is met."""

from __future__ import annotations

from dataclasses import dataclass

from yocc.analysis.timing import time_ratio
from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.pipeline.passes import PassContext
from yocc.errors import InternalError
from yocc.passes.prune.latency import Latency, SquareRootLaw, table_latency
from yocc.passes.prune.plan import Goal, PrunePlan, Ranked
from yocc.passes.prune.remove import remove_channels
from yocc.passes.prune.timing import measure_table

MEASURED = 0.03
"""How far from the target a measured time is met."""
CLOSE = 0.01
"""Near enough to stop trying: what noise leaves to be had."""
_TRIES = 5
_STRIDE = 3.0
"""How many times as much is removed at most in the next try."""
_LEAST, _MOST = 0.02, 0.98


@dataclass(frozen=True)
class Paced:
    """A plan for a share of the time.

    Attributes:
        plan: the plan.
        goal: share of the original's time that was asked for, in all rounds so far.
        predicted: share of the original's time that the table or the law expects.
        measured: share of the original's time; None where it was not measured.
        predictor: what predicted, for the report.
    """

    plan: PrunePlan
    goal: float
    predicted: float
    measured: float | None
    predictor: str

    @property
    def reached(self) -> float:
        """What is known best."""
        return self.predicted if self.measured is None else self.measured


def plan_for_latency(
    graph: Graph, ctx: PassContext, ranked: Ranked, *, goal: float, base: float, multiple: int
) -> Paced:
    """Choose channels so that a run takes `goal` of the original's time.

    Args:
        graph: what is pruned; not changed.
        ctx: has a latency table or a profiler, by which one is measured; without both the square root law predicts.
            Without a profiler nothing is measured.
        ranked: its channels.
        goal: share of the time of the original, `ctx.teacher`, or of the graph where there is none.
        base: share of that time the graph takes as it is.
        multiple: channel counts to prefer.
    """
    latency, predictor = _predictor(graph, ctx, ranked)
    if ctx.profiler is None:
        plan = ranked.plan(Goal(latency=goal / base), multiple, latency)
        return Paced(plan, goal, base * _share(plan), None, predictor)
    original = graph if ctx.teacher is None else ctx.teacher.graph
    wanted, best = goal / base, None
    for _ in range(_TRIES):
        plan = ranked.plan(Goal(latency=wanted), multiple, latency)
        found = Paced(plan, goal, base * _share(plan), time_ratio(ctx, original, _pruned(graph, plan)), predictor)
        if best is None or abs(found.reached - goal) < abs(best.reached - goal):
            best = found
        if abs(found.reached - goal) <= CLOSE:
            break
        # What removal gains is off by a factor, which noise can hide when little is removed.
        gained = max(1 - found.reached / base, 1e-6)
        factor = min((1 - goal / base) / gained, _STRIDE)
        wanted = min(max(1 - factor * (1 - _share(plan)), _LEAST), _MOST)
    if best is None:
        raise InternalError("No plan was tried.")
    return best


def _share(plan: PrunePlan) -> float:
    return 1.0 if plan.allocation.latency is None else plan.allocation.latency


def _predictor(graph: Graph, ctx: PassContext, ranked: Ranked) -> tuple[Latency, str]:
    table, profiler = ctx.latency, ctx.profiler
    if table is None and profiler is not None:
        table = ctx.memo.once("latency table", lambda: measure_table(graph, ctx, profiler))
    if table is None:
        return SquareRootLaw(ranked.capacity), "square root of the MACs"
    return table_latency(graph, ranked.shapes, ranked.channels, table), f"table of {table.device}"


def _pruned(graph: Graph, plan: PrunePlan) -> Graph:
    pruned = clone(graph)
    remove_channels(pruned, plan.shapes, plan.channels, plan.kept)
    refresh(pruned)
    return pruned
