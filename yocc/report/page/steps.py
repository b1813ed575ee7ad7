"""Passes: how long each took, what it rewrote and what it had to say."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yocc.report.page.details import details_of
from yocc.report.page.numbers import milliseconds, seconds


@dataclass(frozen=True)
class Remark:
    """One thing a pass said, and of which nodes."""

    message: str
    warning: bool
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class StepRow:
    """A pass as the page shows it."""

    spec: str
    rewrites: int
    time: str
    bar: float
    remarks: tuple[Remark, ...]
    figures: tuple[tuple[str, str], ...]


def steps(content: Mapping[str, Any]) -> tuple[StepRow, ...]:
    """All passes in order."""
    times = [entry["seconds"] for entry in content["measured"].get("pass_seconds", ())]
    longest = max(times, default=0.0) or 1.0
    rows = []
    for number, step in enumerate(content["passes"]):
        taken = times[number] if number < len(times) else None
        rows.append(
            StepRow(
                step["spec"],
                step["rewrites"],
                "" if taken is None else seconds(taken),
                0.0 if taken is None else taken / longest,
                _remarks(step["notes"]),
                _figures(details_of(step)),
            )
        )
    return tuple(rows)


@dataclass(frozen=True)
class OperatorRow:
    """Time of one operator in both models, with bars relative to the longest."""

    name: str
    before: str
    after: str
    before_bar: float
    after_bar: float


def operators(content: Mapping[str, Any]) -> tuple[OperatorRow, ...]:
    """Where the time of a run goes, the operator that takes longest first; empty where the runtime does not tell."""
    times = content["measured"].get("operator_ms") or {"original": {}, "compiled": {}}
    before, after = times["original"], times["compiled"]
    names = sorted({*before, *after}, key=lambda name: (-max(before.get(name, 0.0), after.get(name, 0.0)), name))
    longest = max([*before.values(), *after.values()], default=0.0) or 1.0
    return tuple(
        OperatorRow(
            name,
            milliseconds(before[name]) if name in before else "",
            milliseconds(after[name]) if name in after else "",
            before.get(name, 0.0) / longest,
            after.get(name, 0.0) / longest,
        )
        for name in names
    )


def replay(content: Mapping[str, Any]) -> str:
    """The command that does the same again; of a report without one, apart from the pictures."""
    if content.get("command"):
        return shlex.join(content["command"])
    words = ["yocc", "compile", content["source"]["path"], "--target", content["target"]]
    for name, value in content["options"].items():
        words += ["-O", f"{name}={value}"]
    fed = content.get("input")
    if isinstance(fed, Mapping) and fed["origin"] == "given":
        words += ["--input-color", fed["color"], "--input-scale", repr(fed["scale"])]
        for name in ("mean", "std"):
            # One word, as numbers may be negative.
            words.append(f"--input-{name}={','.join(map(repr, fed[name]))}")
        for name in ("fit", "pad"):
            # Earlier reports do not have them.
            words += [f"--input-{name}", str(fed[name])] if name in fed else []
    words += ["--pipeline", content["pipeline"], "--seed", str(content["seed"])]
    return shlex.join(words)


def _remarks(notes: list[Mapping[str, Any]]) -> tuple[Remark, ...]:
    nodes: dict[tuple[str, bool], list[str]] = {}
    for note in notes:
        said = nodes.setdefault((note["message"], note["level"] == "warning"), [])
        if note["node"]:
            said.append(note["node"])
    return tuple(Remark(message, warning, tuple(names)) for (message, warning), names in nodes.items())


def _figures(details: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Figures that are one number or word."""
    return tuple(
        (name.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else str(value))
        for name, value in details.items()
        if isinstance(value, int | float | str) and not isinstance(value, bool) and value != ""
    )
