"""Compiling a model with one lever and measuring it against the original, which is opened once for all levers."""

from __future__ import annotations

import contextlib
import hashlib
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from yocc.api.advice import LeverReport
from yocc.api.levers import Lever
from yocc.compiler.graph import Graph, clone
from yocc.compiler.output.folder import OutputFolder
from yocc.compiler.pipeline.memo import Memo
from yocc.compiler.pipeline.passes import Arrays
from yocc.compiler.stages.agreement import fidelity_of
from yocc.compiler.stages.emit import Built, emit
from yocc.compiler.stages.inputs import Inputs, WatchedFeeds, changed_inputs
from yocc.compiler.stages.interface import interfaces_of
from yocc.compiler.stages.measure import Judging, timed_feeds
from yocc.compiler.stages.optimize import Optimized, optimize
from yocc.compiler.stages.prepare import Opened, Prepared, assemble, make_plan
from yocc.compiler.stages.reference import original_session, reference_session
from yocc.compiler.stages.subject import Subject
from yocc.errors import BackendError, YoccError
from yocc.options import CompileOptions
from yocc.runtime.backends.backend import Session
from yocc.runtime.measuring.bench import Timing, compare_speed, random_feeds
from yocc.runtime.measuring.fidelity import FidelityFacts, worst_snr

_KEPT_BYTES = 2**30
"""Outputs of the original that are kept in memory; the others are computed again."""
_TIMED_FEEDS = 4
_TIMED_SECONDS = 3.0
"""Spent on the runs of the original in the rounds of one lever."""
_ROUNDS = (5, 15)
"""Fewest and most rounds."""


@dataclass(frozen=True)
class Case:
    """The original, opened and examined once.

    Attributes:
        graph: the model, before any pass; levers work on copies.
        opened: its file, facts and inputs.
        keywords: options of the compilation that are the same for all levers.
        options: the same without a lever.
        given_arrays: whether the user gave arrays, which fit one input size only.
    """

    graph: Graph
    opened: Opened
    keywords: Mapping[str, Any]
    options: CompileOptions
    given_arrays: bool

    @property
    def subject(self) -> Subject:
        """The model as it came in."""
        return self.opened.interfaces.original


