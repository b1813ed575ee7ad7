"""From a model file to a folder with the compiled model and its report, or to an error and nothing."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from yocc.compiler.graph import load
from yocc.compiler.graph.finite import check_finite
from yocc.compiler.graph.shapes import concrete_shapes, is_open
from yocc.compiler.output.folder import OutputFolder, output_path
from yocc.compiler.pipeline.deadline import Deadline, read_duration
from yocc.compiler.pipeline.observers import verify
from yocc.compiler.pipeline.passes import PassContext, Progress, silent
from yocc.compiler.pipeline.pipeline import Observer, Pipeline
from yocc.compiler.stages.acceptance import require_accepted, require_passed, require_valid
from yocc.compiler.stages.accounting import calibration_facts, census, measurements, pictures_fed, warnings_of
from yocc.compiler.stages.inputs import require_readable
from yocc.compiler.stages.measure import Judging, agreement_judge, judge
from yocc.compiler.stages.remarks import Circumstances, Remark, fidelity_remarks, input_remarks, size_remarks
from yocc.compiler.stages.spec import Recovery, Schedule, Sparsity, Wishes, pipeline_spec
from yocc.compiler.stages.subject import Source, calibration_inputs, examine, model_facts, tensor_facts
from yocc.compiler.stages.timing import clock_for
from yocc.errors import BackendUnavailable, OptionError, OutputError
from yocc.passes.quantize.saved import load_together
from yocc.report.account import layer_names, layer_reports, layer_states
from yocc.report.gates.gate import check_gates, parse_gates, require_detector, require_measured, require_own_runtime
from yocc.report.page.render import render_page
from yocc.report.report import PAGE_FILE, REPORT_FILE, Report, file_facts, pass_reports, plain
from yocc.runtime.backends.onnxruntime import reference_executor
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.data.description import Number, read_input_options
from yocc.runtime.detection.metrics import scoring_set


def compile_model(
    source: Source,
    *,
    prune: float | None = None,
    prune_target: str | None = None,
    latency_table: str | Path | None = None,
    int8: bool = False,
    max_drop: float | None = None,
    max_latency: float | None = None,
    weights: str | None = None,
    fp16: bool = False,
    recover: Recovery | None = None,
    schedule: Schedule | None = None,
    rounds: int | None = None,
    budget: str | None = None,
    sparsity: Sparsity | None = None,
    pipeline: str | None = None,
    target: str = "onnxruntime",
    options: Mapping[str, str] | None = None,
    calibration: str | Path | None = None,
    count: int | None = None,
    statistics: Sequence[str | Path] = (),
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    input_color: str | None = None,
    input_scale: Number | None = None,
    input_mean: Number | Sequence[Number] | None = None,
    input_std: Number | Sequence[Number] | None = None,
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
        prune_target: what is to be left instead, such as `latency=0.7`; also `parameters`, `macs` or `channels`.
        latency_table: how long layers take on the device, as `yocc latency` writes it; None measures here.
        int8: quantize weights and activations to 8 bits.
        max_drop: what agreement with the float network may fall by through `int8`; layers stay float as far as that
            takes.
        max_latency: modelled time of the layers with `int8`, as a share of that in float; layers stay float as far as
            that allows.
        weights: code of the weights, such as `log2:4`, or `log2:0.2` for a file of a fifth of its size.
        fp16: store and compute the rest in half precision.
        recover: `reconstruct` refits weights so that the pruned network gives what the original gave, `distill` also
            trains it to, which needs torch, `statistics` only gives channels the means and deviations they had, `none`
            leaves it at pruning by weights. None reconstructs. With pictures in `calibration`, they also choose the
            channels; without, weights do, and pictures that yocc draws recover.
        schedule: `oneshot` prunes at once, `iterative` in rounds with recovery after each; None takes rounds of up to a
            quarter.
        rounds: how many; None as `schedule` says.
        budget: time for pruning and recovery together, such as `90s`, `30m` or `2h`; None takes what it takes.
        sparsity: `2:4` sets the smaller two of each four weights along the input channels to zero, which sparse tensor
            cores skip.
        pipeline: the passes as text, instead of `prune`, `prune_target`, `int8`, `max_drop`, `max_latency`, `weights`,
            `fp16`, `recover`, `schedule`, `rounds` and `sparsity`.
        target: name of the backend.
        options: target options, by name.
        calibration: a folder of pictures or an .npz file; None draws pictures, which is said in a warning.
        count: samples to calibrate with, None for all.
        statistics: files `yocc.api.calibrate` wrote, to take ranges from instead of collecting them.
        input_shapes: a shape for each input the model leaves open.
        input_color: what pictures are fed as, `rgb`, `bgr` or `gray`. Network values are `(pixel * scale - mean) / std`
            with pixels 0..255. Where nothing is given, a recognized detector has its own, and of other models RGB in
            0..1 (gray for one channel) is assumed, which is said in a warning.
        input_scale: factor on the pixels, such as 1, or `1/255`, which is the default.
        input_mean: subtracted after that, one number or one per channel in the order of `input_color`; 0 by default.
        input_std: divided by at last, one number or one per channel; 1 by default.
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
        What is written to `report.json`, with the output folder. What could not be measured once the model was
        compiled stands in `unmeasured`.

    Raises:
        YoccError: of the kind that says whose fault it is; nothing is written then. An `OutputError` says where the
            result is when it could not be put in place.
        InternalError: a pass broke an invariant.
    """
    bounds = parse_gates(gates)
    seconds = math.inf if budget is None else read_duration(budget)
    require_measured(bounds, {"eval": evaluate is not None, "fidelity": fidelity, "bench": bench})
    stated = read_input_options(input_color, input_scale, input_mean, input_std)
    pruned = prune is not None or prune_target is not None
    wishes = Wishes(
        prune=prune,
        prune_target=prune_target,
        recover=recover or ("reconstruct" if pruned else None),
        schedule=schedule,
        rounds=rounds,
        sparsity=sparsity,
        int8=int8,
        max_drop=max_drop,
        max_latency=max_latency,
        weights=weights,
        fp16=fp16,
        pipeline=pipeline,
    )
    steps = Pipeline.parse(pipeline_spec(wishes, pictures=calibration is not None))
    clock = clock_for(target, latency_table, threads)
    backend = find_backend(target)
    wanted = backend.target(options or {})
    reason = backend.available()
    if reason is not None:
        raise BackendUnavailable(f"The target {target!r} is not available here: {reason}.")
    require_own_runtime(bounds, target, backend.substitute(wanted) if bounds else "")
    folder = output_path(source if isinstance(source, str | Path) else None, out)
    with OutputFolder(folder) as output:
        started = time.perf_counter()
        graph = load(source)
        check_finite(graph)
        subject = examine(graph, source, input_shapes, stated)
        if subject.profile is None:
            require_detector(bounds)
            if evaluate is not None:
                raise OptionError("Only a detector of a known layout can be scored.", "Leave --eval out.")
        if evaluate is not None and subject.profile is not None:
            scoring_set(Path(evaluate), None if labels is None else Path(labels), subject.profile.classes)
        if statistics:
            load_together(tuple(map(Path, statistics)))
        inputs = calibration_inputs(subject, calibration, count, seed)
        require_readable(inputs, progress)
        if inputs is None and recover is None and pipeline is None:
            # Nothing can be drawn for such inputs, so that nothing can be recovered on.
            steps = Pipeline.parse(pipeline_spec(replace(wishes, recover=None), pictures=False))
        if wanted.fixed_shapes and input_shapes and any(is_open(tensor) for tensor in graph.inputs):
            steps = Pipeline.parse(f"fix_shapes,{steps}")
        ctx = PassContext(
            target=wanted,
            feeds=None if inputs is None else inputs.calibration,
            executor=reference_executor(threads=threads, optimize=True),
            profiler=clock.profiler,
            latency=clock.table,
            protected=frozenset() if subject.profile is None else subject.profile.protected,
            input_shapes=subject.shapes,
            detection=None if subject.profile is None else subject.profile.detection,
            judge=None if inputs is None else agreement_judge(subject.profile, inputs, subject.facts.macs, threads),
            statistics=tuple(map(Path, statistics)),
            seed=seed,
            deadline=Deadline(seconds),
            progress=progress,
        )
        graph, runs = steps.run(graph, ctx, [verify, *observers])
        require_accepted(graph, backend, wanted)
        advice = backend.advise(graph, wanted)
        with output.writing():
            artifact = replace(backend.build(graph, wanted, output.path), options=dict(options or {}))
        require_valid(artifact)
        checks = backend.verify(artifact, thorough=False)
        require_passed(checks, target)
        files = tuple(
            file_facts(path, path.relative_to(output.path).as_posix()) for path in (artifact.model, *artifact.files)
        )
        types = census(graph, subject.shapes, ctx)
        after = model_facts(graph, subject.shapes, sum(file.bytes for file in files))
        shapes = concrete_shapes(graph, subject.shapes)
        layers, names = layer_states(graph, shapes), layer_names(graph)
        taken, given = (tensor_facts(each, shapes) for each in (graph.inputs, graph.outputs))
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
        calibrated = calibration_facts(inputs)
        fed = pictures_fed(inputs, subject.description, verdict, evaluate is not None)
        around = Circumstances(str(steps), target, calibrated, fed, verdict.target_snr)
        remarks = (
            *input_remarks(fed, subject.description),
            *map(Remark, subject.problems),
            *fidelity_remarks(verdict.fidelity, around),
            *size_remarks(subject.facts, after, around),
        )
        report = Report(
            source=subject.file,
            files=files,
            target=target,
            options=dict(options or {}),
            pipeline=str(steps),
            seed=seed,
            before=subject.facts,
            after=after,
            passes=pass_reports(runs),
            inputs=taken,
            outputs=given,
            layers=layer_reports(subject.layers, layers, ctx.details),
            types=types,
            input=None if fed is None else fed.facts,
            calibration=calibrated,
            fidelity=None if verdict.fidelity is None else vars(verdict.fidelity),
            accuracy=verdict.accuracy,
            warnings=(*warnings_of(ctx, around, verdict, remarks), *advice),
            alarms=tuple(remark.text for remark in remarks if remark.severe),
            unmeasured=verdict.unmeasured,
            measured=measurements(
                runs, compiled, time.perf_counter() - started, verdict, (subject.names, names), checks
            ),
        )
        report = replace(report, gates=tuple(vars(each) for each in check_gates(bounds, plain(report))))
        with output.writing():
            text = report.to_json()
            (output.path / REPORT_FILE).write_text(text, encoding="utf-8")
        failure = _write_page(text, output.path / PAGE_FILE) if html else None
        output.commit()
        if failure is not None:
            raise OutputError(f"There is no page: {failure}.", f"All else is in {str(output.wanted)!r}.")
    return replace(report, folder=output.wanted)


def _write_page(text: str, path: Path) -> str | None:
    """Write the page of a report; returns what went wrong, which is no reason to lose the rest of the result."""
    try:
        path.write_text(render_page(json.loads(text)), encoding="utf-8")
    except Exception as error:
        path.unlink(missing_ok=True)
        return f"{type(error).__name__} {error}".rstrip(".")
    return None
