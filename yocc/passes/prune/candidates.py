"""Several ways to spread what goes over the layers, of which the one is taken that harms the outputs least.

EagleEye (Li et al., "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning", ECCV 2020) draws the
ratios of layers at random and ranks the pruned networks once their statistics have been re-estimated, which says more
of what they can become than the networks as they are cut. There accuracy ranks them; here, without labels, the error of
the last layers' outputs by their Fisher information (see `effect`), as raw errors of outputs do not rank networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from yocc.analysis.effect import fisher
from yocc.analysis.heads import final_layers
from yocc.analysis.pictures import Some, some_pictures
from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.pipeline.lineage import rewritten, teacher_after
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Arrays, PassContext
from yocc.errors import CalibrationError
from yocc.passes.prune.plan import Goal, PrunePlan, Ranked
from yocc.passes.prune.ranking import Ranking
from yocc.passes.prune.remove import remove_channels
from yocc.rewrites.folding import fold_into_layers
from yocc.rewrites.statistics import restore_statistics

PICTURES = 24
"""Two thirds of them for the statistics, the others to judge by."""
SPREAD = 0.5
"""Standard deviation of the logarithm by which the losses of a group are multiplied."""


def best_candidate(
    graph: Graph, ctx: PassContext, ranked: Ranked, *, goal: Goal, multiple: int, count: int
) -> tuple[PrunePlan, list[float]]:
    """Of the plan by the losses as they are and others by losses varied at random, the one with the least error.

    Args:
        graph: what is pruned; not changed.
        ctx: pictures, and what runs models.
        ranked: its channels.
        goal: shares to keep.
        multiple: channel counts to prefer.
        count: candidates.

    Returns:
        The plan, and the error of each candidate, in order.

    Raises:
        CalibrationError: there are fewer than two pictures.
    """
    if ctx.feeds is None or len(ctx.feeds) < 2:
        raise CalibrationError("Candidates are judged on pictures.", "Give a folder with --calib.")
    pictures = list(some_pictures(ctx.feeds, min(PICTURES, len(ctx.feeds))))
    held_out = pictures[1::3]
    seen = Some([picture for place, picture in enumerate(pictures) if place % 3 != 1])
    random = ctx.random()
    plans = [ranked.plan(goal, multiple)]
    for _ in range(count - 1):
        factors = np.exp(SPREAD * random.standard_normal(len(ranked.rankings)))
        varied = [_scaled(ranking, factor) for ranking, factor in zip(ranked.rankings, factors, strict=True)]
        plans.append(replace(ranked, rankings=varied).plan(goal, multiple))
    errors = [_error(graph, ctx, plan, seen, held_out) for plan in ctx.progress(plans, "candidates", len(plans))]
    return plans[int(np.argmin(errors))], errors


def _scaled(ranking: Ranking, factor: float) -> Ranking:
    return replace(ranking, losses=ranking.losses * factor)


def _error(graph: Graph, ctx: PassContext, plan: PrunePlan, seen: Some, held_out: Sequence[Arrays]) -> float:
    """Mean squared error of the last layers' outputs, weighted by Fisher information, with statistics re-estimated."""
    pruned = clone(graph)
    remove_channels(pruned, plan.shapes, plan.channels, plan.kept)
    refresh(pruned)
    teacher = rewritten(teacher_after(graph, plan.kept_outputs(), ctx.teacher), fold_into_layers)
    restore_statistics(pruned, teacher, seen, ctx, pictures=len(seen))
    refresh(pruned)
    names = [node.outputs[0].name for node in final_layers(graph)]
    original, candidate = run_until(teacher.graph, names, ctx), run_until(pruned, names, ctx)
    total = 0.0
    for arrays in held_out:
        wanted, found = original(arrays), candidate(arrays)
        information: Any = fisher({name: wanted[name] for name in names}, ctx.detection)
        for name in names:
            total += float((information[name] * np.square(found[name] - wanted[name])).mean())
    return total / len(held_out)
