"""The first stage: what is asked for, the model, its inputs and its target, all checked before the first pass."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from yocc.compiler.graph import Graph, load
from yocc.compiler.graph.finite import check_finite
from yocc.compiler.graph.shapes import is_open
from yocc.compiler.pipeline.deadline import Deadline, read_duration
from yocc.compiler.pipeline.passes import PassContext, Progress, silent
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.agreement import agreement_judge
from yocc.compiler.stages.inputs import Inputs, require_readable
from yocc.compiler.stages.interface import Interfaces, interfaces_of, pixels_of, require_possible
from yocc.compiler.stages.outputs import detector_outputs, dropped_levels, output_passes, read_as, require_changeable
from yocc.compiler.stages.recipe import recipe_pipeline
from yocc.compiler.stages.remarks import Remark
from yocc.compiler.stages.subject import Source, Subject, calibration_inputs, examine, measured_on
from yocc.compiler.stages.suspicion import suspicion
from yocc.compiler.stages.timing import Clock, clock_for
from yocc.errors import BackendUnavailable, OptionError
from yocc.models.families.conventions import stated_input
from yocc.options import CompileOptions, CompressionRecipe, MeasureOptions, Shapes
from yocc.passes.fix_shapes import FixShapes
from yocc.passes.quantize.saved import load_together
from yocc.passes.resize_input import ResizeInput
from yocc.report.gates.gate import Gate, parse_gates, require_detector, require_measured, require_own_runtime
from yocc.report.gates.metrics import Need
from yocc.runtime.backends.backend import Backend
from yocc.runtime.backends.onnxruntime import reference_executor
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.data.stated import InputOptions
from yocc.runtime.detection.metrics import scoring_set

_BY_OUTPUTS = frozenset({"prune", "shrink", "factorize", "drop", "substitute", "recover", "quantize", "distill"})
"""Passes that weigh errors by what the last layers' outputs mean."""


@dataclass(frozen=True)
class Plan:
    """What the options come to, before the model is opened.

    Attributes:
        options: as given.
        gates: bounds on the result.
        pipeline: the passes.
        backend: of the target.
        target: what the backend wants.
        clock: how times are known.
        stated: what is stated of the model's input.
        seconds: time for pruning and recovery together.
    """

    options: CompileOptions
    gates: Sequence[Gate]
    pipeline: Pipeline
    backend: Backend
    target: Target
    clock: Clock
    stated: InputOptions
    seconds: float


@dataclass(frozen=True)
class Prepared:
    """Everything the passes need, apart from the graph.

    Attributes:
        source: the model.
        plan: what is to be done.
        subject: the model as it came in.
        compiled: the same as the compiled model is fed and read; `subject` itself where that is the same.
        inputs: what to calibrate and measure on; None where nothing was given and nothing can be synthesized.
        pipeline: the passes, adapted to the model.
        context: what the passes are given.
        started: reading of the clock when the work began.
        suspicion: what speaks against an assumed way of feeding pictures; None where nothing does.
    """

    source: Source
    plan: Plan
    subject: Subject
    compiled: Subject
    inputs: Inputs | None
    pipeline: Pipeline
    context: PassContext
    started: float
    suspicion: Remark | None = None

    @property
    def options(self) -> CompileOptions:
        """The options as given."""
        return self.plan.options


@dataclass(frozen=True)
class Opened:
    """The files of a compilation.

    Attributes:
        source: the model.
        interfaces: how it is fed as it came in, while the passes run, and after them.
        inputs: what to calibrate and measure on, as it is fed while the passes run; None where there is nothing.
        started: reading of the clock when the work began.
    """

    source: Source
    interfaces: Interfaces
    inputs: Inputs | None
    started: float


def make_plan(options: CompileOptions) -> Plan:
    """Check what can be checked without the model.

    Raises:
        OptionError: an invalid option, or gates on what is not measured.
        BackendUnavailable: the target's packages are missing.
    """
    recipe, measure, target, data = options.recipe, options.measure, options.target, options.data
    gates = parse_gates(measure.gates)
    require_measured(gates, asked_of(measure))
    seconds = math.inf if recipe.budget is None else read_duration(recipe.budget)
    stated = stated_input(vars(data))
    pipeline = recipe_pipeline(_with_recovery(recipe), pictures=data.calibration is not None)
    clock = clock_for(target.target, recipe.latency_table, measure.threads)
    backend = find_backend(target.target)
    wanted = backend.target(target.options)
    reason = backend.available()
    if reason is not None:
        raise BackendUnavailable(f"The target {target.target!r} is not available here: {reason}.")
    require_own_runtime(gates, target.target, backend.substitute(wanted) if gates else "")
    return Plan(options, gates, pipeline, backend, wanted, clock, stated, seconds)


def prepare(source: Source, plan: Plan, progress: Progress = silent) -> tuple[Graph, Prepared]:
    """Open the model and every file that is needed later.

    Returns:
        The graph, and everything else the passes need.

    Raises:
        ModelError: the model is broken, unsafe or of a kind yocc cannot read.
        CalibrationError: pictures, labels or statistics are missing or unusable.
        OptionError: options that do not fit the model.
    """
    started = time.perf_counter()
    plan.pipeline.warm_up()
    graph = load(source)
    check_finite(graph)
    plan = _with_closed_inputs(plan, graph)
    data = plan.options.data
    subject = examine(graph, source, data.input_shapes, plan.stated)
    _require_scorable(subject, plan)
    if data.statistics:
        load_together(data.statistics)
    interfaces = interfaces_of(subject, graph, plan.pipeline)
    inputs = calibration_inputs(subject, interfaces.during, data.calibration, data.count, data.seed)
    require_readable(inputs, progress)
    doubt = suspicion(graph, subject, inputs, plan.options.measure.threads)
    prepared = assemble(graph, plan, Opened(source, interfaces, inputs, started), progress)
    return graph, replace(prepared, suspicion=doubt)


