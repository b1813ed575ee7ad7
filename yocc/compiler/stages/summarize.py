"""The last stage: everything that is known of a compilation as its report."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from yocc.compiler.output.folder import OutputFolder
from yocc.compiler.pipeline.pipeline import PassRun, performed
from yocc.compiler.stages.accounting import calibration_facts, measurements, pictures_fed, shown_facts, warnings_of
from yocc.compiler.stages.emit import Built
from yocc.compiler.stages.interface import interface_facts, takes_bytes
from yocc.compiler.stages.measure import Verdict
from yocc.compiler.stages.optimize import Optimized
from yocc.compiler.stages.prepare import Prepared
from yocc.compiler.stages.recipe import prepare_pipeline
from yocc.compiler.stages.remarks import (
    Circumstances,
    Remark,
    calibration_remarks,
    compression_remarks,
    fidelity_remarks,
    input_remarks,
    request_remarks,
    size_remarks,
)
from yocc.compiler.stages.subject import resizing_facts
from yocc.options import command_words
from yocc.report.account import layer_reports
from yocc.report.gates.gate import check_gates
from yocc.report.page.render import render_page
from yocc.report.report import PAGE_FILE, REPORT_FILE, Report, pass_reports, plain


def summarize(prepared: Prepared, optimized: Optimized, built: Built, verdict: Verdict) -> Report:
    """The report of a compilation, with what became of its gates."""
    options, subject = prepared.options, prepared.subject
    calibrated = calibration_facts(prepared.inputs)
    relied_on = options.measure.evaluate is not None or takes_bytes(prepared.pipeline)
    fed = pictures_fed(prepared.inputs, subject.description, verdict, relied_on)
    pipeline, target = performed(optimized.runs), options.target.target
    idle, others = _effects(optimized.runs)
    effective = performed([run for run in optimized.runs if run.name not in idle or run.rewrites])
    around = Circumstances(effective, target, calibrated, fed, verdict.target_snr, verdict.elsewhere)
    remarks = (
        *input_remarks(fed, subject.description),
        *calibration_remarks(calibrated, held_out=prepared.inputs is None or prepared.inputs.held_out),
        *([prepared.suspicion] if fed is not None and prepared.suspicion is not None else []),
        *map(Remark, subject.problems),
        *fidelity_remarks(verdict.fidelity, around),
        *compression_remarks(idle, others, target),
        *request_remarks(asked=options.recipe.pipeline is not None or prepared.plan.pipeline != prepare_pipeline()),
        *size_remarks(subject.facts, built.facts, around),
    )
    total = time.perf_counter() - prepared.started
    report = Report(
        source=subject.file,
        files=built.files,
        target=target,
        options=dict(options.target.options),
        pipeline=pipeline,
        seed=options.data.seed,
        command=("yocc", "compile", subject.file.path, *command_words(options)),
        before=subject.facts,
        after=built.facts,
        passes=pass_reports(optimized.runs),
        inputs=built.inputs,
        outputs=built.outputs,
        resized=resizing_facts(subject, prepared.compiled),
        interface=interface_facts(prepared.compiled, built.artifact.shapes),
        layers=layer_reports(subject.layers, built.layers, optimized.details),
        types=built.types,
        input=None if fed is None else {**fed.facts, **shown_facts(prepared.inputs, subject)},
        calibration=calibrated,
        fidelity=None if verdict.fidelity is None else vars(verdict.fidelity),
        accuracy=verdict.accuracy,
        warnings=(*warnings_of(optimized.context, around, verdict, remarks), *built.advice),
        alarms=tuple(remark.text for remark in remarks if remark.severe),
        wrong=any(remark.severe and remark.wrong for remark in remarks),
        unmeasured=verdict.unmeasured,
        measured=measurements(
            optimized.runs, built.seconds, total, verdict, (subject.names, built.names), built.checks
        ),
    )
    outcomes = check_gates(prepared.plan.gates, plain(report))
    return replace(report, gates=tuple(vars(each) for each in outcomes))


def _effects(runs: Sequence[PassRun]) -> tuple[list[str], list[str]]:
    """The passes beyond those before every compression that changed nothing, and those that changed something."""
    usual = {step.name for step in prepare_pipeline().passes}
    chosen = [run for run in runs if run.name not in usual and not run.result.then]
    return [run.name for run in chosen if not run.rewrites], [run.name for run in chosen if run.rewrites]


def write_report(report: Report, output: OutputFolder, *, html: bool) -> str | None:
    """Write `report.json` and, if wanted, the page.

    Returns:
        Why there is no page, which is no reason to lose the rest of the result; None where all went well.

    Raises:
        OutputError: the report cannot be written.
    """
    text = report.to_json()
    with output.writing():
        (output.path / REPORT_FILE).write_text(text, encoding="utf-8")
    return _write_page(text, output.path / PAGE_FILE) if html else None


def _write_page(text: str, path: Path) -> str | None:
    try:
        path.write_text(render_page(json.loads(text)), encoding="utf-8")
    except Exception as error:
        path.unlink(missing_ok=True)
        return f"{type(error).__name__} {error}".rstrip(".")
    return None
