"""Which of the layers that a pass changed ruin the model: by bisection over them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from yocc.api.debugging.channels import layer_before, without_channels
from yocc.api.debugging.diagnosis import LayerFacts
from yocc.api.debugging.parts import Part, changed_parts, hybrid, local_name, side_by_side
from yocc.api.debugging.scoring import Place, Scorer, feeds_of
from yocc.api.debugging.trail import Step
from yocc.compiler.graph import Graph, convert_opset, to_proto
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Arrays, PassContext, Progress
from yocc.errors import BackendError, InternalError, YoccError
from yocc.runtime.backends.compare import Comparison
from yocc.runtime.backends.compare import Part as Output
from yocc.runtime.backends.onnxruntime import reference_executor, session_of

EXPLAINS = 0.5
"""Share of the loss that half of the layers must explain for the search to go on in it alone."""
LOCAL_SAMPLES = 2
"""Inputs on which the layers' own errors are measured."""
MEASURED = 5
"""Layers of the largest error of their own of which the loss that each causes alone is measured too."""
_TOGETHER = 24
"""Layers whose inputs are recorded at once."""


@dataclass(frozen=True)
class Suspects:
    """A pass and the layers that it changed.

    Attributes:
        before: the graph before the pass, of the opset after it.
        after: the graph after it.
        place: how the graph before it is fed and read.
        parts: what the pass changed, in order.
    """

    before: Graph
    after: Graph
    place: Place
    parts: Sequence[Part]


@dataclass(frozen=True)
class Blame:
    """What bisection found.

    Attributes:
        layers: what the pass did to single layers, the worst first.
        guilty: the parts that the loss was narrowed down to; empty where the layers do not explain it.
        lost: by these alone.
        changed: how many layers the pass changed.
    """

    layers: tuple[LayerFacts, ...] = ()
    guilty: tuple[Part, ...] = ()
    lost: float = 0.0
    changed: int = 0


def suspects_of(step: Step, place: Place) -> Suspects | None:
    """The layers that a pass changed; None where it failed.

    Of a pass that removes channels, the graph after it is the one before with these channels zero.

    Args:
        step: the pass.
        place: how the graph before it is fed and read.

    Raises:
        ModelError: the graph before it cannot be raised to the opset of the one after it.
    """
    if step.after is None or step.run is None:
        return None
    before, after = convert_opset(step.before, step.after.opset), step.after
    thinner = without_channels(before, step.run.result.lineage, step.ctx.teacher)
    if thinner is None:
        return Suspects(before, after, place, changed_parts(before, after))
    makers = {tensor.name: layer_before(node) for node in before.nodes for tensor in node.outputs}
    parts = [
        replace(part, node=makers[part.tensor].name, op=makers[part.tensor].op)
        for part in changed_parts(before, thinner)
    ]
    return Suspects(before, thinner, place, parts)


def blame(suspects: Suspects, scorer: Scorer, before: float, lost: float, progress: Progress) -> Blame:
    """Narrow the loss of a pass down to layers.

    Halves of the layers are taken over from the pass, each alone; the search goes on in the half that loses more while
    it explains half of the loss.

    Args:
        suspects: the pass.
        scorer: measures fidelity.
        before: fidelity before the pass.
        lost: by the pass.
        progress: shows the search.
    """
    parts = list(suspects.parts)
    if not parts:
        return Blame()

    def loss(some: Sequence[Part]) -> float:
        try:
            graph = hybrid(suspects.before, suspects.after, some)
            return max(0.0, before - scorer.score(graph, suspects.place).fidelity)
        except (YoccError, InternalError, ValueError, RuntimeError):
            return -math.inf  # no model that says anything

    errors = _own_errors(suspects, scorer, progress)
    left, found = parts, loss(parts)
    if found >= EXPLAINS * lost:
        rounds = math.ceil(math.log2(len(parts)))
        for _ in progress(range(rounds), "bisecting over layers", rounds):
            if len(left) == 1:
                continue
            halves = left[: len(left) // 2], left[len(left) // 2 :]
            losses = [loss(half) for half in halves]
            worse = losses.index(max(losses))
            if losses[worse] < EXPLAINS * lost:
                break
            left, found = halves[worse], losses[worse]
    else:
        left = []
    guilty = {part.tensor for part in left}
    ranked = sorted(parts, key=lambda part: (math.isnan(errors[part.tensor]), errors[part.tensor]))
    looked = [
        *(part for part in ranked if part.tensor in guilty),
        *(part for part in ranked if part.tensor not in guilty),
    ]
    alone = {}
    for part in progress(looked[:MEASURED], "measuring single layers", min(MEASURED, len(looked))):
        lost_alone = found if len(left) == 1 and part is left[0] else loss([part])
        alone[part.tensor] = lost_alone if lost_alone >= 0 else None
    layers = tuple(
        LayerFacts(
            part.node, part.op, part.tensor, _known(errors[part.tensor]), alone.get(part.tensor), part.tensor in guilty
        )
        for part in looked
    )
    return Blame(layers, tuple(left), max(0.0, found), len(parts))


def recorded(graph: Graph, names: Sequence[str], feeds: Sequence[Arrays], ctx: PassContext) -> Iterator[Arrays]:
    """The values of some tensors of a graph for each input, as onnxruntime computes them operator by operator.

    Raises:
        BackendError: it does not run.
    """
    run = run_until(graph, names, replace(ctx, executor=reference_executor()))
    for arrays in feeds:
        values = run(arrays)
        yield {name: values[name] for name in names}


def _own_errors(suspects: Suspects, scorer: Scorer, progress: Progress) -> dict[str, float]:
    """Signal to noise of each part in decibels on its inputs before the pass; NaN where it does not run."""
    feeds = feeds_of(suspects.place, LOCAL_SAMPLES)
    groups = [suspects.parts[first : first + _TOGETHER] for first in range(0, len(suspects.parts), _TOGETHER)]
    found: dict[str, float] = {}
    for group in progress(groups, "comparing layers", len(groups)):
        try:
            found |= _errors_of(group, suspects, feeds, scorer.prepared.context)
        except (BackendError, ValueError, RuntimeError):
            found |= {part.tensor: math.nan for part in group}
    return found


def _errors_of(
    group: Sequence[Part], suspects: Suspects, feeds: Sequence[Arrays], ctx: PassContext
) -> dict[str, float]:
    local = side_by_side(suspects.before, suspects.after, group)
    names = list(dict.fromkeys([*(name for part in group for name in part.reads), *(part.tensor for part in group)]))
    inputs = [tensor.name for tensor in local.inputs]
    comparisons = {part.tensor: Comparison([Output(part.tensor)]) for part in group}
    with session_of(to_proto(local), optimize=False) as session:
        for values in recorded(suspects.before, names, feeds, ctx):
            outputs = session.run({name: values[name] for name in inputs})
            for name, comparison in comparisons.items():
                comparison.add({name: values[name]}, {name: outputs[local_name(name)]})
    return {name: _decibels(comparison) for name, comparison in comparisons.items()}


def _decibels(comparison: Comparison) -> float:
    (difference,) = comparison.differences()
    if not difference.finite:
        return -math.inf
    return math.inf if difference.snr_db is None else difference.snr_db


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
