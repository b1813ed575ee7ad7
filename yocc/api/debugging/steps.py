"""What each pass leaves of a model, and which of them is guilty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from yocc.api.debugging.diagnosis import Metric, StepFacts
from yocc.api.debugging.scoring import Place, Score, Scorer
from yocc.api.debugging.trail import Step
from yocc.api.debugging.watching import Spot, Watch
from yocc.compiler.graph import Graph, to_proto
from yocc.compiler.pipeline.passes import Pass, Progress
from yocc.compiler.pipeline.pipeline import print_pass
from yocc.compiler.stages.prepare import Prepared
from yocc.errors import BackendUnavailable, InternalError, YoccError


@dataclass(frozen=True)
class Measured:
    """The model after each step.

    Attributes:
        facts: the model that came in, after each pass, and as built for the target.
        metric: what fidelity is; empty where it was not measured.
    """

    facts: tuple[StepFacts, ...]
    metric: Metric


def measure_steps(
    original: Graph,
    steps: Sequence[Step],
    prepared: Prepared,
    scorer: Scorer | None,
    progress: Progress,
    watch: Watch,
) -> Measured:
    """Compare the model after each pass, and as built for the target, with the original.

    Args:
        original: the graph before the passes.
        steps: the passes.
        prepared: the compilation.
        scorer: None where nothing can be compared.
        progress: shows the loop.
        watch: knows of models that end the process.
    """
    facts = [StepFacts("original", prepared.subject.file.path, fidelity=None if scorer is None else 1.0)]
    by_detections = False
    for place, step in enumerate(progress(steps, "comparing after each pass", len(steps)), 1):
        found = _after_pass(step, [each.step for each in steps[:place]], facts[-1], scorer, watch)
        facts.append(found[0])
        by_detections |= found[1]
    if not steps or steps[-1].error is None:
        final = steps[-1].after if steps else original
        assert final is not None
        facts.append(_as_built(final, [each.step for each in steps], prepared, scorer, watch))
    metric: Metric = "" if scorer is None else "mAP50-95" if by_detections else "1 - relative error"
    return Measured(tuple(_with_losses(facts)), metric)


def find_guilty(facts: Sequence[StepFacts], graphs: Sequence[Graph], prepared: Prepared, max_loss: float) -> int | None:
    """The place of the step that ruins the model: that fails, makes the target reject it, or loses most.

    Args:
        facts: of the steps.
        graphs: the model that came in and after each pass that did not fail.
        prepared: the compilation.
        max_loss: loss that a step may make.
    """
    if facts[-1].kind == "pass":  # the last pass failed, or the target would stand behind it
        return len(facts) - 1
    backend, target = prepared.plan.backend, prepared.plan.target
    if backend.validate(graphs[-1], target):
        accepted = [place for place, graph in enumerate(graphs) if not backend.validate(graph, target)]
        return accepted[-1] + 1 if accepted else 0
    worst = max(range(len(facts)), key=lambda place: (facts[place].lost or 0.0, -place))
    if (facts[worst].lost or 0.0) > max_loss:
        return worst
    return next((place for place, step in enumerate(facts) if step.status == "failed"), None)


def _after_pass(
    step: Step, passes: Sequence[Pass], before: StepFacts, scorer: Scorer | None, watch: Watch
) -> tuple[StepFacts, bool]:
    name = print_pass(step.step)
    if step.run is None or step.after is None:
        return StepFacts("pass", name, "failed", message=_said(step.error)), False
    facts = StepFacts("pass", name, rewrites=step.run.rewrites, seconds=round(step.run.seconds, 3))
    if scorer is None:
        return facts, False
    if before.status == "done" and before.fidelity is not None and before.kind == "pass" and _unchanged(step):
        return replace(facts, fidelity=before.fidelity, snr_db=before.snr_db, confident=before.confident), False
    try:
        with watch.at(Spot("left", len(passes))):
            score = scorer.score(step.after, scorer.place(passes))
    except (YoccError, InternalError) as error:
        return replace(facts, status="failed", fidelity=0.0, message=_said(error)), False
    return _scored(facts, score), score.by_detections


def _unchanged(step: Step) -> bool:
    """Whether a pass that reports no rewrite made none."""
    if step.run is None or step.after is None or step.run.rewrites:
        return False
    one, other = (to_proto(graph).SerializeToString(deterministic=True) for graph in (step.before, step.after))
    return bool(one == other)


def _as_built(
    graph: Graph, passes: Sequence[Pass], prepared: Prepared, scorer: Scorer | None, watch: Watch
) -> StepFacts:
    facts = StepFacts("target", prepared.plan.backend.name)
    rejects = prepared.plan.backend.validate(graph, prepared.plan.target)
    if rejects:
        message = f"{rejects[0].node!r}: {rejects[0].reason}"
        return replace(facts, status="rejected", message=message, fidelity=None if scorer is None else 0.0)
    if scorer is None:
        return facts
    try:
        place: Place = scorer.place(passes)
        with watch.at(Spot("target")):
            return _scored(facts, scorer.score_built(graph, place))
    except BackendUnavailable as error:
        return replace(facts, message=_said(error))
    except Exception as error:  # whatever a backend raises is what is looked for
        return replace(facts, status="failed", fidelity=0.0, message=_said(error))


def _scored(facts: StepFacts, score: Score) -> StepFacts:
    return replace(facts, fidelity=score.fidelity, snr_db=score.snr_db, confident=score.confident)


def _with_losses(facts: Sequence[StepFacts]) -> list[StepFacts]:
    """The steps with what each loses for good: what a later one gives back, as recovery does, is not lost."""
    best: list[float | None] = []
    for step in reversed(facts):
        known = 0.0 if step.status == "failed" else step.fidelity
        later = best[-1] if best else None
        best.append(known if later is None else later if known is None else max(known, later))
    best.reverse()
    found = [facts[0]]
    for place, step in enumerate(facts[1:], 1):
        earlier, now = best[place - 1], best[place]
        if step.fidelity is None or earlier is None or now is None:
            found.append(step)
        else:
            found.append(replace(step, lost=max(0.0, earlier - now)))
    return found


def _said(error: Exception | None) -> str:
    if isinstance(error, YoccError):
        return error.message
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
