"""Measurements as lines and tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yocc.api.judging import Speed
from yocc.runtime.backends.backend import Check
from yocc.runtime.detection.metrics import DetectionScores
from yocc.runtime.measuring.bench import Latency, Timing
from yocc.runtime.measuring.fidelity import FidelityFacts

Table = tuple[str, list[str], list[list[str]]]
"""Title, columns (`#` before a column of numbers), rows."""


def check_tables(checks: Sequence[Check]) -> Iterator[Table]:
    """What was made sure of."""
    words = {True: "passed", False: "FAILED", None: "not run"}
    rows = [[check.name, words[check.passed], check.message] for check in checks]
    yield "Checks", ["check", "result", "found"], rows


def fidelity_tables(facts: FidelityFacts) -> Iterator[Table]:
    """Output by output, then detections."""
    rows = [
        [
            f"{each.output} {each.label}".strip(),
            f"{each.max_abs:.4g}",
            _optional(each.relative, ".2e"),
            _optional(each.cosine, ".6f"),
            "equal" if each.snr_db is None else f"{each.snr_db:.1f}",
            "yes" if each.finite else "NO",
        ]
        for each in facts.outputs
    ]
    title = f"Difference from the original on {facts.samples} of {facts.data}"
    yield title, ["output", "#max abs", "#of range", "#cosine", "#SNR dB", "finite"], rows
    if facts.detection is not None and facts.confident is not None:
        before, after = facts.confident
        rows = [
            ["mAP50-95 against the original", f"{facts.detection.map50_95:.4f}"],
            ["mAP50 against the original", f"{facts.detection.map50:.4f}"],
            ["confident detections, original", str(before)],
            ["confident detections, compiled", str(after)],
        ]
        yield "Detections", ["", "#"], rows
    for remark in (facts.collapsed, facts.reason):
        if remark:
            yield "", [remark], []


def score_tables(scores: DetectionScores) -> Iterator[Table]:
    """mAP, then class by class."""
    rows = [
        ["mAP50-95", f"{scores.map50_95:.4f}"],
        ["mAP50", f"{scores.map50:.4f}"],
        ["pictures", str(scores.pictures)],
        ["objects", str(scores.objects)],
    ]
    yield "Scores", ["", "#"], rows
    yield "Classes", ["class", "#mAP50-95"], [[name, f"{value:.4f}"] for name, value in scores.per_class.items()]


def speed_tables(speed: Speed) -> Iterator[Table]:
    """The original's latencies in one or two runtimes beside those of what was compiled."""
    timings = [(name, timing) for name, timing in _timings(speed) if timing is not None]
    for runtime, timing in timings:
        rows = [
            [f"original in {runtime}{_precision(timing.baseline)}", *_latency(timing.baseline), "", ""],
            [
                f"compiled in {speed.target}{_precision(timing.candidate)}",
                *_latency(timing.candidate),
                f"{timing.speedup:.2f}",
                f"{timing.paired_speedup:.2f}",
            ],
        ]
        machine = timing.machine
        title = f"{timing.rounds} rounds on {machine.processor}, {machine.cores} cores"
        yield title, ["", "#median ms", "#quartiles", "#speedup", "#paired speedup"], rows
    if speed.remark:
        yield "", [speed.remark], []


def _precision(latency: Latency) -> str:
    return "" if latency.precision == "f32" else f", {latency.precision}"


def _timings(speed: Speed) -> Iterator[tuple[str, Timing | None]]:
    yield speed.target, speed.same_runtime
    yield "onnxruntime", speed.onnxruntime


def _latency(latency: Latency) -> list[str]:
    return [f"{latency.median:.2f}", f"{latency.quartiles[0]:.2f} to {latency.quartiles[1]:.2f}"]


def target_tables(targets: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    """Targets, then their options."""
    rows = [[str(one["name"]), one["summary"], one["distribution"], _state(one)] for one in targets]
    yield "Targets", ["target", "", "from", "state"], rows
    options = [[str(one["name"]), name, text] for one in targets for name, text in one["options"].items()]
    yield "Options", ["target", "option", ""], options


def _state(target: Mapping[str, Any]) -> str:
    """What can be done for a target on this machine."""
    if target["problem"]:
        return str(target["problem"])
    return f"writes models, runs them in onnxruntime: {target['substitute']}" if target["substitute"] else "ready"


def pass_tables(passes: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    """Passes and their options with defaults."""
    rows = [
        [
            str(one["name"]),
            one["summary"] or one["problem"],
            one["distribution"],
            " ".join(f"{name}={_option(value)}" for name, value in one["options"].items()),
        ]
        for one in passes
    ]
    yield "Passes", ["pass", "", "from", "options"], rows


def family_tables(families: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    """Families of detectors and where they come from."""
    rows = [[str(one["name"]), one["summary"] or one["problem"], one["distribution"]] for one in families]
    yield "Families", ["family", "", "from"], rows


def _optional(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _option(value: object) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
