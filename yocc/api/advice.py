"""What each lever alone would buy, as facts, and which one follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from yocc.runtime.measuring.bench import Machine

Status = Literal["measured", "failed", "out of time", "left out"]
CLOSE = 0.9
"""Fidelity of a detector from which a lever is recommended."""
CLOSE_SNR = 20.0
"""Decibels of the worst output from which a lever is recommended for a network that is no known detector."""
DOUBTFUL = 0.5
"""Fidelity below which a lever is not even named as worth scoring on labels."""
FASTER = 1.1
"""Speedup from which a lever counts as faster: less may be noise in few rounds."""
SMALLER = 0.95
"""Share of the original's file size up to which a lever counts as smaller."""
SCHEMA = 1
"""Version of the JSON form of `Advice`."""


@dataclass(frozen=True)
class OriginalFacts:
    """The model as it came in.

    Attributes:
        parameters: number of weights.
        macs: multiply-accumulates of one run.
        bytes: size of its files.
        latency_ms: median of one run in the target's runtime; None where it was not timed.
    """

    parameters: int
    macs: int
    bytes: int
    latency_ms: float | None = None


@dataclass(frozen=True)
class LeverReport:
    """One lever alone. What was not measured is None.

    Attributes:
        kind: name of the lever, as in `--levers`.
        options: as typed after `yocc compile MODEL`; empty for a compilation without options.
        status: `measured`; `failed` while it was compiled or run; `out of time`; `left out` as it cannot help here.
        remarks: sentences: why it is not measured, how it was measured, what is conspicuous.
        parameters: of the compiled model.
        macs: of one run of the compiled model.
        bytes: of its files.
        latency_ms: median of one run in the target's runtime.
        speedup: median over the rounds of the original's time by the lever's; above 1 it is faster.
        fidelity: mAP50-95 with the original's own confident detections as truth, 0 to 1; detectors only.
        snr_db: signal to noise of the output that differs most, in decibels; infinite where none differs.
        confident: detections with a confidence of at least 0.25 of the original and of the compiled model.
        pictures: samples it was calibrated with; 0 where nothing was looked at.
        seconds: what compiling and measuring took.
    """

    kind: str
    options: str
    status: Status
    remarks: tuple[str, ...] = ()
    parameters: int | None = None
    macs: int | None = None
    bytes: int | None = None
    latency_ms: float | None = None
    speedup: float | None = None
    fidelity: float | None = None
    snr_db: float | None = None
    confident: tuple[int, int] | None = None
    pictures: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Recommendation:
    """A lever that follows from the figures.

    Attributes:
        options: of the lever.
        command: to type.
        reason: the figures it follows from, in a sentence.
    """

    options: str
    command: str
    reason: str


@dataclass(frozen=True)
class Advice:
    """What each lever alone would buy on this machine and target.

    Attributes:
        model: path of the original; empty for a model in memory.
        target: name of the backend.
        target_options: of the target.
        threads: threads that models ran with.
        machine: where it was measured.
        detector: family of the detector; empty for other networks.
        input: how pictures were fed, in words; empty where none were.
        data: what the models were compared on.
        samples: how many samples.
        held_out: whether calibration saw none of them.
        original: the model as it came in.
        levers: a report for each, in the order of the table.
        rule: how the recommendation follows, in a sentence.
        recommended: the lever that follows by the rule; None where none does.
        worth_scoring: a faster one whose fidelity is too low for the rule; None where there is none.
        warnings: what the user should read.
        seconds: what all of it took.
        schema: version of the JSON form.
    """

    model: str
    target: str
    target_options: Mapping[str, str]
    threads: int
    machine: Machine
    detector: str
    input: str
    data: str
    samples: int
    held_out: bool
    original: OriginalFacts
    levers: tuple[LeverReport, ...]
    rule: str = ""
    recommended: Recommendation | None = None
    worth_scoring: Recommendation | None = None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    schema: int = field(default=SCHEMA)


@dataclass(frozen=True)
class Conclusion:
    """What follows from the reports.

    Attributes:
        rule: how, in a sentence.
        recommended: the lever that follows; None where none does.
        worth_scoring: a faster one whose fidelity is too low for the rule.
    """

    rule: str
    recommended: Recommendation | None = None
    worth_scoring: Recommendation | None = None


def conclude(original: OriginalFacts, reports: Sequence[LeverReport], command: Callable[[str], str]) -> Conclusion:
    """Choose the fastest lever that is close to the original, or the smallest where none is faster.

    Args:
        original: what the levers are compared with.
        reports: of the levers.
        command: makes the command to type from the options of a lever.
    """
    compared = [each for each in reports if each.fidelity is not None or each.snr_db is not None]
    if not compared:
        return Conclusion("Nothing is recommended: no lever could be compared with the original.")
    detector = any(each.fidelity is not None for each in compared)
    bound = f"a fidelity of at least {CLOSE}" if detector else f"a worst output of at least {CLOSE_SNR:g} dB"
    close = [each for each in compared if _is_close(each)]
    quick = [each for each in close if (each.speedup or 0.0) >= FASTER]
    small = [each for each in close if each.bytes is not None and each.bytes <= SMALLER * original.bytes]
    chosen = None
    if quick:
        rule = f"Recommended is the fastest lever with {bound}."
        chosen = max(quick, key=lambda each: each.speedup or 0.0)
    elif small:
        why = "Nothing was timed" if original.latency_ms is None else f"No lever with {bound} is faster"
        rule = f"{why}; recommended is the smallest file with {bound}."
        chosen = min(small, key=lambda each: each.bytes or 0)
    else:
        rule = f"No lever has {bound}." if not close else f"No lever with {bound} is faster or smaller."
    least = FASTER if chosen is None else max(FASTER, chosen.speedup or 0.0)
    doubtful = [
        each for each in compared if (each.fidelity or 0.0) >= DOUBTFUL and each not in close
        if (each.speedup or 0.0) > least
    ]  # fmt: skip
    further = max(doubtful, key=lambda each: each.speedup or 0.0) if doubtful else None
    return Conclusion(
        rule, *(None if each is None else _recommend(each, original, command) for each in (chosen, further))
    )


def _is_close(report: LeverReport) -> bool:
    if report.fidelity is not None:
        return report.fidelity >= CLOSE
    return report.snr_db is not None and report.snr_db >= CLOSE_SNR


def _recommend(report: LeverReport, original: OriginalFacts, command: Callable[[str], str]) -> Recommendation:
    return Recommendation(report.options, command(report.options), ", ".join(_figures(report, original)))


def _figures(report: LeverReport, original: OriginalFacts) -> list[str]:
    found = []
    if report.speedup is not None:
        found.append(f"{report.speedup:.2f} times as fast")
    if report.bytes is not None and original.bytes:
        found.append(f"{report.bytes / original.bytes:.2f} of the size")
    if report.fidelity is not None:
        found.append(f"fidelity {report.fidelity:.3f}")
    elif report.snr_db is not None:
        found.append("outputs equal" if math.isinf(report.snr_db) else f"worst output {report.snr_db:.1f} dB")
    return found