class Remembering(Session):
    """A session that computes each input once.

    Args:
        session: does the work, and is closed by its owner.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.inputs, self.outputs = session.inputs, session.outputs
        self._known: dict[bytes, Arrays] = {}
        self._bytes = 0

    def run(self, feeds: Arrays) -> Arrays:
        """What the session gives, or gave before for the same values."""
        digest = hashlib.blake2b()
        for name in sorted(feeds):
            digest.update(name.encode())
            digest.update(str((feeds[name].shape, feeds[name].dtype)).encode())
            digest.update(repr(feeds[name].tolist()).encode() if feeds[name].dtype.hasobject else feeds[name].tobytes())
        key = digest.digest()
        if key in self._known:
            return self._known[key]
        found = self._session.run(feeds)
        size = sum(array.nbytes for array in found.values() if hasattr(array, "nbytes"))
        if self._bytes + size <= _KEPT_BYTES:
            self._known[key] = found
            self._bytes += size
        return found


@dataclass(frozen=True)
class Yardstick:
    """What levers are compared with.

    Attributes:
        reference: the original in onnxruntime without graph optimizations; None where it does not run there.
        original: the original in the target's runtime; None where nothing is timed.
        uncompared: why there is no reference, or empty.
        untimed: why nothing is timed, or empty.
        seconds: of one run of the original.
    """

    reference: Session | None
    original: Session | None
    uncompared: str = ""
    untimed: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Limits:
    """What a lever may use.

    Attributes:
        pictures: samples to calibrate with at most.
        seconds: that are left, for passes that can stop early.
        memo: shared by levers that differ only in how much they prune.
    """

    pictures: int
    seconds: float
    memo: Memo


@dataclass(frozen=True)
class LeverRun:
    """A report of a lever, and what it says of the original.

    Attributes:
        report: of the lever.
        timing: of the original and the lever; None where there is none.
        facts: how they agree; None where they were not compared.
    """

    report: LeverReport
    timing: Timing | None = None
    facts: FidelityFacts | None = None


@dataclass
class _Found:
    """What is known of a lever, so that a failure later on loses nothing."""

    built: Built | None = None
    facts: FidelityFacts | None = None
    timing: Timing | None = None
    remarks: list[str] = field(default_factory=list)


@contextlib.contextmanager
def yardstick(case: Case) -> Iterator[Yardstick]:
    """The original, ready to be compared and timed with."""
    options, subject, inputs = case.options, case.subject, case.opened.inputs
    threads = options.measure.threads
    plan = make_plan(options)
    with contextlib.ExitStack() as stack:
        reference, original, uncompared, untimed, seconds = None, None, "", "", 0.0
        if inputs is None:
            uncompared = "Nothing was compared: no samples can be made for the inputs of the model."
        else:
            try:
                reference = Remembering(stack.enter_context(reference_session(case.opened.source, threads)))
                seconds = _seconds_of(reference, next(iter(inputs.measuring)))
            except (BackendError, OSError) as error:
                reference, uncompared = None, f"Nothing was compared: onnxruntime cannot run the original. {error}"
        elsewhere = plan.backend.substitute(plan.target)
        if elsewhere:
            untimed = f"Nothing was timed: {plan.backend.name} does not run here: {elsewhere}"
        else:
            try:
                original = stack.enter_context(
                    original_session(case.opened.source, plan.backend, plan.target, threads, subject.shapes)
                )
                feed = _first_feed(original, inputs, subject)
                original.run(feed)
                seconds = max(seconds, _seconds_of(original, feed))
            except (YoccError, OSError) as error:
                original, untimed = None, f"Nothing was timed: {plan.backend.name} does not run the original. {error}"
        yield Yardstick(reference, original, uncompared, untimed, seconds)


def measure_lever(lever: Lever, case: Case, against: Yardstick, limits: Limits) -> LeverRun:
    """Compile and measure one lever; a failure is a remark in its report.

    Args:
        lever: what to do.
        case: the original.
        against: what to compare with.
        limits: samples and time.
    """
    started = time.perf_counter()
    found = _Found()
    status, used = "measured", 0
    try:
        used = _compile_and_measure(lever, case, against, limits, found)
    except YoccError as error:
        status = "failed"
        found.remarks.insert(0, str(error))
    except Exception as error:
        status = "failed"
        found.remarks.insert(0, f"{type(error).__name__}: {error} This is a fault of yocc; please report it.")
    if status == "measured" and 0 < used < lever.pictures:
        found.remarks.append(f"Calibrated on {used} samples; more keep more fidelity.")
    if status == "measured" and lever.remark:
        found.remarks.append(lever.remark)
    built, facts, timing = found.built, found.facts, found.timing
    detection = None if facts is None else facts.detection
    whole = [each for each in (() if facts is None else facts.outputs) if not each.label]
    report = LeverReport(
        kind=lever.kind,
        options=lever.options,
        status=status,  # type: ignore[arg-type] # one of the two
        remarks=tuple(dict.fromkeys(found.remarks)),
        parameters=None if built is None else built.facts.parameters,
        macs=None if built is None else built.facts.macs,
        bytes=None if built is None else built.facts.bytes,
        latency_ms=None if timing is None else timing.candidate.median,
        speedup=None if timing is None else timing.paired_speedup,
        fidelity=None if detection is None else detection.map50_95,
        snr_db=worst_snr(whole) if whole else None,
        confident=None if facts is None else facts.confident,
        pictures=used,
        seconds=round(time.perf_counter() - started, 3),
    )
    return LeverRun(report, timing, facts)


def _compile_and_measure(lever: Lever, case: Case, against: Yardstick, limits: Limits, found: _Found) -> int:
    """Fill in what is found; the number of samples that were calibrated with."""
    prepared, graph = _prepare(lever, case, limits)
    with tempfile.TemporaryDirectory(prefix="yocc-") as folder, OutputFolder(Path(folder) / "lever") as output:
        graph, optimized = optimize(graph, prepared)
        found.built = emit(graph, prepared, optimized, output)
        del graph  # measuring takes memory of its own
        found.remarks += _said(optimized)
        inputs = prepared.inputs
        used = len(inputs.calibration) if inputs is not None and inputs.calibration.used else 0
        if against.reference is None and against.original is None:
            return used
        with prepared.plan.backend.session(found.built.artifact, threads=prepared.options.measure.threads) as compiled:
            _compare(prepared, against, compiled, found)
            if against.original is not None:
                found.timing = _timing(prepared, against.original, compiled, against.seconds)
    return used


def _prepare(lever: Lever, case: Case, limits: Limits) -> tuple[Prepared, Graph]:
    """The plan of a lever on a copy of the graph."""
    plan = replace(make_plan(CompileOptions.of(**case.keywords, **lever.recipe)), seconds=limits.seconds)
    graph, opened = clone(case.graph), case.opened
    inputs = opened.inputs
    if inputs is not None:
        # Each lever's own, as they remember whether they were looked at.
        inputs = replace(inputs, calibration=WatchedFeeds(inputs.calibration.feeds.spread(max(1, limits.pictures))))
    interfaces = interfaces_of(case.subject, graph, plan.pipeline)
    during = interfaces.during
    if during is not case.subject and inputs is not None:
        described = None if case.given_arrays else during.description
        inputs = None if described is None else changed_inputs(inputs, during.specs[0], described.preprocess)
    prepared = assemble(graph, plan, replace(opened, interfaces=interfaces, inputs=inputs))
    if lever.kind == "prune":
        prepared = replace(prepared, context=replace(prepared.context, memo=limits.memo))
    return prepared, graph


def _said(optimized: Optimized) -> list[str]:
    """Warnings of the passes."""
    return [note.message for note in optimized.context.notes if note.level == "warning"]


def _compare(prepared: Prepared, against: Yardstick, compiled: Session, found: _Found) -> None:
    changed, subject, inputs = prepared.compiled, prepared.subject, prepared.inputs
    if against.reference is None:
        return
    if inputs is None:
        found.remarks.append("Not compared with the original: the arrays that were given fit its input size only.")
        return
    own = None if changed is subject else subject.profile
    facts = fidelity_of(
        against.reference, compiled, changed.profile, inputs, subject.facts.macs, prepared.context.progress, own
    )
    found.facts = facts
    if facts.collapsed:
        found.remarks.append(facts.collapsed)


def _timing(prepared: Prepared, original: Session, compiled: Session, seconds: float) -> Timing:
    changed, subject = prepared.compiled, prepared.subject
    judging = Judging(
        inputs=prepared.inputs,
        shapes=changed.shapes,
        own_shapes=None if changed is subject else subject.shapes,
    )
    fewest, most = _ROUNDS
    rounds = min(most, max(fewest, math.ceil(_TIMED_SECONDS / max(seconds, 1e-3) / 2)))
    return compare_speed(
        original,
        compiled,
        *timed_feeds(original, compiled, judging, _TIMED_FEEDS),
        rounds=rounds,
        warm_up=2,
        threads=prepared.options.measure.threads,
    )


def _first_feed(session: Session, inputs: Inputs | None, subject: Subject) -> Arrays:
    feeds = [] if inputs is None else list(islice(inputs.measuring, 1))
    return (feeds or random_feeds(session.inputs, subject.shapes))[0]


def _seconds_of(session: Session, feed: Arrays) -> float:
    started = time.perf_counter()
    session.run(feed)
    return time.perf_counter() - started
