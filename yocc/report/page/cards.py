"""The headline: size, work, speed and accuracy before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from yocc.report.page import numbers

Mood = Literal["good", "bad", "alarm", "same"]
_NOTICEABLE = 0.005
"""Changes of less than half a percent, or of less than 0.005 mAP, are neither good nor bad."""


@dataclass(frozen=True)
class Card:
    """One headline figure.

    Attributes:
        title: what it is.
        after: its value for the compiled model.
        before: what it was, or would be were nothing lost; empty where there is none.
        change: from one to the other.
        mood: whether that is good.
        remark: what it was measured on.
        left: length of the bar for the compiled model, the original's being 1; None for no bar.
    """

    title: str
    after: str
    before: str
    change: str
    mood: Mood
    remark: str = ""
    left: float | None = None


def cards(content: Mapping[str, Any]) -> list[Card]:
    """All figures a report has."""
    before, after = content["before"], content["after"]
    found = [
        _less_is_better("Size on disk", before["bytes"], after["bytes"], numbers.size),
        _less_is_better("Parameters", before["parameters"], after["parameters"], numbers.amount),
        _less_is_better("Multiply-accumulates", before["macs"], after["macs"], numbers.amount, _resizing(content)),
    ]
    return [*found, *_latency(content), *_accuracy(content), *_fidelity(content)]


def alarms(content: Mapping[str, Any]) -> list[str]:
    """Why the compiled model is of little use; empty when it is sound, or the report is older and does not say."""
    collapsed = (content.get("fidelity") or {}).get("collapsed")
    found = content.get("alarms") or ([collapsed] if collapsed else [])
    return [str(text) for text in found]


def computes_wrong(content: Mapping[str, Any]) -> bool:
    """Whether an alarm is about what the compiled model computes; older reports have no others."""
    return bool(alarms(content)) and bool(content.get("wrong", True))


def _less_is_better(title: str, before: float, after: float, form: Callable[[Any], str], remark: str = "") -> Card:
    relative = after / before - 1 if before else 0.0
    mood: Mood = "same" if abs(relative) < _NOTICEABLE else "good" if relative < 0 else "bad"
    left = min(1.0, after / before) if before else None
    return Card(title, form(after), f"from {form(before)}", numbers.change(before, after), mood, remark, left)


def _resizing(content: Mapping[str, Any]) -> str:
    """What the input size was and is; empty where it is the same."""
    resized = content.get("resized")
    if resized is None:
        return ""
    before, after = ("x".join(map(str, resized[key])) for key in ("size_before", "size_after"))
    batch = resized["after"][0]
    return f"for an input of {after}, from {before}" + ("" if batch == resized["before"][0] else f", batch {batch}")


def _latency(content: Mapping[str, Any]) -> Iterator[Card]:
    timing = content["measured"].get("latency_ms")
    if timing is None:
        return
    machine = timing["machine"]
    threads = timing.get("threads", machine["cores"])
    remark = (
        f"median of {timing['rounds']} on {machine['processor']}, {threads} thread{'' if threads == 1 else 's'}; "
        f"{timing['speedup']:.2f} times as fast"
    )
    types = numbers.float_types(timing)
    remark += f"; {types}" if types else ""
    yield _less_is_better(
        "Latency", timing["baseline"]["median"], timing["candidate"]["median"], numbers.milliseconds, remark
    )


def _accuracy(content: Mapping[str, Any]) -> Iterator[Card]:
    accuracy = content.get("accuracy")
    if accuracy is None:
        return
    before, after = (accuracy[side]["map50_95"] for side in ("original", "compiled"))
    lost = after - before
    mood: Mood = "same" if abs(lost) < _NOTICEABLE else "good" if lost > 0 else "bad"
    if computes_wrong(content):
        mood = "alarm"
    yield Card(
        "Accuracy, mAP50-95",
        f"{after:.3f}",
        f"from {before:.3f}",
        numbers.difference(before, after),
        mood,
        f"on {accuracy['original']['pictures']} labeled pictures of {accuracy['data']}",
        min(1.0, after / before) if before else None,
    )


def _fidelity(content: Mapping[str, Any]) -> Iterator[Card]:
    facts = content.get("fidelity")
    if facts is None:
        return
    remark = f"on {facts['samples']} of {facts['data']}"
    scores = facts["detection"]
    if scores is not None:
        before, after = facts["confident"]
        mood: Mood = "alarm" if computes_wrong(content) else "same"
        found = f"with the original, {remark}; {after} confident detections, the original has {before}"
        yield Card(
            "Agreement, mAP50-95",
            f"{scores['map50_95']:.3f}",
            "of 1.000",
            "",
            mood,
            found,
            scores["map50_95"],
        )
        return
    if not facts["outputs"]:
        return
    noises = [numbers.real(each["snr_db"]) for each in facts["outputs"] if each["snr_db"] is not None]
    worst = "equal" if not noises else f"{min(noises):.1f}{numbers.SPACE}dB".replace("-", numbers.MINUS)
    finite = all(each.get("finite", True) for each in facts["outputs"])
    text = worst if finite else "not finite"
    yield Card("Outputs, signal to noise", text, "", "", "alarm" if computes_wrong(content) else "same", remark)
