"""What each lever alone would buy: `yocc advise`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Unpack

from yocc.api.advice import Advice, LeverReport, OriginalFacts, conclude
from yocc.api.lever_runs import Case, LeverRun, Limits, Yardstick, measure_lever, yardstick
from yocc.api.levers import MOST_PICTURES, Lever, choose_levers, read_kinds
from yocc.compiler.graph import load
from yocc.compiler.graph.finite import check_finite
from yocc.compiler.pipeline.deadline import Deadline, read_duration
from yocc.compiler.pipeline.memo import SharedMemo
from yocc.compiler.pipeline.passes import Progress, silent
from yocc.compiler.stages.inputs import Inputs, require_readable
from yocc.compiler.stages.interface import Interfaces
from yocc.compiler.stages.prepare import Opened, make_plan
from yocc.compiler.stages.remarks import input_remarks
from yocc.compiler.stages.subject import Source, Subject, calibration_inputs, examine
from yocc.options import CompileOptions, FeedingKeywords, flag_of
from yocc.runtime.backends.onnxruntime import cores
from yocc.runtime.data.feeds import is_array_file
from yocc.runtime.measuring.bench import describe_machine

BUDGET = "2m"
MOST_JUDGED = 16
"""Samples on which a lever is compared with the original."""
_FEWEST_PICTURES = 8
_SHARE = 0.4
"""Of the time that is left, which one lever should take, by fewer samples where it would take more."""
_FIXED_SECONDS = 2.0
"""Of a lever, for what does not depend on the network: simplifying, writing and checking its file."""
_USUAL_PARAMETERS = 2e6
_RUNS_TO_TIME = 40
_SLOWEST, _FASTEST = 4.0, 0.3
"""Bounds of how far seconds that were foreseen are corrected by those that passed."""


class AdviseKeywords(FeedingKeywords, total=False):
    """Options of `advise` that mean what they mean for `yocc.compile`."""

    calibration: str | Path | None
    seed: int


def advise_model(
    source: Source,
    *,
    levers: str | Iterable[str] | None = None,
    budget: str = BUDGET,
    progress: Progress = silent,
    **keywords: Unpack[AdviseKeywords],
) -> Advice:
    """Measure what each lever alone would buy for a model on this machine and target.

    A lever is a compilation with one option. Each is compared with the original on pictures that were not calibrated
    with and timed against it in alternation, in the target's runtime and in this process. Nothing is written.

    Args:
        source: an ONNX file, its bytes, or a model in memory.
        levers: names of `yocc.api.levers.KINDS`, or text such as `int8,side`; None for all that can help.
        budget: time such as `90s` or `2m`; levers that do not fit are reported as out of time.
        progress: shows the levers.
        **keywords: `target`, `calibration` and others, as for `yocc.compile`. `count` is the number of samples each
            lever is calibrated with, at most 16 by default.

    Returns:
        A report for each lever, in the order of the table, and the lever that follows from the figures.

    Raises:
        OptionError: an unknown lever, no duration, or options that do not fit the model.
        ModelError: the model is broken, unsafe or of a kind yocc cannot read.
        CalibrationError: pictures are missing or unusable.
        BackendUnavailable: the target's packages are missing.
    """
    kinds, deadline = read_kinds(levers), Deadline(read_duration(budget))
    options = CompileOptions.of(**keywords)
    plan = make_plan(options)
    case = _open(source, dict(keywords), options, progress)
    chosen = choose_levers(kinds, case.graph, case.subject, plan.target, asked=levers is not None)
    with yardstick(case) as against:
        runs = _run(chosen, case, against, deadline, progress)
    return _advice(case, against, [runs[lever.options] for lever in chosen], time.monotonic() - deadline.started)


def _open(source: Source, keywords: dict[str, Any], options: CompileOptions, progress: Progress) -> Case:
    """Load and examine the model and read its samples, once for all levers."""
    data, started = options.data, time.perf_counter()
    graph = load(source)
    check_finite(graph)
    subject = examine(graph, source, data.input_shapes, make_plan(options).stated)
    inputs = _inputs(subject, options)
    require_readable(inputs, progress)
    arrays = data.calibration is not None and is_array_file(data.calibration)
    opened = Opened(source, Interfaces(subject, subject, subject), inputs, started)
    return Case(graph, opened, keywords, options, given_arrays=arrays)


def _inputs(subject: Subject, options: CompileOptions) -> Inputs | None:
    """Samples to calibrate with, and others to compare on."""
    data = options.data
    count = MOST_PICTURES if data.count is None else data.count
    inputs = calibration_inputs(subject, subject, data.calibration, count, data.seed)
    if inputs is not None and data.count is None and len(inputs.measuring) < MOST_JUDGED and inputs.held_out:
        # Half of a few pictures each.
        half = (len(inputs.calibration) + len(inputs.measuring)) // 2
        inputs = calibration_inputs(subject, subject, data.calibration, min(half, MOST_PICTURES), data.seed)
    if inputs is None:
        return None
    return replace(inputs, measuring=inputs.measuring.spread(MOST_JUDGED))


@dataclass
class _Pace:
    """How long levers take, corrected by how long those before took.

    Attributes:
        run: seconds of one run of the original.
        parameters: of the original.
        foreseen: seconds of the levers so far, before correction.
        passed: seconds they took.
    """

    run: float
    parameters: int
    foreseen: list[float] = field(default_factory=list)
    passed: list[float] = field(default_factory=list)

    def of(self, lever: Lever, pictures: int, *, corrected: bool = True) -> float:
        """Seconds that a lever is likely to take."""
        runs = _RUNS_TO_TIME + lever.runs * pictures
        seconds = _FIXED_SECONDS + runs * self.run + lever.seconds * self.parameters / _USUAL_PARAMETERS
        if not corrected or not self.foreseen:
            return seconds
        return seconds * min(_SLOWEST, max(_FASTEST, sum(self.passed) / sum(self.foreseen)))

    def add(self, lever: Lever, pictures: int, seconds: float) -> None:
        """Take in what a lever took."""
        self.foreseen.append(self.of(lever, pictures, corrected=False))
        self.passed.append(seconds)


def _run(
    levers: Sequence[Lever], case: Case, against: Yardstick, deadline: Deadline, progress: Progress
) -> dict[str, LeverRun]:
    """Measure the levers that fit, the most telling first; by their options."""
    pace, ranked = _Pace(against.seconds, case.subject.facts.parameters), SharedMemo()
    done = {
        lever.options: LeverRun(LeverReport(lever.kind, lever.options, "left out", (lever.left_out,)))
        for lever in levers
        if lever.left_out
    }
    queue = sorted((lever for lever in levers if not lever.left_out), key=lambda lever: lever.rank)
    for lever in progress(queue, "measuring levers", len(queue)):
        left = deadline.left()
        pictures = _pictures(lever, case, pace, left)
        needed = pace.of(lever, pictures)
        if needed > left:
            remark = (
                f"Not measured: out of time, with {left:.0f} s left of about {needed:.0f} s needed; give a longer "
                "--budget."
            )
            done[lever.options] = LeverRun(LeverReport(lever.kind, lever.options, "out of time", (remark,)))
            continue
        done[lever.options] = measure_lever(lever, case, against, Limits(pictures, left, ranked))
        pace.add(lever, pictures, done[lever.options].report.seconds)
    return done


def _pictures(lever: Lever, case: Case, pace: _Pace, left: float) -> int:
    """Samples to calibrate a lever with: what the user said, or as many as fit in a share of the time left."""
    inputs = case.opened.inputs
    if inputs is None or not lever.pictures:
        return 0
    if case.options.data.count is not None:
        return len(inputs.calibration)
    most = min(lever.pictures, len(inputs.calibration))
    fitting = (count for count in range(most, 0, -1) if pace.of(lever, count) <= _SHARE * left)
    return max(min(most, _FEWEST_PICTURES), next(fitting, 0))


def _advice(case: Case, against: Yardstick, runs: Sequence[LeverRun], seconds: float) -> Advice:
    """Everything that is known, and what follows."""
    subject, options, inputs = case.subject, case.options, case.opened.inputs
    reports = tuple(run.report for run in runs)
    facts, times = subject.facts, [run.timing.baseline.median for run in runs if run.timing is not None]
    original = OriginalFacts(facts.parameters, facts.macs, facts.bytes, round(median(times), 3) if times else None)
    found = conclude(original, reports, lambda text: _command(case, text))
    compared = next((run.facts for run in runs if run.facts is not None), None)
    fed = subject.description if inputs is not None and inputs.measuring.are_pictures else None
    return Advice(
        model=str(case.opened.source) if isinstance(case.opened.source, str | Path) else "",
        target=options.target.target,
        target_options=dict(options.target.options),
        threads=options.measure.threads or cores(),
        machine=describe_machine(),
        detector="" if subject.profile is None else subject.profile.family,
        input="" if fed is None else fed.text,
        data="" if inputs is None else inputs.measuring.description,
        samples=0 if compared is None else compared.samples,
        held_out=inputs is not None and inputs.held_out,
        original=original,
        levers=reports,
        rule=found.rule,
        recommended=found.recommended,
        worth_scoring=found.worth_scoring,
        warnings=tuple(_warnings(case, against, [run.facts for run in runs if run.facts is not None])),
        seconds=round(seconds, 3),
    )


def _warnings(case: Case, against: Yardstick, facts: Sequence[Any]) -> Iterator[str]:
    """What the user should read, the gravest first."""
    subject, inputs = case.subject, case.opened.inputs
    yield from (text for text in (against.uncompared, against.untimed) if text)
    if inputs is not None:
        fed = subject.description if inputs.measuring.are_pictures else None
        yield from (remark.text for remark in input_remarks(fed, subject.description))
        if inputs.measuring.synthetic:
            yield (
                "Calibrated and compared on synthetic pictures, as none were given: fidelity says little; give real "
                "ones with --calib."
            )
        elif not inputs.held_out:
            yield (
                f"Compared on the {len(inputs.calibration)} samples that were calibrated with, as there are few: "
                "fidelity looks better than it is; give 32 or more with --calib."
            )
    yield from subject.problems
    if subject.profile is None:
        yield (
            "The model is no detector of a known layout: fidelity is the signal to noise of the output that differs "
            "most, in decibels."
        )
    elif any(each.confident is not None and not each.confident[0] for each in facts):
        yield "The original finds nothing in these pictures, so that fidelity says little; give others with --calib."


def _command(case: Case, lever: str) -> str:
    """The compilation with a lever, as typed in a shell."""
    source, keywords = case.opened.source, case.keywords
    words = [str(source) if isinstance(source, str | Path) else "MODEL.onnx", *shlex.split(lever)]
    for name, default in (("target", "onnxruntime"), ("calibration", None), ("seed", 0), ("threads", None)):
        value = keywords.get(name)
        if value not in (None, default):
            words += [flag_of(name), str(value)]
    for name in ("options", "input_shapes"):
        for key, value in (keywords.get(name) or {}).items():
            said = value if isinstance(value, str) else ",".join(map(str, value))
            words += [flag_of(name), f"{key}={said}"]
    for name in ("preprocess", "input_color", "input_scale", "input_mean", "input_std", "input_fit", "input_pad"):
        value = keywords.get(name)
        if value is not None:
            said = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            words += [flag_of(name), said]
    return f"yocc compile {shlex.join([*words, '-o', 'out/'])}"
