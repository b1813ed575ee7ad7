"""What a compilation did, in a few rows: for the terminal and for the page of a CI job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yocc.report.columns import cell, declared_columns
from yocc.report.gates.gate import Outcome
from yocc.report.page.numbers import MINUS, SPACE, amount, change, float_types, milliseconds, size

_TYPED = str.maketrans({MINUS: "-", SPACE: " ", "±": "+"})
"""Typeset characters as they are typed."""


def typed(text: str) -> str:
    """Text in characters every terminal and log shows."""
    return text.translate(_TYPED)


@dataclass(frozen=True)
class Row:
    """One figure before and after, as people read it."""

    name: str
    before: str
    after: str
    change: str = ""

    @property
    def cells(self) -> list[str]:
        """The row of a table, in characters every terminal and log shows."""
        return [typed(cell) for cell in (self.name, self.before, self.after, self.change)]


def figures(content: Mapping[str, Any]) -> Iterator[Row]:
    """Sizes, work, latency and accuracy of both models.

    Args:
        content: of `report.json`.
    """
    before, after = content["before"], content["after"]
    resized = content.get("resized")
    if resized is not None:
        old, new = ("x".join(map(str, resized[key])) for key in ("size_before", "size_after"))
        batch = resized["after"][0]
        yield Row("input size", old, new, f"batch {batch}" if batch != resized["before"][0] else "")
    for name, key, form in (
        ("parameters", "parameters", amount),
        ("MACs", "macs", amount),
        ("file size", "bytes", size),
    ):
        yield Row(name, form(before[key]), form(after[key]), change(before[key], after[key]))
    timing = content["measured"].get("latency_ms")
    if timing is not None:
        first, second = timing["baseline"]["median"], timing["candidate"]["median"]
        yield Row("latency", milliseconds(first), milliseconds(second), f"{timing['speedup']:.2f}x as fast")
    if content["accuracy"] is not None:
        original, compiled = content["accuracy"]["original"], content["accuracy"]["compiled"]
        for name, key in (("mAP50-95", "map50_95"), ("mAP50", "map50")):
            gained = compiled[key] - original[key]
            yield Row(name, f"{original[key]:.4f}", f"{compiled[key]:.4f}", f"{gained:+.4f}")
    if content["fidelity"] is not None:
        yield from _fidelity(content["fidelity"])


def choices(content: Mapping[str, Any]) -> Iterator[str]:
    """What passes chose between, as they tell it."""
    yield from (note["message"] for step in content["passes"] for note in step["notes"] if note["level"] == "choice")


def sources(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the figures were measured with, by kind."""
    timing = content["measured"].get("latency_ms")
    if timing is not None:
        machine = timing["machine"]
        text = f"medians of {timing['rounds']} rounds, {machine['processor']}, {machine['cores']} cores"
        types = float_types(timing)
        yield "latency", f"{text}; {types}" if types else text
    if content["accuracy"] is not None:
        pictures = content["accuracy"]["original"]["pictures"]
        yield "accuracy", f"{pictures} labeled pictures of {content['accuracy']['data']}"
    if content["fidelity"] is not None:
        yield "fidelity", f"to the original, {content['fidelity']['samples']} of {content['fidelity']['data']}"


def gate_rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """A row for each gate: figure, wanted, got, and whether it passed."""
    return [[each.metric, each.wanted, each.shown, "yes" if each.passed else "NO"] for each in outcomes]


def layer_tables(content: Mapping[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """What passes say of each layer that is left, by the columns they declare; nothing where they say nothing."""
    declared = declared_columns(content)
    if not declared:
        return
    columns = ["layer", "op", *(f"#{column['title']}" for _, column in declared)]
    yield (
        "Layers",
        columns,
        [
            [layer["name"], layer["op"], *(typed(cell(layer, column)) for column in declared)]
            for layer in content["layers"]
            if layer["after"] is not None
        ],
    )


GATE_COLUMNS = ["gate", "#wanted", "#got", "passed"]
FIGURE_COLUMNS = ["", "#before", "#after", "#change"]


def _fidelity(facts: Mapping[str, Any]) -> Iterator[Row]:
    if facts["detection"] is not None:
        before, after = facts["confident"]
        yield Row("fidelity, mAP50-95", "", f"{facts['detection']['map50_95']:.4f}")
        yield Row("confident detections", str(before), str(after), change(before, after))
        return
    for each in facts["outputs"]:
        noise = "equal" if each["snr_db"] is None else f"{float(each['snr_db']):.1f} dB"
        yield Row(f"fidelity, {each['output']} {each['label']}".rstrip(), "", noise)
