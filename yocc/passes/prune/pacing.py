"""Pruning to a share of the time."""

from __future__ import annotations

from dataclasses import dataclass

from yocc.analysis.pacing import LAW, Paced, pace
from yocc.analysis.timing import time_ratio
from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.pipeline.latency import LatencyTable
from yocc.compiler.pipeline.passes import PassContext
from yocc.passes.prune.latency import Latency, SquareRootLaw, table_latency
from yocc.passes.prune.plan import Goal, PrunePlan, Ranked
from yocc.passes.prune.remove import remove_channels
from yocc.passes.prune.timing import measure_table


@dataclass(frozen=True)
class Predictor:
    """What predicts the time of widths.

    Attributes:
        latency: as a function of the channels that each group keeps.
        name: for the report.
        table: what it was made of; None for the law.
    """

    latency: Latency
    name: str
    table: LatencyTable | None = None


def plan_for_latency(
    graph: Graph, ctx: PassContext, ranked: Ranked, *, goal: float, base: float, multiple: int
) -> Paced[PrunePlan]:
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
    predictor = predictor_for(graph, ctx, ranked)
    original = graph if ctx.teacher is None else ctx.teacher.graph

    def plan_for(share: float) -> tuple[PrunePlan, float]:
        plan = ranked.plan(Goal(latency=share), multiple, predictor.latency)
        return plan, 1.0 if plan.allocation.latency is None else plan.allocation.latency

    def timed(plan: PrunePlan) -> float:
        return time_ratio(ctx, original, _pruned(graph, plan))

    return pace(plan_for, None if ctx.profiler is None else timed, goal=goal, base=base, predictor=predictor.name)


def predictor_for(graph: Graph, ctx: PassContext, ranked: Ranked) -> Predictor:
    """A table that is given or measured now, or else the law.

    Args:
        graph: not changed.
        ctx: has a table or a profiler, or neither.
        ranked: its channels.
    """
    table, profiler = ctx.latency, ctx.profiler
    if table is None and profiler is not None:
        table = ctx.memo.once("latency table", lambda: measure_table(graph, ctx, profiler))
    if table is None:
        return Predictor(SquareRootLaw(ranked.capacity), LAW)
    latency = table_latency(graph, ranked.shapes, ranked.channels, table)
    return Predictor(latency, f"table of {table.device}", table)


def _pruned(graph: Graph, plan: PrunePlan) -> Graph:
    pruned = clone(graph)
    remove_channels(pruned, plan.shapes, plan.channels, plan.kept)
    refresh(pruned)
    return pruned
