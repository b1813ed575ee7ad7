"""What a compilation was like, for its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import PassRun
from yocc.compiler.stages.inputs import Inputs
from yocc.compiler.stages.measure import Verdict
from yocc.compiler.stages.remarks import Circumstances, Remark
from yocc.compiler.stages.subject import Subject
from yocc.report.report import CalibrationFacts
from yocc.runtime.backends.backend import Check
from yocc.runtime.backends.kernels import by_layer, by_operator
from yocc.runtime.data.description import InputDescription

PICTURES = 2
"""Pictures that are shown as they were fed."""


def calibration_facts(inputs: Inputs | None) -> CalibrationFacts | None:
    """What values were observed on."""
    if inputs is None:
        return None
    feeds = inputs.calibration
    return CalibrationFacts(feeds.description, len(feeds), feeds.synthetic, feeds.used)


def warnings_of(
    ctx: PassContext, around: Circumstances, verdict: Verdict, remarks: Sequence[Remark]
) -> tuple[str, ...]:
    """What the user should read, the gravest first.

    Args:
        ctx: holds what passes had to say.
        around: what the result may have suffered from.
        verdict: what was measured.
        remarks: what is conspicuous in it.
    """
    notes = [
        f"{note.origin}: {note.message}" + (f" (at {note.node!r})" if note.node else "")
        for note in ctx.notes
        if note.level == "warning"
    ]
    grave = [remark.text for remark in remarks if remark.severe]
    others = [remark.text for remark in remarks if not remark.severe]
    drawn = []
    calibrated = around.calibration
    if calibrated is not None and calibrated.synthetic and calibrated.used:
        drawn.append(
            "Calibrated with synthetic pictures, as none were given; give real ones with --calib for accuracy."
        )
    return (*grave, *verdict.warnings, *others, *drawn, *notes)


def pictures_fed(
    inputs: Inputs | None, description: InputDescription | None, verdict: Verdict, relied_on: bool
) -> InputDescription | None:
    """How pictures were fed; None where none were, or nothing came of them.

    Args:
        inputs: what was fed.
        description: how the model that came in takes pictures.
        verdict: what was measured.
        relied_on: whether the result depends on it anyway: scores do, and a graph that takes bytes.
    """
    if relied_on:
        return description
    if inputs is None or not inputs.measuring.are_pictures:
        return None
    return description if inputs.calibration.used or verdict.fidelity is not None else None


def shown_facts(inputs: Inputs | None, subject: Subject) -> dict[str, Any]:
    """A few of the pictures, to be shown as they were fed to the model that came in; nothing where there are none."""
    refs = [] if inputs is None else inputs.measuring.head(PICTURES).pictures()
    pictures = [vars(each) for each in refs if each is not None]
    return {"pictures": pictures, "shape": list(subject.specs[0].shape)} if pictures else {}


def measurements(
    runs: Sequence[PassRun],
    compiled: float,
    total: float,
    verdict: Verdict,
    names: tuple[Mapping[str, str], ...],
    checks: Sequence[Check],
) -> dict[str, Any]:
    """Seconds and latencies, which differ from run to run."""
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
