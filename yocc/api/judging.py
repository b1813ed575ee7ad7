"""Measuring models that lie on disk: what the commands `eval`, `compare`, `bench` and `verify` do."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from yocc.api.opening import (
    ONNX_TARGET,
    ModelOnDisk,
    alike,
    examine_model,
    fed_alike,
    find_model,
    original_of,
    recorded_anatomy,
)
from yocc.compiler.pipeline.passes import Progress, silent
from yocc.compiler.stages.anatomy import Anatomy
from yocc.compiler.stages.inputs import feed_specs
from yocc.compiler.stages.reference import original_session
from yocc.compiler.stages.remarks import Circumstances, Remark, fidelity_remarks, input_remarks
from yocc.errors import OptionError, YoccError
from yocc.report.report import CalibrationFacts
from yocc.runtime.backends.backend import Session
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.data.feeds import Feeds, fed_to
from yocc.runtime.data.preprocess import default_preprocess
from yocc.runtime.data.stated import InputOptions
from yocc.runtime.detection.metrics import DetectionScores, evaluate
from yocc.runtime.measuring.bench import Timing, compare_speed, random_feeds
from yocc.runtime.measuring.fidelity import FidelityFacts, Own, Samples, measure_fidelity

_TIMED_SAMPLES = 4


def against_labels(
    model: Path,
    data: Path,
    labels: Path | None,
    *,
    stated: InputOptions | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> DetectionScores:
    """Score a detector against labels.

    Raises:
        OptionError: it is no detector of a known layout.
        CalibrationError: pictures or labels are unusable.
    """
    found = find_model(model)
    profile = examine_model(found, stated).profile
    if profile is None:
        raise OptionError(
            f"{str(model)!r} is not a detector of a known layout.", "Compare outputs with `yocc compare`."
        )
    with found.session(threads) as session:
        return evaluate(session, profile, data, labels, progress)


def against_original(
    model: Path,
    against: Path | None,
    data: Path | None,
    *,
    count: int | None,
    stated: InputOptions | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Agreement:
    """Compare a model with the one it was made from, on pictures; on synthetic ones where none are given.

    An original in ONNX runs in onnxruntime without graph optimizations, whatever the target of the model is.
    """
    compiled = find_model(model)
    original = original_of(compiled, against)
    said = (stated or InputOptions()).over(compiled.stated)
    anatomy = examine_model(original, said)
    with ExitStack() as stack:
        first = stack.enter_context(original.session(threads, optimize=False))
        second = stack.enter_context(compiled.session(threads))
        own, other = _feeding(anatomy, compiled, first, second, stated or InputOptions())
        feeds = own.open_feeds(data, count)
        facts = measure_fidelity(
            first,
            second,
            Samples(
                feeds if other is None else _fed(feeds, other),
                feeds.description,
                held_out=False,
                pictures=() if other is None else feeds.pictures(),
            ),
            other.profile if other is not None else own.profile,
            progress=progress,
            own=None if other is None else Own(None if fed_alike(own, other) else feeds, own.profile),
        )
    fed = own.description if feeds.are_pictures else None
    calibration = CalibrationFacts(feeds.description, len(feeds), feeds.synthetic, used=False)
    around = Circumstances(target=compiled.artifact.backend, calibration=calibration, description=fed)
    return Agreement(facts, (*input_remarks(fed, fed), *fidelity_remarks(facts, around)))


@dataclass(frozen=True)
class Agreement:
    """How a model agrees with the one it was made from.

    Attributes:
        facts: what was measured.
        remarks: what the user should read.
    """

    facts: FidelityFacts
    remarks: tuple[Remark, ...]


@dataclass(frozen=True)
class Speed:
    """Times of a model against the original's.

    Attributes:
        target: whose runtime the model ran in.
        same_runtime: against the original in that runtime: what compression brought. None where it does not run there.
        onnxruntime: against the original in onnxruntime; None where that is the target's runtime.
        remark: why a measurement is missing, or empty.
    """

    target: str
    same_runtime: Timing | None
    onnxruntime: Timing | None
    remark: str = ""


def time_against(
    model: Path,
    against: Path | None,
    *,
    data: Path | None = None,
    rounds: int = 30,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    stated: InputOptions | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Speed:
    """Time a model in its target's runtime against the one it was made from.

    A plain ONNX file as the original runs in onnxruntime and, built for the target as it is, in the target's runtime.
    """
    compiled = find_model(model)
    original = original_of(compiled, against)
    said = (stated or InputOptions()).over(compiled.stated)
    anatomy = examine_model(original, said)
    target = compiled.artifact.backend
    with ExitStack() as stack:
        first, second = (stack.enter_context(each.session(threads)) for each in (original, compiled))
        own, other = _feeding(anatomy, compiled, first, second, stated or InputOptions())
        shapes = {**own.shapes, **({} if other else _fixed(second)), **(input_shapes or {})}
        given = None if data is None else own.open_feeds(data, _TIMED_SAMPLES)
        feeds = random_feeds(first.inputs, shapes) if given is None else list(islice(given, _TIMED_SAMPLES))
        theirs = feeds
        if other is not None:
            theirs = random_feeds(second.inputs, other.shapes)
            if given is not None:
                theirs = list(_fed(given, other))

        def timed(baseline: Session) -> Timing:
            return compare_speed(baseline, second, feeds, theirs, rounds=rounds, threads=threads, progress=progress)

        if original.artifact.backend == target:
            return Speed(target, timed(first), None)
        beside = timed(first) if original.artifact.backend == ONNX_TARGET else None
        try:
            backend = find_backend(target)
            built = backend.target(compiled.artifact.options)
            alike = stack.enter_context(original_session(original.artifact.model, backend, built, threads, shapes))
            return Speed(target, timed(alike), beside)
        except YoccError as error:
            return Speed(target, None, beside, f"The original was not timed in {target}'s runtime. {error}")


def _feeding(
    anatomy: Anatomy, compiled: ModelOnDisk, first: Session, second: Session, stated: InputOptions
) -> tuple[Anatomy, Anatomy | None]:
    """How the original is fed, and how the compiled model is where it is fed or read in another way.

    Args:
        anatomy: of the original.
        compiled: the model to judge.
        first: the original.
        second: the compiled model.
        stated: what the user says of its input.
    """
    fixed, others = _fixed(first), _fixed(second)
    recorded = recorded_anatomy(compiled, stated)
    if recorded is not None:
        before = compiled.report.get("resized")
        open_ones = {name: shape for name, shape in recorded.shapes.items() if name not in fixed}
        own = anatomy.with_shapes({before["name"]: tuple(before["before"])} if before else open_ones)
        return own, None if alike(own, recorded) else recorded
    # Without a report, another shape of the picture input is all that can be seen.
    own = anatomy.with_shapes(
        {name: size for name, size in others.items() if name in anatomy.shapes and name not in fixed}
    )
    specs = own.specs
    shape = others.get(specs[0].name) if len(specs) == 1 else None
    if shape is None or shape == specs[0].shape or len(shape) != len(specs[0].shape) or not specs[0].takes_pictures:
        return own, None
    return own, own.with_shapes({specs[0].name: shape})


def _fed(feeds: Feeds, anatomy: Anatomy) -> Feeds:
    """The same pictures for the model that is fed in another way."""
    (spec,) = feed_specs(anatomy.shapes, anatomy.dtypes, anatomy.profile)
    how = default_preprocess(spec) if anatomy.description is None else anatomy.description.preprocess
    return fed_to(feeds, spec, how)


def _fixed(session: Session) -> dict[str, tuple[int, ...]]:
    """Shapes of the inputs that a compiled model takes in one size only."""
    found: dict[str, tuple[int, ...]] = {}
    for spec in session.inputs:
        sizes = tuple(size for size in spec.shape if isinstance(size, int) and size > 0)
        if len(sizes) == len(spec.shape):
            found[spec.name] = sizes
    return found
