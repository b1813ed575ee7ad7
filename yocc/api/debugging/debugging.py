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
    Exhibit,
    failing_exhibit,
    layer_exhibit,
    rejected_exhibit,
    unloadable_exhibit,
)
from yocc.api.debugging.scoring import Scorer, feeds_of, scorer_of
from yocc.api.debugging.steps import find_guilty, measure_steps
from yocc.api.debugging.trail import Step, follow
from yocc.api.debugging.writing import write_diagnosis
from yocc.compiler.graph import Graph, clone
from yocc.compiler.output.folder import OutputFolder, output_path
from yocc.compiler.pipeline.passes import Progress, silent
from yocc.compiler.pipeline.pipeline import Observer
from yocc.compiler.stages.prepare import Prepared, make_plan, prepare
from yocc.compiler.stages.subject import Source
from yocc.errors import OptionError
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
    """

    prepared: Prepared
    original: Graph
    steps: Sequence[Step]
    facts: Sequence[StepFacts]
    scorer: Scorer | None
    progress: Progress

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
        keywords: options by name, as for `yocc.compile`; `out` is the folder for what is found, `<model>_debug` if
            none is given.

    Raises:
        OptionError: invalid options.
        YoccError: the model, the pictures or the target cannot be used, or the folder cannot be written.
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
        found, exhibit = _diagnose(source, options, samples, max_loss, progress, observers)
        return write_diagnosis(found, exhibit, output)


def _diagnose(
    source: Source,
    options: CompileOptions,
    samples: int,
    max_loss: float,
    progress: Progress,
    observers: Sequence[Observer],
) -> tuple[Diagnosis, Exhibit | None]:
    graph, prepared = prepare(source, make_plan(options), progress)
    original = clone(graph)
    steps = follow(graph, prepared, observers)
    with scorer_of(original, prepared, samples) as opened:
        scorer = None if isinstance(opened, str) else opened
        measured = measure_steps(original, steps, prepared, scorer, progress)
        case = _Case(prepared, original, steps, measured.facts, scorer, progress)
        guilty = find_guilty(measured.facts, case.graphs, prepared, max_loss)
        facts, verdict, found, exhibit = list(measured.facts), "", Blame(), None
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


def _look_closer(case: _Case, guilty: int) -> tuple[Blame, Exhibit | None]:
    """The layers of the guilty step, and the smallest model that shows its fault."""
    facts, prepared = case.facts[guilty], case.prepared
    backend, ctx, target = prepared.plan.backend, prepared.context, prepared.options.target
    if facts.status == "rejected":
        return Blame(), rejected_exhibit(case.graphs[guilty], backend, ctx, target, case.progress)
    if facts.kind != "pass":
        return Blame(), None
    step, passes = case.steps[guilty - 1], [each.step for each in case.steps[: guilty - 1]]
    if step.error is not None:
        feeds = [] if case.scorer is None else feeds_of(case.scorer.place(passes), _FED_TO_FAILING)
        return Blame(), failing_exhibit(step, feeds, target, case.progress)
    if facts.status == "failed" and step.after is not None:
        return Blame(), unloadable_exhibit(step.after, ctx, case.progress)
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


def _verdict(case: _Case, facts: Sequence[StepFacts], guilty: int, found: Blame, exhibit: Exhibit | None) -> str:
    step, before = facts[guilty], facts[max(0, guilty - 1)]
    said = verdicts.guilty_of(step, before)
    if step.status == "guilty" and step.kind == "pass" and case.scorer is not None:
        return f"{said} {verdicts.where(found, (before.fidelity or 0.0) - (step.fidelity or 0.0))}"
    if exhibit is not None:
        size = exhibit.facts.nodes
        return f"{said.rstrip('.')}. {'One node shows' if size == 1 else f'{size} nodes show'} it."
    return said


def _warnings(case: _Case, uncompared: str) -> Iterator[str]:
    """What the user should know of how it was measured."""
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
