"""Judging a compiled model against the original: fidelity, accuracy, latency."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import onnx

from yocc.compiler.graph import load
from yocc.compiler.passes import Arrays, PassContext, Progress, silent
from yocc.compiler.pipeline import Pipeline
from yocc.compiler.target import Target
from yocc.driver.inputs import Inputs
from yocc.errors import BackendError, YoccError
from yocc.models.profile import ModelProfile
from yocc.runtime.backend import Artifact, Backend, Session
from yocc.runtime.bench import Timing, compare_speed, random_feeds
from yocc.runtime.fidelity import FidelityFacts, measure_fidelity
from yocc.runtime.kernels import KernelTime
from yocc.runtime.metrics import evaluate
from yocc.runtime.onnxruntime import session_of

_MACS_FOR_FIDELITY = 320_000_000_000
"""Work spent on comparing outputs, so that a model of 100 GMACs is judged on 4 pictures and a small one on all."""
_MACS_FOR_TIMING = 200_000_000_000
_MACS_FOR_KERNELS = 20_000_000_000
_NO_KERNELS: tuple[tuple[KernelTime, ...], tuple[KernelTime, ...]] = ((), ())


@dataclass(frozen=True)
class Judging:
    """What to measure.

    Attributes:
        inputs: what to run the models on, None when there is nothing but noise.
        shapes: a concrete shape for each input.
        pictures: labelled pictures to score both models on, or None.
        labels: their labels; beside the pictures when None.
        fidelity: whether to compare outputs.
        bench: whether to time.
        threads: threads of the runtime, None for all cores.
    """

    inputs: Inputs | None
    shapes: Mapping[str, tuple[int, ...]]
    pictures: Path | None = None
    labels: Path | None = None
    fidelity: bool = True
    bench: bool = True
    threads: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What was measured; None where it was not.

    Attributes:
        fidelity: against the original's outputs.
        accuracy: both models against labels.
        timing: both models in alternation.
        warnings: what went wrong in a way the user should know.
        unmeasured: what was asked for and could not be measured, and why; also among the warnings.
        execution: what the runtime says it made of the compiled model.
        kernels: where the time of the original and of the compiled model goes; empty where the runtime does not tell.
    """

    fidelity: FidelityFacts | None = None
    accuracy: Mapping[str, Any] | None = None
    timing: Timing | None = None
    warnings: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()
    execution: Mapping[str, Any] = field(default_factory=dict)
    kernels: tuple[tuple[KernelTime, ...], tuple[KernelTime, ...]] = ((), ())


def judge(
    source: str | Path | bytes | onnx.ModelProto,
    artifact: Artifact,
    backend: Backend,
    target: Target,
    profile: ModelProfile | None,
    judging: Judging,
    *,
    macs: int,
    progress: Progress = silent,
) -> Verdict:
    """Measure a compiled model against the one it was made from.

    Args:
        source: the original.
        artifact: what the backend built.
        backend: runs both.
        target: what the artifact was built for.
        profile: how to decode detections, None when it is no detector.
        judging: what to measure.
        macs: work of one run of the original, by which the number of samples is chosen.
        progress: shows the long loops.

    What fails here is no reason to lose the compiled model: it is told in the verdict.

    Raises:
        BackendError: the original can be loaded and the compiled model cannot.
    """
    unmeasured: list[str] = []
    with contextlib.ExitStack() as stack:
        try:
            original = stack.enter_context(original_session(source, backend, target, judging.threads, judging.shapes))
        except BackendError as error:
            # Kernels of its own are loaded where such a model is deployed, not here.
            said = (f"Nothing was measured: the original does not run here. {error}",)
            return Verdict(warnings=said, unmeasured=() if judging.pictures is None else said)
        except OSError as error:
            said = (f"Nothing was measured: no room for a copy of the original ({error.strerror}).",)
            return Verdict(warnings=said, unmeasured=said)
        compiled = stack.enter_context(backend.session(artifact, threads=judging.threads))
        facts = None
        if judging.fidelity and judging.inputs is not None:
            with _told(unmeasured, "The fidelity"):
                facts = _fidelity(original, compiled, profile, judging.inputs, macs, progress)
        accuracy = None
        if judging.pictures is not None and profile is not None:
            with _told(unmeasured, "The accuracy"):
                accuracy = _accuracy(original, compiled, profile, judging, progress)
        timing, kernels = None, _NO_KERNELS
        if judging.bench:
            with _told(unmeasured, "The latency"):
                timing = _timing(original, compiled, judging, macs, progress)
                kernels = _kernels(original, compiled, judging, macs)
        execution = compiled.execution()
    warnings = (facts.collapsed,) if facts is not None and facts.collapsed else ()
    return Verdict(facts, accuracy, timing, (*unmeasured, *warnings), tuple(unmeasured), execution, kernels)


