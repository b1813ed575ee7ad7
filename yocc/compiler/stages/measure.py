"""Judging a compiled model against the original: fidelity, accuracy, latency."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import onnx

from yocc.compiler.pipeline.passes import Arrays, Progress, silent
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.agreement import fidelity_of
from yocc.compiler.stages.elsewhere import Elsewhere, found_elsewhere
from yocc.compiler.stages.emit import Built
from yocc.compiler.stages.inputs import Inputs
from yocc.compiler.stages.prepare import Prepared
from yocc.compiler.stages.reference import original_session, reference_session
from yocc.containment.activity import during
from yocc.errors import BackendError, BackendUnavailable, YoccError
from yocc.models.families.profile import ModelProfile
from yocc.runtime.backends.backend import Artifact, Backend, Session, open_outputs
from yocc.runtime.backends.compare import compare
from yocc.runtime.backends.kernels import KernelTime
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend
from yocc.runtime.detection.boxes import selection_of
from yocc.runtime.detection.metrics import evaluate
from yocc.runtime.measuring.bench import Timing, compare_speed, random_feeds
from yocc.runtime.measuring.fidelity import FidelityFacts, is_poor, worst_snr

_MACS_FOR_TIMING = 200_000_000_000
_MACS_FOR_KERNELS = 20_000_000_000
_FEEDS_FOR_BLAME = 2
"""Inputs on which the original is run in the target's runtime to see whether that is at fault."""
_OTHER_INPUT = "Nothing was compared: the arrays that were given fit the compiled model's input, not the original's."
_NO_KERNELS: tuple[tuple[KernelTime, ...], tuple[KernelTime, ...]] = ((), ())


@dataclass(frozen=True)
class Judging:
    """What to measure.

    Attributes:
        inputs: what to run the models on, None when there is nothing but noise.
        shapes: a concrete shape for each input of the compiled model.
        pictures: labeled pictures to score both models on, or None.
        labels: their labels; beside the pictures when None.
        fidelity: whether to compare outputs.
        bench: whether to time.
        threads: threads of the runtime, None for all cores.
        own_shapes: a concrete shape for each input of the original, where these are others; else None.
    """

    inputs: Inputs | None
    shapes: Mapping[str, tuple[int, ...]]
    pictures: Path | None = None
    labels: Path | None = None
    fidelity: bool = True
    bench: bool = True
    threads: int | None = None
    own_shapes: Mapping[str, tuple[int, ...]] | None = None

    @property
    def for_original(self) -> Mapping[str, tuple[int, ...]]:
        """A concrete shape for each input of the original."""
        return self.shapes if self.own_shapes is None else self.own_shapes


@dataclass(frozen=True)
class Verdict:
    """What was measured; None where it was not.

    Attributes:
        fidelity: against the original's outputs.
        accuracy: both models against labels.
        timing: both models in alternation.
        warnings: what went wrong in a way the user should know.
        unmeasured: what was asked for and could not be measured, and why; also among the warnings.
        execution: how the runtime executes the compiled model.
        kernels: where the time of the original and of the compiled model goes; empty where the runtime does not tell.
        target_snr: signal to noise of the original in the target's runtime in decibels; None where that was not asked.
        elsewhere: how an original that finds nothing would have to be fed to find something; None elsewhere.
    """

    fidelity: FidelityFacts | None = None
    accuracy: Mapping[str, Any] | None = None
    timing: Timing | None = None
    warnings: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()
    execution: Mapping[str, Any] = field(default_factory=dict)
    kernels: tuple[tuple[KernelTime, ...], tuple[KernelTime, ...]] = ((), ())
    target_snr: float | None = None
    elsewhere: Elsewhere | None = None


@dataclass(frozen=True)
class Judged:
    """What is judged: the original, where it is to run, and how it is measured.

    Attributes:
        source: the original.
        backend: runs the compiled model, and the original where both are timed.
        target: what was compiled for.
        profile: how to decode detections, None when it is no detector.
        judging: what to measure.
        macs: work of one run of the original, by which the number of samples is chosen.
        own: how to decode the original's detections, where its inputs or outputs are others; else None.
    """

    source: str | Path | bytes | onnx.ModelProto
    backend: Backend
    target: Target
    profile: ModelProfile | None
    judging: Judging
    macs: int
    own: ModelProfile | None = None