def assemble(graph: Graph, plan: Plan, opened: Opened, progress: Progress = silent) -> Prepared:
    """Everything the passes need, from files that are open; several plans can share them.

    Args:
        graph: the model's, before the passes.
        plan: what is to be done.
        opened: the model and its inputs.
        progress: shows long loops.

    Raises:
        OptionError: options that do not fit the model.
    """
    data, threads = plan.options.data, plan.options.measure.threads
    inputs, interfaces = opened.inputs, opened.interfaces
    subject, during, profile = interfaces.original, interfaces.during, interfaces.during.profile
    changed = output_passes(plan.pipeline) or dropped_levels(plan.pipeline)
    outputs = detector_outputs(subject.profile, graph, subject.shapes) if changed else None
    compiled = read_as(interfaces.compiled, plan.pipeline, outputs)
    context = PassContext(
        target=plan.target,
        feeds=None if inputs is None else inputs.calibration,
        executor=reference_executor(threads=threads, optimize=True),
        profiler=plan.clock.profiler,
        latency=plan.clock.table,
        protected=frozenset() if profile is None else profile.protected,
        input_shapes=during.shapes,
        detection=None if profile is None else profile.detection,
        cells=None if profile is None else profile.cells,
        outputs=outputs,
        pixels=pixels_of(during),
        judge=None if inputs is None else agreement_judge(profile, inputs, subject.facts.macs, threads),
        statistics=data.statistics,
        seed=data.seed,
        deadline=Deadline(plan.seconds),
        progress=progress,
    )
    require_changeable(graph, plan.pipeline, subject, context)
    pipeline = _adapted(plan, graph, inputs)
    require_possible(graph, pipeline, context)
    if profile is not None and profile.detection is None and _BY_OUTPUTS & {step.name for step in pipeline.passes}:
        context.note(
            "Which channels of the last layers are scores and which are boxes cannot be told apart; pruning, recovery "
            "and quantization weigh all of them alike.",
            level="warning",
        )
    measured = measured_on(inputs, during, interfaces.compiled)
    return Prepared(opened.source, plan, subject, compiled, measured, pipeline, context, opened.started)


def _with_closed_inputs(plan: Plan, graph: Graph) -> Plan:
    """The plan with the size that the target builds open inputs for also as the size they are fed with, and vice versa.

    Raises:
        OptionError: two sizes are stated.
    """
    target, data = plan.options.target, plan.options.data
    stated = data.input_shapes or {}
    options, shapes = plan.backend.close_inputs(target.options, graph, stated)
    if options == target.options and shapes == stated:
        return plan
    closed = replace(
        plan.options, target=replace(target, options=options), data=replace(data, input_shapes=dict(shapes))
    )
    return replace(plan, options=closed, target=plan.backend.target(options))


def asked_of(measure: MeasureOptions) -> dict[Need, bool]:
    """Which measurements are asked for."""
    return {"eval": measure.evaluate is not None, "fidelity": measure.fidelity, "bench": measure.bench}


def _with_recovery(recipe: CompressionRecipe) -> CompressionRecipe:
    """A recipe that states how to recover what it takes: by reconstruction unless it says otherwise."""
    smaller = (recipe.prune, recipe.prune_target, recipe.factorize) != (None, None, None)
    changed = smaller or recipe.activations != "keep"
    return replace(recipe, recover=recipe.recover or ("reconstruct" if changed else None))


def _require_scorable(subject: Subject, plan: Plan) -> None:
    """Scores take a detector, labels and pictures.

    Raises:
        OptionError: the model is no detector of a known layout.
        CalibrationError: pictures or labels are unusable.
    """
    measure = plan.options.measure
    if subject.profile is None:
        require_detector(plan.gates)
        if measure.evaluate is not None:
            raise OptionError("Only a detector of a known layout can be scored.", "Leave --eval out.")
    elif measure.evaluate is not None:
        scoring_set(measure.evaluate, measure.labels, subject.profile.classes)


def _adapted(plan: Plan, graph: Graph, inputs: Inputs | None) -> Pipeline:
    """The passes for this model: no recovery where there is nothing to recover on, shapes fixed on request."""
    recipe, pipeline = plan.options.recipe, plan.pipeline
    if inputs is None and recipe.recover is None and recipe.pipeline is None:
        pipeline = recipe_pipeline(recipe, pictures=False)
    return with_fixed_shapes(pipeline, graph, plan.target, plan.options.data.input_shapes)


def with_fixed_shapes(pipeline: Pipeline, graph: Graph, target: Target, input_shapes: Shapes | None) -> Pipeline:
    """The passes with open inputs fixed first, for targets that compile for one size, where sizes are given.

    Raises:
        OptionError: the batch is to stay open for such a target.
    """
    resizing = pipeline.passes[0] if pipeline.passes and isinstance(pipeline.passes[0], ResizeInput) else None
    if not target.fixed_shapes:
        return pipeline
    if resizing is not None and resizing.opens_batch:
        raise OptionError(
            f"The target {target.name!r} compiles for one batch, which cannot stay open.", "Give --batch a number."
        )
    opened = any(is_open(tensor) for tensor in graph.inputs)
    if opened and not (input_shapes or resizing is not None):
        return pipeline
    # Outputs may be declared open although the inputs decide their size.
    if not opened and not any(is_open(tensor) for tensor in graph.outputs):
        return pipeline
    if resizing is None:
        return Pipeline((FixShapes(), *pipeline.passes))
    return Pipeline((resizing, FixShapes(), *pipeline.passes[1:]))
