"""What the passes of a pipeline would do, one after the other, found in seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import Totals, layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.foreseen import Foreseen
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.pipeline import (
    Pipeline,
    blaming,
    print_pass,
    refresh_after,
    require_available,
    with_opset,
)


@dataclass(frozen=True)
class ForeseenStep:
    """What one pass would do.

    Attributes:
        name: of the pass.
        spec: the pass in text form, with the options that differ from their defaults.
        options: all its options.
        foreseen: what it would do.
        exact: whether it was foreseen on the graph it would get; not where an earlier pass is only known when it runs.
        left: parameters and MACs after it; None where they are only known when it runs.
    """

    name: str
    spec: str
    options: Mapping[str, Any]
    foreseen: Foreseen
    exact: bool
    left: Totals | None


def foresee(pipeline: Pipeline, graph: Graph, ctx: PassContext) -> tuple[Graph, tuple[ForeseenStep, ...]]:
    """Ask all passes what they would do.

    Args:
        pipeline: the passes.
        graph: is changed by the passes that are quick enough to run.
        ctx: what they would be given; takes their notes.

    Returns:
        The graph as far as it is foreseen, and what each pass would do.

    Raises:
        OptionError: a pass cannot run on this machine.
        YoccError: a pass cannot do what is asked of it on this graph.
    """
    require_available(pipeline.passes)
    exact, steps = True, []
    for place, step in enumerate(pipeline.passes):
        later = tuple(each.name for each in pipeline.passes[place + 1 :])
        own = replace(ctx, origin=step.name, remaining_passes=later)
        graph = with_opset(step, graph, own)
        seen = _ask(step, graph, own, exact=exact)
        graph = graph if seen.result.graph is None else seen.result.graph
        if seen.result.rewrites:
            refresh_after(step, graph)
        ctx = ctx.after(step.name, replace(seen.result, graph=None))
        known = exact and seen.done
        left = totals(layer_costs(graph, concrete_shapes(graph, ctx.input_shapes))) if known else None
        options = {each.name: getattr(step, each.name) for each in dataclasses.fields(step)}
        steps.append(ForeseenStep(step.name, print_pass(step), options, seen, exact, left))
        exact = known
    return graph, tuple(steps)


def _ask(step: Pass, graph: Graph, ctx: PassContext, *, exact: bool) -> Foreseen:
    with blaming(step):
        if exact:
            step.requires(graph, ctx)
        return step.foresee(graph, ctx, exact=exact)
