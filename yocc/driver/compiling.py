"""From a model file to a folder with the compiled model and its report, or to an error and nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import onnx
import onnx.checker

from yocc.compiler.account import REASONS, LayerStates, layer_names, layer_reports, layer_states
from yocc.compiler.census import Census, take_census
from yocc.compiler.cost import layer_costs, totals
from yocc.compiler.finite import check_finite
from yocc.compiler.graph import Graph, load, weight_bytes
from yocc.compiler.observers import verify
from yocc.compiler.passes import PassContext, Progress, silent
from yocc.compiler.pipeline import Observer, PassRun, Pipeline
from yocc.compiler.report import (
    PAGE_FILE,
    REPORT_FILE,
    CalibrationFacts,
    FileFacts,
    ModelFacts,
    Report,
    bytes_facts,
    file_facts,
    pass_reports,
    plain,
)
from yocc.compiler.shapes import concrete_shapes, default_input_shapes
from yocc.compiler.target import Target
from yocc.driver.inputs import Inputs, input_specs, open_inputs
from yocc.driver.measure import Judging, Verdict, judge
from yocc.driver.output import OutputFolder, output_path
from yocc.errors import BackendError, BackendUnavailable, CalibrationError, InternalError, ModelError, OptionError
from yocc.gates.gate import check_gates, parse_gates, require_detector, require_measured
from yocc.models.profile import ModelProfile, find_profile
from yocc.page.render import render_page
from yocc.passes.encode import encode_spec
from yocc.runtime.backend import Artifact, Backend, Check
from yocc.runtime.kernels import by_layer, by_operator
from yocc.runtime.onnxruntime import reference_executor
from yocc.runtime.registry import find_backend

Source = str | Path | bytes | onnx.ModelProto
Recovery = Literal["none", "reconstruct"]
Sparsity = Literal["2:4"]
Budget = Literal["both", "parameters", "macs", "channels"]
MOST_PRUNED = 0.95


def compile_model(
    source: Source,
    *,
    prune: float | None = None,
    prune_budget: Budget | None = None,
    int8: bool = False,
    weights: str | None = None,
    fp16: bool = False,
    recover: Recovery | None = None,
    sparsity: Sparsity | None = None,
    pipeline: str | None = None,
    target: str = "onnxruntime",
    options: Mapping[str, str] | None = None,
    calibration: str | Path | None = None,
    count: int | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    evaluate: str | Path | None = None,
    labels: str | Path | None = None,
    fidelity: bool = True,
    bench: bool = True,
    html: bool = True,
    threads: int | None = None,
    gates: Sequence[str] = (),
    progress: Progress = silent,
    observers: Sequence[Observer] = (),
) -> Report:
    """Compress a model for a target.

    Args:
        source: an ONNX file, its bytes, or a model in memory.
        prune: share of the parameters and of the MACs to remove, between 0 and 0.95.
        prune_budget: what `prune` is a share of instead: `parameters`, `macs`, or `channels`; None is `both` the first.
        int8: quantize weights and activations to 8 bits.
        weights: code of the weights, such as `log2:4`, or `log2:0.2` for a file of a fifth of its size.
        fp16: store and compute the rest in half precision.
        recover: `reconstruct` chooses and refits channels so that the pruned network gives what the original gave,
            which needs pictures; `none` prunes by weights and leaves it at that. None reconstructs when pictures are
            given.
        sparsity: `2:4` sets the smaller two of each four weights along the input channels to zero, which sparse tensor
            cores skip.
        pipeline: the passes as text, instead of `prune`, `prune_budget`, `int8`, `weights`, `fp16`, `recover` and
            `sparsity`.
        target: name of the backend.
        options: target options, by name.
        calibration: a folder of pictures or an .npz file; None draws pictures, which is said in a warning.
        count: samples to calibrate with, None for all.
        input_shapes: a shape for each input the model leaves open.
        out: folder to write; `<model>_yocc` in the current folder when None.
        seed: seed of everything random.
        evaluate: a folder of labelled pictures to score both models on.
        labels: their labels, a COCO JSON file or a folder of YOLO text files; found beside the pictures when None.
        fidelity: compare the outputs of the compiled model with the original's.
        bench: time both models.
        html: write `report.html` as well; it holds a few of the calibration pictures where detections were compared.
        threads: threads to run models with, None for all cores.
        gates: what the result is to keep to, such as `latency_ratio <= 0.6`; the report says what became of each. The
            result is written whether they hold or not.
        progress: shows long loops.
        observers: look at the graph after each pass.

    Returns:
        What is written to `report.json`, with the output folder.

    Raises:
        YoccError: of the kind that says whose fault it is; nothing is written then.
        InternalError: a pass broke an invariant.
    """
    bounds = parse_gates(gates)
    require_measured(bounds, {"eval": evaluate is not None, "fidelity": fidelity, "bench": bench})
    if recover is None and prune is not None and calibration is not None:
        recover = "reconstruct"
    steps = Pipeline.parse(pipeline_spec(prune, int8, fp16, pipeline, recover, sparsity, weights, prune_budget))
    backend = find_backend(target)
    wanted = backend.target(options or {})
    reason = backend.available()
    if reason is not None:
        raise BackendUnavailable(f"The target {target!r} is not available here: {reason}.")
    folder = output_path(source if isinstance(source, str | Path) else None, out)
    with OutputFolder(folder) as output:
        started = time.perf_counter()
        graph = load(source)
        check_finite(graph)
        subject = _examine(graph, source, input_shapes)
        if subject.profile is None:
            require_detector(bounds)
            if evaluate is not None:
                raise OptionError("Only a detector of a known layout can be scored.", "Leave --eval out.")
        inputs = _inputs(subject, calibration, count, seed)
        ctx = PassContext(
            target=wanted,
            feeds=None if inputs is None else inputs.calibration,
            executor=reference_executor(threads=threads, optimize=True),
            protected=frozenset() if subject.profile is None else subject.profile.protected,
            input_shapes=subject.shapes,
            detection=None if subject.profile is None else subject.profile.detection,
            seed=seed,
            progress=progress,
        )
        graph, runs = steps.run(graph, ctx, [verify, *observers])
        require_accepted(graph, backend, wanted)
        advice = backend.advise(graph, wanted)
        with output.writing():
            artifact = replace(backend.build(graph, wanted, output.path), options=dict(options or {}))
        _check_written(artifact)
        checks = backend.verify(artifact, thorough=False)
        require_passed(checks, target)
        files = tuple(
            file_facts(path, path.relative_to(output.path).as_posix()) for path in (artifact.model, *artifact.files)
        )
        types = _census(graph, subject.shapes, ctx)
        after = _facts(graph, subject.shapes, sum(file.bytes for file in files))
        layers, names = layer_states(graph, concrete_shapes(graph, subject.shapes)), layer_names(graph)
        del graph
        compiled = time.perf_counter() - started
        judging = Judging(
            inputs=inputs,
            shapes=subject.shapes,
            pictures=None if evaluate is None else Path(evaluate),
            labels=None if labels is None else Path(labels),
            fidelity=fidelity,
            bench=bench,
            threads=threads,
        )
        verdict = judge(
            source, artifact, backend, wanted, subject.profile, judging, macs=subject.facts.macs, progress=progress
        )
        calibrated = _calibration_facts(inputs)
        report = Report(
            source=subject.file,
            files=files,
            target=target,
            options=dict(options or {}),
            pipeline=str(steps),
            seed=seed,
            before=subject.facts,
            after=after,
            passes=pass_reports(runs, ctx.notes, ctx.details),
            layers=layer_reports(subject.layers, layers, ctx.details),
            types=types,
            calibration=calibrated,
            fidelity=None if verdict.fidelity is None else vars(verdict.fidelity),
            accuracy=verdict.accuracy,
            warnings=(*_warnings(ctx, calibrated, verdict), *advice),
            measured=_measured(runs, compiled, time.perf_counter() - started, verdict, (subject.names, names), checks),
        )
        report = replace(report, gates=tuple(vars(each) for each in check_gates(bounds, plain(report))))
        with output.writing():
            text = report.to_json()
            (output.path / REPORT_FILE).write_text(text, encoding="utf-8")
            if html:
                (output.path / PAGE_FILE).write_text(render_page(json.loads(text)), encoding="utf-8")
        output.commit()
    return replace(report, folder=output.wanted)


def pipeline_spec(
    prune: float | None,
    int8: bool,
    fp16: bool,
    pipeline: str | None,
    recover: Recovery | None = None,
    sparsity: Sparsity | None = None,
    weights: str | None = None,
    prune_budget: Budget | None = None,
) -> str:
    """The pipeline that options stand for.

    Without recovery, pruning comes before fusing, as the BatchNorm scales say what matters; with it, channels are
    ranked on pictures, and the layers that are refitted should be whole.

    Raises:
        OptionError: a ratio that cannot be meant, recovery without pruning, or both a pipeline and its short forms.
    """
    if prune is not None and not 0 < prune < MOST_PRUNED:
        raise OptionError(
            f"Cannot prune a share of {prune:g}.", f"Use a share above 0 and below {MOST_PRUNED:g}, such as 0.4."
        )
    if pipeline is not None:
        if prune is not None or prune_budget or int8 or weights or fp16 or recover or sparsity:
            raise OptionError(
                "A pipeline says everything.",
                "Give either --pipeline or --prune, --prune-budget, --int8, --weights, --fp16, --recover, --sparsity.",
            )
        return pipeline
    if recover == "reconstruct" and prune is None:
        raise OptionError("There is nothing to recover from.", "Give --prune as well, or leave --recover out.")
    if prune_budget is not None and prune is None:
        raise OptionError("A budget needs a share to remove.", "Give --prune as well, or leave --prune-budget out.")
    share = f"ratio={prune!r}" + (f",budget={prune_budget}" if prune_budget not in (None, "both") else "")
    steps = ["fp32", "simplify"]
    if recover == "reconstruct":
        steps += ["fuse", f"prune{{{share},criterion=effect}}", "recover"]
    elif prune is not None:
        steps += [f"prune{{{share}}}", "fuse"]
    else:
        steps.append("fuse")
    if sparsity is not None:
        steps.append(f"sparsify{{pattern={sparsity}}}")
    if int8:
        steps.append("quantize")
    if weights is not None:
        if fp16:
            raise OptionError("Weights in codes are decoded to float32.", "Give either --weights or --fp16.")
        if sparsity is not None:
            raise OptionError("Rounding on pictures moves the zeros.", "Give either --weights or --sparsity.")
        steps.append(encode_spec(weights))
    if fp16:
        steps.append("fp16")
    return ",".join(steps)


def require_accepted(graph: Graph, backend: Backend, target: Target) -> None:
    """Ask the backend for its judgement.

    Raises:
        BackendError: with every reason it has.
    """
    rejects = backend.validate(graph, target)
    if not rejects:
        return
    reasons = "; ".join(f"{reject.node!r}: {reject.reason}" for reject in rejects)
    hints = dict.fromkeys(reject.hint for reject in rejects if reject.hint)
    raise BackendError(f"The target {backend.name!r} cannot take the model: {reasons}.", " ".join(hints))


def require_passed(checks: Sequence[Check], target: str) -> None:
    """Refuse what failed a check.

    Raises:
        BackendError: with everything that failed.
    """
    failed = [f"{check.name}: {check.message}" for check in checks if check.passed is False]
    if failed:
        raise BackendError(f"What was built for {target!r} does not pass: {'; '.join(failed)}.")


@dataclass(frozen=True)
class _Subject:
    """The model as it came in."""

    file: FileFacts
    facts: ModelFacts
    layers: LayerStates
    names: Mapping[str, str]
    profile: ModelProfile | None
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, Any]


def _examine(graph: Graph, source: Source, input_shapes: Mapping[str, tuple[int, ...]] | None) -> _Subject:
    given = {name: tuple(shape) for name, shape in (input_shapes or {}).items()}
    profile = find_profile(graph)
    if profile is not None and profile.input_name in given:
        profile = replace(profile, input=replace(profile.input, shape=given[profile.input_name]))
    own = {} if profile is None else {profile.input_name: profile.input.shape}
    shapes = {**default_input_shapes(graph), **own, **given}
    file = _source_facts(source)
    size = file.bytes if file.bytes >= weight_bytes(graph) else file.bytes + weight_bytes(graph)
    dtypes = {tensor.name: tensor.dtype for tensor in graph.inputs}
    layers = layer_states(graph, concrete_shapes(graph, shapes))
    return _Subject(file, _facts(graph, shapes, size), layers, layer_names(graph), profile, shapes, dtypes)


def _facts(graph: Graph, shapes: Mapping[str, tuple[int, ...]], size: int) -> ModelFacts:
    cost = totals(layer_costs(graph, concrete_shapes(graph, shapes)))
    return ModelFacts(cost.parameters, cost.macs, len(graph.nodes), size, graph.opset)


def _census(graph: Graph, shapes: Mapping[str, tuple[int, ...]], ctx: PassContext) -> Census:
    """Types of the convolutions, with the reasons the passes gave."""
    said = (ctx.details.get(step, {}).get(REASONS, {}) for step in ("quantize", "fp16"))
    reasons = {name: reason for left in said for name, reason in left.items()}
    return take_census(graph, concrete_shapes(graph, shapes), reasons)


def _source_facts(source: Source) -> FileFacts:
    if isinstance(source, bytes):
        return bytes_facts(source, "<bytes>")
    if isinstance(source, onnx.ModelProto):
        try:
            return bytes_facts(source.SerializeToString(deterministic=True), "<model>")
        except Exception as error:  # protobuf's own, of another class in each of its implementations
            raise ModelError("The model is too large to hold in memory as one message.", "Give its path.") from error
    return file_facts(Path(source), str(source))


def _inputs(subject: _Subject, calibration: str | Path | None, count: int | None, seed: int) -> Inputs | None:
    """Calibration inputs; None where nothing was given and nothing can be drawn."""
    specs = input_specs(subject.shapes, subject.dtypes, subject.profile)
    try:
        return open_inputs(calibration, specs, subject.profile, count=count, seed=seed)
    except CalibrationError:
        if calibration is not None:
            raise
        return None


def _check_written(artifact: Artifact) -> None:
    try:
        for path in (artifact.model, *artifact.files):
            if path.suffix == ".onnx":
                onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InternalError(
            f"The written model does not pass onnx's full check: {' '.join(str(error).split())}"
        ) from error


def _calibration_facts(inputs: Inputs | None) -> CalibrationFacts | None:
    if inputs is None:
        return None
    feeds = inputs.calibration
    return CalibrationFacts(feeds.description, len(feeds), feeds.stand_in, feeds.used)


def _warnings(ctx: PassContext, calibrated: CalibrationFacts | None, verdict: Verdict) -> tuple[str, ...]:
    warnings = [
        f"{note.origin}: {note.message}" + (f" (at {note.node!r})" if note.node else "")
        for note in ctx.notes
        if note.level == "warning"
    ]
    if calibrated is not None and calibrated.stand_in and calibrated.used:
        warnings.append(
            "Calibrated with pictures yocc drew itself, as none were given; give real ones with --calib for accuracy."
        )
    return (*verdict.warnings, *warnings)


def _measured(
    runs: Sequence[PassRun],
    compiled: float,
    total: float,
    verdict: Verdict,
    names: tuple[Mapping[str, str], ...],
    checks: Sequence[Check],
) -> dict[str, Any]:
    measured: dict[str, Any] = {
        "seconds": {"compile": round(compiled, 3), "total": round(total, 3)},
        "pass_seconds": [{"spec": run.spec, "seconds": round(run.seconds, 3)} for run in runs],
        "latency_ms": verdict.timing,
    }
    if all(verdict.kernels):
        sides = list(zip(("original", "compiled"), verdict.kernels, names, strict=True))
        measured["operator_ms"] = {side: by_operator(kernels) for side, kernels, _ in sides}
        measured["layer_ms"] = {side: by_layer(kernels, own) for side, kernels, own in sides}
    if verdict.execution:
        measured["execution"] = verdict.execution
    if checks:
        measured["checks"] = checks
    return measured