def measure(prepared: Prepared, built: Built, progress: Progress = silent) -> Verdict:
    """The fourth stage: judge what was built against the model that came in.

    Raises:
        BackendError: the original can be loaded and the compiled model cannot.
    """
    wanted, subject, plan = prepared.options.measure, prepared.subject, prepared.plan
    compiled = prepared.compiled
    judging = Judging(
        inputs=prepared.inputs,
        shapes=compiled.shapes,
        pictures=wanted.evaluate,
        labels=wanted.labels,
        fidelity=wanted.fidelity,
        bench=wanted.bench,
        threads=wanted.threads,
        own_shapes=None if compiled is subject else subject.shapes,
    )
    own = None if compiled is subject else subject.profile
    judged = Judged(prepared.source, plan.backend, plan.target, compiled.profile, judging, subject.facts.macs, own)
    return judge(judged, built.artifact, progress)


def judge(judged: Judged, artifact: Artifact, progress: Progress = silent) -> Verdict:
    """Measure a compiled model against the one it was made from.

    Values are compared with those of the original in onnxruntime; latencies with those of the original in the target.
    What fails here is no reason to lose the compiled model: it is reported in the verdict.

    Args:
        judged: the original, and what to measure.
        artifact: what the backend built.
        progress: shows the long loops.

    Raises:
        BackendError: the original can be loaded and the compiled model cannot.
    """
    judging, backend = judged.judging, judged.backend
    unmeasured: list[str] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(during(f"measuring what was built for {backend.name!r}", BackendError.exit_code))
        try:
            compiled = stack.enter_context(backend.session(artifact, threads=judging.threads))
        except BackendUnavailable as error:
            return _nothing(f"Nothing was measured: {error}", judging)
        except BackendError:
            reason = _obstacle(judged)
            if not reason:
                raise
            return _nothing(f"Nothing was measured: the original does not run here. {reason}", judging)
        compared = _compare(judged, compiled, unmeasured, progress)
        timing, kernels, untimed = None, _NO_KERNELS, ""
        if judging.bench:
            with _noting_failure(unmeasured, "The latency"):
                timing, kernels, untimed = _time(judged, compiled, progress)
        execution = compiled.execution()
    elsewhere = backend.substitute(judged.target) if timing is not None else ""
    if elsewhere:
        untimed = f"Latencies are those of onnxruntime, as {backend.name} does not run here: {elsewhere}"
    warnings = tuple(text for text in dict.fromkeys((*unmeasured, compared.obstacle, untimed)) if text)
    return Verdict(
        compared.fidelity,
        compared.accuracy,
        timing,
        warnings,
        tuple(unmeasured),
        execution,
        kernels,
        compared.target_snr,
        compared.elsewhere,
    )


def _nothing(reason: str, judging: Judging) -> Verdict:
    """Nothing was measured; scores that were asked for are missed."""
    return Verdict(warnings=(reason,), unmeasured=() if judging.pictures is None else (reason,))


@dataclass(frozen=True)
class _Compared:
    """What comparing with the original gave, or why nothing."""

    fidelity: FidelityFacts | None = None
    accuracy: Mapping[str, Any] | None = None
    obstacle: str = ""
    target_snr: float | None = None
    elsewhere: Elsewhere | None = None


def _obstacle(judged: Judged) -> str:
    """Why onnxruntime cannot run the original; empty where it can."""
    judging = judged.judging
    try:
        with reference_session(judged.source, judging.threads) as session:
            if judging.inputs is not None and judging.inputs.comparable:
                session.run(next(iter(judging.inputs.for_original)))
    except BackendError as error:
        # Kernels of its own are loaded where such a model is deployed, not here.
        return str(error)
    return ""


def _compare(judged: Judged, compiled: Session, unmeasured: list[str], progress: Progress) -> _Compared:
    """Fidelity and accuracy, both against the original in onnxruntime."""
    judging, profile = judged.judging, judged.profile
    inputs = judging.inputs if judging.fidelity else None
    pictures = None if profile is None else judging.pictures
    uncompared = ""
    if inputs is not None and not inputs.comparable:
        inputs, uncompared = None, _OTHER_INPUT
    if inputs is None and pictures is None:
        return _Compared(obstacle=uncompared)
    with contextlib.ExitStack() as stack:
        try:
            original = stack.enter_context(reference_session(judged.source, judging.threads))
            if judging.inputs is not None and judging.inputs.comparable:
                original.run(next(iter(judging.inputs.for_original)))
        except (BackendError, OSError) as error:
            obstacle = _why_not_compared(error)
            if pictures is not None or isinstance(error, OSError):
                unmeasured.append(obstacle)
            return _Compared(obstacle=obstacle)
        facts = snr = accuracy = elsewhere = None
        if inputs is not None:
            with _noting_failure(unmeasured, "The fidelity"):
                facts = fidelity_of(original, compiled, profile, inputs, judged.macs, progress, judged.own)
                if is_poor(facts):
                    snr = _target_snr(original, judged, inputs)
                if profile is not None and facts.confident is not None and not facts.confident[0]:
                    elsewhere = found_elsewhere(original, judged.own or profile, inputs.for_original)
        if pictures is not None and profile is not None:
            with _noting_failure(unmeasured, "The accuracy"):
                accuracy = {
                    "data": str(pictures),
                    "original": evaluate(
                        original, judged.own or profile, pictures, judging.labels, progress, selection_of(profile)
                    ),
                    "compiled": evaluate(compiled, profile, pictures, judging.labels, progress),
                }
    return _Compared(facts, accuracy, uncompared, target_snr=snr, elsewhere=elsewhere)