def agreement_judge(
    profile: ModelProfile | None, inputs: Inputs, macs: int, threads: int | None
) -> Callable[[onnx.ModelProto, onnx.ModelProto], float] | None:
    """What passes ask how far a detector they changed still finds what it found before; None for other networks.

    Args:
        profile: how to decode detections.
        inputs: of which those kept back from calibration are used.
        macs: work of one run.
        threads: threads to run with.
    """
    if profile is None:
        return None

    def agree(reference: onnx.ModelProto, candidate: onnx.ModelProto) -> float:
        with session_of(reference, threads=threads) as one, session_of(candidate, threads=threads) as other:
            facts = _fidelity(one, other, profile, inputs, macs, silent)
        # Where the reference finds nothing there is nothing to lose.
        return 1.0 if facts.detection is None else facts.detection.map50_95

    return agree


@contextlib.contextmanager
def original_session(
    source: str | Path | bytes | onnx.ModelProto,
    backend: Backend,
    target: Target,
    threads: int | None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Iterator[Session]:
    """A model as it is, built by a backend into a folder that is gone afterwards.

    Args:
        source: the model; loaded anew because passes change graphs.
        backend: builds and runs it.
        target: what to build it for.
        threads: threads to compute with, None for all cores.
        shapes: of its inputs, for targets that compile for one size.

    Raises:
        BackendError: the backend cannot take, build or run it.
    """
    graph = load(source)
    if target.fixed_shapes:
        # Arithmetic on shapes is not for kernels; folded, the model computes the same.
        graph, _ = Pipeline.parse("fix_shapes,simplify").run(graph, PassContext(target, input_shapes=shapes or {}))
    rejects = backend.validate(graph, target)
    if rejects:
        raise BackendError(f"{backend.name} cannot take it: {rejects[0].reason}.", node=rejects[0].node)
    with tempfile.TemporaryDirectory(prefix="yocc-") as folder:
        session = backend.session(backend.build(graph, target, Path(folder)), threads=threads)
        del graph
        with session:
            yield session


@contextlib.contextmanager
def _told(unmeasured: list[str], what: str) -> Iterator[None]:
    """Note whatever fails in here: the result exists, and hours of work are not thrown away for a measurement."""
    try:
        yield
    except Exception as error:
        said = str(error) if isinstance(error, YoccError) else f"{type(error).__name__}: {error}"
        unmeasured.append(f"{what} was not measured. {said}")


def _accuracy(
    original: Session, compiled: Session, profile: ModelProfile, judging: Judging, progress: Progress
) -> Mapping[str, Any]:
    pictures = judging.pictures or Path()
    return {
        "data": str(judging.pictures),
        "original": evaluate(original, profile, pictures, judging.labels, progress),
        "compiled": evaluate(compiled, profile, pictures, judging.labels, progress),
    }


def _fidelity(
    original: Session,
    compiled: Session,
    profile: ModelProfile | None,
    inputs: Inputs,
    macs: int,
    progress: Progress,
) -> FidelityFacts:
    feeds = inputs.measuring.spread(min(32, max(4, _MACS_FOR_FIDELITY // max(macs, 1))))
    return measure_fidelity(
        original,
        compiled,
        feeds,
        profile,
        data=feeds.description,
        held_out=inputs.held_out,
        progress=progress,
        total=len(feeds),
        pictures=feeds.pictures(),
    )


def _timing(original: Session, compiled: Session, judging: Judging, macs: int, progress: Progress) -> Timing:
    rounds = min(30, max(5, _MACS_FOR_TIMING // max(macs, 1)))
    return compare_speed(
        original,
        compiled,
        _timed_feeds(original, judging, 4),
        rounds=rounds,
        warm_up=min(3, rounds // 4),
        threads=judging.threads,
        progress=progress,
    )


def _kernels(
    original: Session, compiled: Session, judging: Judging, macs: int
) -> tuple[tuple[KernelTime, ...], tuple[KernelTime, ...]]:
    rounds = min(8, max(2, _MACS_FOR_KERNELS // max(macs, 1)))
    (feed,) = _timed_feeds(original, judging, 1)
    return original.kernels(feed, rounds), compiled.kernels(feed, rounds)


def _timed_feeds(original: Session, judging: Judging, count: int) -> list[Arrays]:
    feeds = list(islice(judging.inputs.measuring, count)) if judging.inputs is not None else []
    return feeds or random_feeds(original.inputs, judging.shapes)
