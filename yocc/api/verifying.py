"""Whether a compiled model is what its report says: files, a run, and the original beside it; for `yocc verify`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yocc.api.checking import require_unchanged
from yocc.api.opening import ModelOnDisk, alike, examine_model, find_model, is_original, recorded_anatomy
from yocc.compiler.pipeline.passes import Arrays
from yocc.compiler.stages.anatomy import Anatomy
from yocc.compiler.stages.inputs import feed_specs
from yocc.errors import BackendUnavailable, CalibrationError, ModelError, OptionError, YoccError
from yocc.models.families.profile import ModelProfile
from yocc.runtime.backends.backend import Check, Session, open_outputs
from yocc.runtime.backends.compare import Difference, compare
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.data.feeds import open_feeds
from yocc.runtime.measuring.bench import random_feeds

SAMPLES = 4
_ENOUGH = 30.0
"""Decibels that do for an output the report calls equal, on another machine."""
_LEEWAY = 6.0
"""Decibels by which an output may be worse than in the report, on other samples."""
_SYNTHETIC = "synthetic"
_FILES, _RUNS, _ORIGINAL = "files", "run on samples", "comparison with the original"


@dataclass(frozen=True)
class _Run:
    """What a model gave on samples.

    Attributes:
        feeds: the samples.
        outputs: what it gave on each.
        synthetic: whether the samples are pictures, and not noise.
        where: what it ran in, where that is not the target.
    """

    feeds: list[Arrays]
    outputs: list[Arrays]
    synthetic: bool
    where: str


def verify_model(model: Path) -> tuple[Check, ...]:
    """Everything that can be made sure of here.

    A model whose files are not those of its report is not run: what is cut short may take the process down.

    Args:
        model: a folder yocc wrote, or an ONNX file.

    Raises:
        ModelError: there is no model, its report is not one of yocc's, or an ONNX file without a report is not valid.
    """
    found = find_model(model)
    files = _files(found)
    if files.passed is False:
        reason = "the files are not those of the report"
        return (files, *(Check(name, None, reason) for name in (_RUNS, _ORIGINAL)))
    anatomy = None if found.report else examine_model(found)
    own = _caught(lambda: find_backend(found.artifact.backend).verify(found.artifact), found.artifact.backend)
    try:
        anatomy = anatomy or examine_model(found)
        run = _run(found, anatomy)
    except BackendUnavailable as error:
        return (files, *own, *(Check(name, None, str(error)) for name in (_RUNS, _ORIGINAL)))
    except OptionError as error:
        return (files, *own, *(Check(name, None, f"there are no samples: {error}") for name in (_RUNS, _ORIGINAL)))
    except YoccError as error:
        return (files, *own, Check(_RUNS, False, str(error)), Check(_ORIGINAL, None, "the model does not run"))
    checks = (_judged(run, found.report), _compared(found, run, anatomy.profile))
    return (files, *own, *checks)


def _files(found: ModelOnDisk) -> Check:
    if not found.report:
        return Check(_FILES, None, "there is no report to check the file against")
    try:
        count = require_unchanged(found.artifact.folder, found.report)
    except ModelError as error:
        return Check(_FILES, False, str(error))
    return Check(_FILES, True, f"{count} with the sizes and hashes of the report")


def _caught(verify: Callable[[], tuple[Check, ...]], name: str) -> tuple[Check, ...]:
    try:
        return verify()
    except YoccError as error:
        return (Check(name, False, str(error)),)


def _run(found: ModelOnDisk, anatomy: Anatomy) -> _Run:
    """Run a model on samples.

    Raises:
        YoccError: it cannot be loaded or does not run.
    """
    with found.session() as session:
        feeds, synthetic = _samples(session, found.report, anatomy)
        outputs = [session.run(feed) for feed in feeds]
        runtime = session.execution().get("runtime", found.artifact.backend)
    where = (
        "" if runtime == found.artifact.backend else f"; in {runtime}, as {found.artifact.backend} does not run here"
    )
    return _Run(feeds, outputs, synthetic, where)


def _samples(session: Session, report: Mapping[str, Any], anatomy: Anatomy) -> tuple[list[Arrays], bool]:
    """Synthetic pictures where the model takes pictures, noise elsewhere."""
    shapes = {**anatomy.shapes}
    for spec in session.inputs:
        sizes = tuple(size for size in spec.shape if isinstance(size, int) and size > 0)
        if len(sizes) == len(spec.shape) and not spec.open_rank:
            shapes[spec.name] = sizes
    for each in report.get("inputs", ()):
        if each["shape"] is not None:
            shapes[each["name"]] = tuple(each["shape"])
    dtypes = {spec.name: spec.dtype for spec in session.inputs}
    profile = anatomy.profile
    try:
        specs = feed_specs(shapes, dtypes, profile)
        preprocess = None if anatomy.description is None else anatomy.description.preprocess
        return list(open_feeds(None, specs, preprocess, SAMPLES, int(report.get("seed", 0)))), True
    except CalibrationError:
        return random_feeds(session.inputs, shapes, count=SAMPLES), False


def _judged(run: _Run, report: Mapping[str, Any]) -> Check:
    """Whether outputs are finite and of the shapes in the report."""
    infinite = {each["output"] for each in _outputs(report) if not each.get("finite", True)}
    for outputs in run.outputs:
        for name, output in outputs.items():
            arrays = output if isinstance(output, list) else [output]  # a list is a sequence
            if name not in infinite and any(a.dtype.kind in "fc" and not np.isfinite(a).all() for a in arrays):
                return Check(_RUNS, False, f"the output {name!r} is not finite{run.where}")
        for each in report.get("outputs", ()):
            problem = _contradicted(each, outputs)
            if problem:
                return Check(_RUNS, False, f"{problem}{run.where}")
    checked = "finite outputs of the shapes in the report" if report.get("outputs") else "finite outputs"
    return Check(_RUNS, True, f"{len(run.feeds)} samples, {checked}{run.where}")


def _contradicted(stated: Mapping[str, Any], outputs: Arrays) -> str:
    """What of an output is not as the report says, or empty."""
    name, shape = stated["name"], stated["shape"]
    if name not in outputs:
        return f"there is no output {name!r}"
    found = None if isinstance(outputs[name], list) else list(outputs[name].shape)
    if shape is not None and found != shape:
        return f"the output {name!r} is {found} and not {shape}"
    return ""


def _compared(found: ModelOnDisk, run: _Run, profile: ModelProfile | None) -> Check:
    """The compiled model beside the original, by what the report says of the two."""
    original, reason = _original(found)
    if original is None:
        return Check(_ORIGINAL, None, reason)
    recorded = recorded_anatomy(found)
    if recorded is not None and not alike(examine_model(original, found.stated), recorded):
        return Check(_ORIGINAL, None, "its inputs or outputs differ; compare detections with `yocc compare`")
    try:
        with original.session() as session:
            wanted = [session.run(feed) for feed in run.feeds]
            opened = open_outputs(session)
    except YoccError as error:
        return Check(_ORIGINAL, None, f"the original does not run here: {error}")
    try:
        differences = compare(zip(wanted, run.outputs, strict=True), profile, opened)
    except YoccError as error:
        return Check(_ORIGINAL, False, str(error))
    stated = {each["output"]: each for each in _outputs(found.report) if not each.get("label")}
    uneven = (found.report.get("fidelity") or {}).get("uneven") or ()
    whole = sorted((each for each in differences if not each.label and each.output not in uneven), key=_snr)
    worst = f"{_decibels(_snr(whole[0]))} on {whole[0].output!r}" if whole else ""
    for each in whole:
        got = _snr(each)
        if each.output not in stated:
            return Check(_ORIGINAL, None, f"{worst}; the report states no fidelity to compare with")
        expected = _number(stated[each.output].get("snr_db"))
        if got < _least(expected):
            message = f"{_decibels(got)} on {each.output!r}, and the report says {_decibels(expected)}"
            if run.synthetic and _SYNTHETIC in str(found.report["fidelity"].get("data")):
                return Check(_ORIGINAL, False, f"{message}{run.where}")
            return Check(_ORIGINAL, None, f"{message} on other samples; compare on those with `yocc compare`")
    return Check(_ORIGINAL, True, f"{worst or 'no outputs to compare'}{run.where}")


def _original(found: ModelOnDisk) -> tuple[ModelOnDisk | None, str]:
    """The original, or why it is not at hand."""
    if found.original is None:
        return None, "there is no report that names the original"
    if not found.original.is_file():
        return None, f"the original {str(found.original)!r} is not here"
    if not is_original(found):
        return None, f"{str(found.original)!r} is not the file that was compiled"
    return find_model(found.original), ""


def _outputs(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the report says of the outputs beside the original's."""
    return list((report.get("fidelity") or {}).get("outputs") or ())


def _least(stated: float) -> float:
    """Decibels that do on samples that are not those of the report."""
    return min(_ENOUGH, stated / 2 if stated > 2 * _LEEWAY else stated - _LEEWAY)


def _number(stated: Any) -> float:
    """Decibels as the report writes them: null for equal outputs, text where JSON has no number."""
    return math.inf if stated is None else float(stated)


def _snr(difference: Difference) -> float:
    return math.inf if difference.snr_db is None else difference.snr_db


def _decibels(value: float) -> str:
    return "equal" if value == math.inf else f"{value:.1f} dB"
