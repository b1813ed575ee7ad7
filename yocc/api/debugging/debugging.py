"""Which pass, then which layer, ruins a model: `yocc debug`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from yocc.api.debugging import verdicts
from yocc.api.debugging.blaming import Blame, blame, suspects_of
from yocc.api.debugging.diagnosis import Diagnosis, StepFacts
from yocc.api.debugging.evidence import (
    EXHIBITED,
    Exhibit,
    failing_exhibit,
    layer_exhibit,
    rejected_exhibit,
    target_exhibit,
    unloadable_exhibit,
)
from yocc.api.debugging.scoring import Scorer, feeds_of, scorer_of
from yocc.api.debugging.steps import find_guilty, measure_steps
from yocc.api.debugging.targeting import Found, Suspect, blame_target, failing_in_target
from yocc.api.debugging.trail import Step, follow
from yocc.api.debugging.watching import Ended, Spot, Watch, watched
from yocc.api.debugging.writing import write_diagnosis, write_exhibit
from yocc.compiler.graph import Graph, clone
from yocc.compiler.output.folder import OutputFolder, output_path
from yocc.compiler.pipeline.passes import Progress, silent
from yocc.compiler.pipeline.pipeline import Observer
from yocc.compiler.stages.prepare import Prepared, make_plan, prepare
from yocc.compiler.stages.subject import Source
from yocc.errors import ModelError, OptionError
from yocc.options import CompileKeywords, CompileOptions, command_words

SAMPLES = 8
"""Inputs that models are compared on."""
MAX_LOSS = 0.1
"""Loss of fidelity up to which a pass is not guilty."""
_FED_TO_FAILING = 2
"""Recorded inputs that a failing pass is given."""
_FEW = 20
"""Detections below which one that is missing counts for much."""


@dataclass(frozen=True)
class _Case:
    """A compilation that was followed step by step.

    Attributes:
        prepared: what was asked for.
        original: the graph before the passes.
        steps: the passes.
        facts: what each left.
        scorer: compares with the original; None where nothing can be compared.
        progress: shows long loops.
        watch: knows what ends the process.
    """

    prepared: Prepared
    original: Graph
    steps: Sequence[Step]
    facts: Sequence[StepFacts]
    scorer: Scorer | None
    progress: Progress
    watch: Watch

    @property
    def graphs(self) -> list[Graph]:
        """The model that came in and after each pass that did not fail."""
        return [self.original, *(step.after for step in self.steps if step.after is not None)]


def debug_model(
    source: Source,
    wanted: CompileOptions | None = None,
    /,
    *,
    samples: int = SAMPLES,
    max_loss: float = MAX_LOSS,
    progress: Progress = silent,
    observers: Sequence[Observer] = (),
    contained: bool = False,
    **keywords: Unpack[CompileKeywords],
) -> Diagnosis:
    """Find which pass of a compilation, then which layer, ruins a model, and the smallest model that shows it.

    The model is compared with the original after each pass. Of the pass that loses most fidelity, fails, or makes the
    target reject the model, the layers that it changed are bisected.

    Args:
        source: an ONNX file, its bytes, or a model in memory.
        wanted: all options of the compilation as one value, instead of the keywords.
        samples: how many inputs to compare on.
        max_loss: loss of fidelity up to which a pass is not guilty, 0 to 1.
        progress: shows long loops.
        observers: look at the graph after each pass.
        contained: whether to work in copies of this process, so that native code that crashes is found too, as the
            command line does; only on Linux, and in a process that has not computed with OpenVINO or torch, whose
            threads are not copied.
        keywords: options by name, as for `yocc.compile`; `out` is the folder for what is found, `<model>_debug` if
            none is given.

    Raises:
        OptionError: invalid options.
        YoccError: the model, the pictures or the target cannot be used, or the folder cannot be written.
        ModelError: reading the model ends the process.
    """
    if wanted is not None and keywords:
        raise OptionError("Options are given as one value and by name.", "Give either.")
    if samples < 1:
        raise OptionError(f"Cannot compare on {samples} samples.", "Use at least 1.")
    if not 0 <= max_loss < 1:
        raise OptionError(f"A loss of {max_loss:g} is out of range.", "Use a share from 0 to below 1, such as 0.1.")
    options = CompileOptions.of(**keywords) if wanted is None else wanted
    path = source if isinstance(source, str | Path) else None
    out = options.output.out
    folder = output_path(path, f"{Path(path).stem}_debug" if out is None and path is not None else out)
    with OutputFolder(folder) as output:

        def work(watch: Watch) -> Diagnosis:
            found, exhibit = _diagnose(source, options, samples, max_loss, progress, observers, watch)
            if exhibit is not None:
                write_exhibit(exhibit, output)
            return found

        return write_diagnosis(watched(work) if contained else work(Watch()), output)


def _diagnose(
    source: Source,
    options: CompileOptions,
    samples: int,
    max_loss: float,
    progress: Progress,
    observers: Sequence[Observer],
    watch: Watch,
) -> tuple[Diagnosis, Exhibit | None]:
    try:
        with watch.at(Spot("model")):
            graph, prepared = prepare(source, make_plan(options), progress)
    except Ended as error:
        raise ModelError(f"The model cannot be prepared: {error.message}.", "Check it with onnx.checker.") from None
    original = clone(graph)
    steps = follow(graph, prepared, watch, observers)
    with scorer_of(original, prepared, samples, watch) as opened:
        scorer = None if isinstance(opened, str) else opened
        measured = measure_steps(original, steps, prepared, scorer, progress, watch)
        case = _Case(prepared, original, steps, measured.facts, scorer, progress, watch)
        guilty = find_guilty(measured.facts, case.graphs, prepared, max_loss)
        facts, verdict = list(measured.facts), ""
        found: Blame | Found = Blame()
        exhibit: Exhibit | None = None
        if guilty is None:
            verdict = verdicts.nothing_wrong(facts, max_loss)
        else:
            facts[guilty] = _named_guilty(facts, guilty)
            found, exhibit = _look_closer(replace(case, facts=facts), guilty)
            verdict = _verdict(case, facts, guilty, found, exhibit)
    measuring = None if scorer is None else scorer.place(()).inputs.measuring
    return Diagnosis(
        verdict=verdict,
        model=str(source) if isinstance(source, str | Path) else "",
        target=options.target.target,
        pipeline=str(prepared.pipeline),
        command=("yocc", "debug", prepared.subject.file.path, *command_words(options)),
        data="" if measuring is None else measuring.description,
        samples=0 if measuring is None else len(measuring),
        metric=measured.metric,
        max_loss=max_loss,
        steps=tuple(facts),
        guilty=guilty,
        layers=found.layers,
        evidence=None if exhibit is None else exhibit.facts,
        warnings=tuple(_warnings(case, opened if isinstance(opened, str) else "")),
        seconds=round(time.perf_counter() - prepared.started, 3),
    ), exhibit


def _named_guilty(facts: Sequence[StepFacts], guilty: int) -> StepFacts:
    """The guilty step with its status; where the target rejects the model, with the reason."""
    step, last = facts[guilty], facts[-1]
    if last.status == "rejected":
        return replace(step, status="rejected", message=last.message)
    return step if step.status == "failed" else replace(step, status="guilty")


def _look_closer(case: _Case, guilty: int) -> tuple[Blame | Found, Exhibit | None]:
    """The layers of the guilty step, and the smallest model that shows its fault."""
    facts, prepared = case.facts[guilty], case.prepared
    target = prepared.options.target
    try:
        with case.watch.at(Spot("closer")):
            if facts.status == "rejected":
                backend, ctx = prepared.plan.backend, prepared.context
                return Blame(), rejected_exhibit(case.graphs[guilty], backend, ctx, target, case.progress)
            return _look_at_pass(case, guilty) if facts.kind == "pass" else _look_at_target(case, guilty)
    except Ended:
        return Blame(), None


def _look_at_target(case: _Case, guilty: int) -> tuple[Blame | Found, Exhibit | None]:
    facts, graph = case.facts[guilty], case.graphs[-1]
    if case.scorer is None:
        return Blame(), None
    suspect = Suspect(graph, case.scorer.place([each.step for each in case.steps]), case.scorer, case.progress)
    if facts.status == "failed":
        found = failing_in_target(suspect, EXHIBITED, apart=Spot("target") in case.watch.ended)
    else:
        before = case.facts[guilty - 1].fidelity or 0.0
        found = blame_target(suspect, before, before - (facts.fidelity or 0.0), EXHIBITED)
    if found is None:
        return Blame(), None
    return found, target_exhibit(found, len(graph.nodes), case.prepared.options.target)


def _look_at_pass(case: _Case, guilty: int) -> tuple[Blame, Exhibit | None]:
    facts, ctx, target = case.facts[guilty], case.prepared.context, case.prepared.options.target
    step, passes = case.steps[guilty - 1], [each.step for each in case.steps[: guilty - 1]]
    if step.error is not None:
        feeds = [] if case.scorer is None else feeds_of(case.scorer.place(passes), _FED_TO_FAILING)
        return Blame(), failing_exhibit(step, feeds, target, case.progress)
    if facts.status == "failed" and step.after is not None:
        ends = Spot("left", guilty) in case.watch.ended
        return Blame(), unloadable_exhibit(step.after, ctx, case.progress, ends=ends)
    if case.scorer is None:
        return Blame(), None
    suspects = suspects_of(step, case.scorer.place(passes))
    if suspects is None:
        return Blame(), None
    before = case.facts[guilty - 1].fidelity or 0.0
    found = blame(suspects, case.scorer, before, before - (facts.fidelity or 0.0), case.progress)
    worst = {layer.tensor: place for place, layer in enumerate(found.layers)}
    parts = sorted(found.guilty, key=lambda part: worst[part.tensor])
    return found, layer_exhibit(parts[0], suspects, step, target) if parts else None


def _verdict(
    case: _Case, facts: Sequence[StepFacts], guilty: int, found: Blame | Found, exhibit: Exhibit | None
) -> str:
    step, before = facts[guilty], facts[max(0, guilty - 1)]
    said = verdicts.guilty_of(step, before)
    if isinstance(found, Found):
        lost = (before.fidelity or 0.0) - (step.fidelity or 0.0)
        return f"{said} {verdicts.where_in_target(found, lost)}"
    if step.status == "guilty" and step.kind == "pass" and case.scorer is not None:
        return f"{said} {verdicts.where(found, (before.fidelity or 0.0) - (step.fidelity or 0.0))}"
    if exhibit is not None:
        size = exhibit.facts.nodes
        return f"{said.rstrip('.')}. {'One node shows' if size == 1 else f'{size} nodes show'} it."
    return said


def _warnings(case: _Case, uncompared: str) -> Iterator[str]:
    """What the user should know of how it was measured."""
    if Spot("closer") in case.watch.ended:
        yield f"Looking for the layers ended the process ({case.watch.ended[Spot('closer')]}), so that none are named."
    if uncompared:
        yield uncompared
    if case.scorer is None:
        return
    base = case.scorer.base
    if base.measuring.synthetic:
        yield "Compared on synthetic pictures, as none were given: fidelity says little; give real ones with --calib."
    elif not base.held_out:
        yield (
            f"Compared on the {len(base.calibration)} samples that were calibrated with, as there are few: fidelity "
            "looks better than it is; give 32 or more with --calib."
        )
    found = next((step.confident[0] for step in case.facts if step.confident is not None), None)
    if found == 0:
        yield "The original finds nothing in these pictures, so that fidelity says little; give others with --calib."
    elif found is not None and found < _FEW:
        yield f"The original finds {found} objects only, so that each counts for much; compare on more with --samples."