def _why_not_compared(error: BackendError | OSError) -> str:
    if isinstance(error, BackendError):
        return f"Nothing was compared: onnxruntime cannot run the original. {error}"
    return f"Nothing was compared: no disk space for a copy of the original ({error.strerror})."


def _target_snr(original: Session, judged: Judged, inputs: Inputs) -> float | None:
    """How far the target's runtime is off on the original itself, in decibels; None where that is onnxruntime."""
    if judged.backend.name == OnnxRuntimeBackend.name:
        return None
    judging = judged.judging
    try:
        with original_session(
            judged.source, judged.backend, judged.target, judging.threads, judging.for_original, timed=False
        ) as alike:
            feeds = islice(inputs.for_original, _FEEDS_FOR_BLAME)
            pairs = ((original.run(feed), alike.run(feed)) for feed in feeds)
            differences = compare(pairs, opened=open_outputs(original))
    except (BackendError, OSError):
        return None
    return worst_snr(differences)


def _time(
    judged: Judged, compiled: Session, progress: Progress
) -> tuple[Timing | None, tuple[tuple[KernelTime, ...], tuple[KernelTime, ...]], str]:
    """Latencies of both models in the target's runtime, and why there are none.

    Raises:
        BackendError: there is no room for a copy of the original, or a model fails while it is timed.
    """
    judging, macs = judged.judging, judged.macs
    with contextlib.ExitStack() as stack:
        try:
            original = stack.enter_context(
                original_session(judged.source, judged.backend, judged.target, judging.threads, judging.for_original)
            )
        except BackendError as error:
            return None, ((), ()), f"Nothing was timed: {judged.backend.name} does not run the original. {error}"
        except OSError as error:
            raise BackendError(f"There is no room for a copy of the original ({error.strerror}).") from error
        timing = _timing(original, compiled, judging, macs, progress)
        return timing, _kernels(original, compiled, judging, macs), ""


@contextlib.contextmanager
def _noting_failure(unmeasured: list[str], what: str) -> Iterator[None]:
    """Note whatever fails in here: the result exists, and hours of work are not thrown away for a measurement."""
    try:
        yield
    except Exception as error:
        said = str(error) if isinstance(error, YoccError) else f"{type(error).__name__}: {error}"
        unmeasured.append(f"{what} was not measured. {said}")


def _timing(original: Session, compiled: Session, judging: Judging, macs: int, progress: Progress) -> Timing:
    rounds = min(30, max(5, _MACS_FOR_TIMING // max(macs, 1)))
    return compare_speed(
        original,
        compiled,
        *timed_feeds(original, compiled, judging, 4),
        rounds=rounds,
        warm_up=min(3, rounds // 4),
        threads=judging.threads,
        progress=progress,
    )


def _kernels(
    original: Session, compiled: Session, judging: Judging, macs: int
) -> tuple[tuple[KernelTime, ...], tuple[KernelTime, ...]]:
    rounds = min(8, max(2, _MACS_FOR_KERNELS // max(macs, 1)))
    (own, *_), (feed, *_) = timed_feeds(original, compiled, judging, 1)
    return original.kernels(own, rounds), compiled.kernels(feed, rounds)


def timed_feeds(
    original: Session, compiled: Session, judging: Judging, count: int
) -> tuple[list[Arrays], list[Arrays]]:
    """Inputs for the original and, as many, for the compiled model; the same where their shapes are."""
    inputs = judging.inputs
    feeds = list(islice(inputs.measuring, count)) if inputs is not None else []
    if judging.own_shapes is None:
        feeds = feeds or random_feeds(original.inputs, judging.shapes)
        return feeds, feeds
    feeds = feeds or random_feeds(compiled.inputs, judging.shapes)
    own = list(islice(inputs.for_original, count)) if inputs is not None and inputs.comparable else []
    return own or random_feeds(original.inputs, judging.own_shapes, count=len(feeds)), feeds
