"""What a compilation would do: `yocc compile --dry-run` and `yocc.plan`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from yocc.api.plan import CompilePlan, PlannedData, PlannedOutput, PlannedPass
from yocc.compiler.graph import Graph
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.output.folder import OutputFolder, output_path
from yocc.compiler.pipeline.foreseeing import ForeseenStep, foresee
from yocc.compiler.pipeline.passes import Progress, silent
from yocc.compiler.stages.anatomy import assumed_inputs
from yocc.compiler.stages.prepare import Prepared, make_plan, prepare
from yocc.compiler.stages.recipe import prepare_pipeline
from yocc.compiler.stages.remarks import calibration_remarks, input_remarks, request_remarks
from yocc.compiler.stages.subject import Source, tensor_facts
from yocc.errors import ModelError, OptionError
from yocc.files.reading import require_regular
from yocc.options import CompileKeywords, CompileOptions, OutputOptions, command_words
from yocc.report.account import layer_reports, layer_states
from yocc.report.report import PAGE_FILE, REPORT_FILE, CalibrationFacts
from yocc.runtime.data.feeds import Feeds
from yocc.runtime.detection.metrics import scoring_set


def plan_model(
    source: Source,
    wanted: CompileOptions | None = None,
    /,
    *,
    progress: Progress = silent,
    **keywords: Unpack[CompileKeywords],
) -> CompilePlan:
    """Say what a compilation would do, and write nothing.

    Every input is opened as the compilation would open it. Passes that are quick and need no pictures are run to see
    what they do.

    Args:
        source: an ONNX file, its bytes, or a model in memory.
        wanted: all options of the compilation as one value, instead of the keywords.
        progress: shows long loops.
        keywords: options by name, as for `yocc.compile`.

    Raises:
        YoccError: what the compilation would end with before it compresses anything.
    """
    if wanted is not None and keywords:
        raise OptionError("Options are given as one value and by name.", "Give either.")
    options = CompileOptions.of(**keywords) if wanted is None else wanted
    path = source if isinstance(source, str | Path) else None
    if path is not None:
        require_regular(Path(path), ModelError)
    plan = make_plan(options)
    folder = output_path(path, options.output.out)
    output = OutputFolder(folder, tidy=False)
    output.require_writable()
    graph, prepared = prepare(source, plan, progress)
    assumed = assumed_inputs(graph, prepared.subject.shapes, prepared.options.data.input_shapes)
    graph, steps = foresee(prepared.pipeline, graph, prepared.context)
    replaces = output.wanted.is_dir() and any(output.wanted.iterdir())
    files = tuple(_files(options.output, prepared.plan.backend.name))
    found = _described(prepared, graph, steps, PlannedOutput(str(folder), replaces, files))
    return replace(found, assumed=assumed)


def _described(prepared: Prepared, graph: Graph, steps: Sequence[ForeseenStep], output: PlannedOutput) -> CompilePlan:
    subject, compiled, options, inputs = prepared.subject, prepared.compiled, prepared.options, prepared.inputs
    shapes = concrete_shapes(graph, compiled.shapes)
    measure = options.measure
    compared = inputs is not None and measure.fidelity
    details = {step.name: step.foreseen.result.details for step in steps if step.foreseen.result.details}
    described = subject.description if inputs is not None and inputs.calibration.feeds.are_pictures else None
    return CompilePlan(
        model=subject.file,
        family="" if subject.profile is None else subject.profile.family,
        before=subject.facts,
        target=options.target.target,
        options=dict(options.target.options),
        passes=tuple(_passes(prepared, steps)),
        layers=layer_reports(subject.layers, layer_states(graph, shapes), details),
        inputs=tensor_facts(graph.inputs, shapes),
        outputs=tensor_facts(graph.outputs, shapes),
        assumed=(),
        fed=None if described is None else described.facts,
        calibration=None if inputs is None else _data(inputs.calibration.feeds),
        comparison=_data(inputs.measuring) if inputs is not None and compared else None,
        held_out=inputs is not None and inputs.held_out,
        scoring=_scoring(prepared),
        timed=measure.bench,
        threads=measure.threads,
        gates=tuple(measure.gates),
        output=output,
        command=("yocc", "compile", subject.file.path, *command_words(options)),
        warnings=tuple(_warnings(prepared, steps)),
    )


def _passes(prepared: Prepared, steps: Sequence[ForeseenStep]) -> Iterator[PlannedPass]:
    for step, planned in zip(steps, prepared.pipeline.passes, strict=True):
        result = step.foreseen.result
        layers = {name for name, op in prepared.subject.layers if op in WEIGHTED}
        yield PlannedPass(
            step.spec,
            step.options,
            rewrites=result.rewrites,
            layers=len(result.layers),
            skipped=len(layers & result.skipped.keys()),
            later=step.foreseen.later,
            parameters=None if step.left is None else step.left.parameters,
            macs=None if step.left is None else step.left.macs,
            columns=planned.columns,
        )


def _data(feeds: Feeds) -> PlannedData:
    files = () if feeds.synthetic else tuple(each.file for each in feeds.pictures() if each is not None)
    return PlannedData(feeds.description, len(feeds), feeds.synthetic, files)


def _scoring(prepared: Prepared) -> PlannedData | None:
    measure, profile = prepared.options.measure, prepared.subject.profile
    if measure.evaluate is None or profile is None:
        return None
    files, _ = scoring_set(measure.evaluate, measure.labels, profile.classes)
    return PlannedData(f"labeled pictures of {measure.evaluate}", len(files), False, tuple(map(str, files)))


def _files(options: OutputOptions, target: str) -> Iterator[str]:
    yield f"the model for {target}"
    yield REPORT_FILE
    if options.html:
        yield PAGE_FILE
    if options.examples:
        yield "programs that run it"


def _warnings(prepared: Prepared, steps: Sequence[ForeseenStep]) -> Iterator[str]:
    """What is known of the inputs and the passes now, the gravest first."""
    inputs, description = prepared.inputs, prepared.subject.description
    if prepared.suspicion is not None:
        yield prepared.suspicion.text
    reading = any(not step.foreseen.done for step in steps)
    remarks: list[Any] = [*request_remarks(asked=prepared.pipeline != prepare_pipeline())]
    if inputs is not None:
        feeds = inputs.calibration.feeds
        fed = description if feeds.are_pictures else None
        facts = CalibrationFacts(feeds.description, len(feeds), feeds.synthetic, reading)
        remarks += [*input_remarks(fed, description), *calibration_remarks(facts, held_out=inputs.held_out)]
        if feeds.synthetic and reading:
            yield "No pictures were given, so synthetic ones would be used; give real ones with --calib for accuracy."
    yield from (remark.text for remark in remarks)
    yield from prepared.subject.problems
    for note in prepared.context.notes:
        if note.level == "warning":
            yield f"{note.origin}: {note.message}" + (f" (at {note.node!r})" if note.node else "")
