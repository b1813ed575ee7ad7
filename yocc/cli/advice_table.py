"""What levers buy, as people read it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from textwrap import wrap

import click

from yocc.api.advice import Advice, LeverReport
from yocc.cli.summary import typed
from yocc.cli.terminal import show_table
from yocc.report.page.numbers import change, milliseconds, size
from yocc.report.printable import printable

WIDTH = 100
"""Characters of the lines below the table."""
NO_OPTION = "(no option)"
_COLUMNS = ("lever", "#latency", "#speedup", "#file", "#parameters", "#MACs", "#fidelity", "#confident", "remark")


def show_advice(advice: Advice) -> None:
    """Print the table, the remarks it refers to, and what follows, on standard output."""
    remarks = _numbered(advice)
    rows = [_original(advice), *(_row(report, advice, remarks) for report in advice.levers)]
    timed = advice.original.latency_ms is not None
    columns = [place for place, name in enumerate(_COLUMNS) if timed or name not in ("#latency", "#speedup")]
    show_table("", [_COLUMNS[place] for place in columns], [[row[place] for place in columns] for row in rows])
    for text, number in remarks.items():
        _say(f"[{number}] {text}", " " * (len(str(number)) + 3))
    for text in _closing(advice):
        _say(text)
    labeled = "Faster, and worth scoring on labeled pictures with --eval"
    for label, choice in (("Recommended", advice.recommended), (labeled, advice.worth_scoring)):
        if choice is not None:
            _say(f"{label}: {choice.options or NO_OPTION} ({choice.reason}):")
            click.echo(printable(f"  {choice.command}"))  # in one line, to be copied


def _say(text: str, indent: str = "") -> None:
    for line in wrap(printable(text), WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False):
        click.echo(line)


def _numbered(advice: Advice) -> dict[str, int]:
    """Every remark once, with its number."""
    texts = dict.fromkeys(text for report in advice.levers for text in report.remarks)
    return {text: number for number, text in enumerate(texts, 1)}


def _original(advice: Advice) -> list[str]:
    original = advice.original
    latency = "" if original.latency_ms is None else milliseconds(original.latency_ms)
    found = next((str(each.confident[0]) for each in advice.levers if each.confident is not None), "")
    return [typed(cell) for cell in ("original", latency, "", size(original.bytes), "", "", "", found, "")]


def _row(report: LeverReport, advice: Advice, remarks: dict[str, int]) -> list[str]:
    original = advice.original
    numbers = " ".join(f"[{remarks[text]}]" for text in report.remarks)
    status = "" if report.status == "measured" else "not measured" if report.status == "left out" else report.status
    cells = (
        report.options or NO_OPTION,
        "" if report.latency_ms is None else milliseconds(report.latency_ms),
        "" if report.speedup is None else f"{report.speedup:.2f}x",
        "" if report.bytes is None else size(report.bytes),
        "" if report.parameters is None else change(original.parameters, report.parameters),
        "" if report.macs is None else change(original.macs, report.macs),
        _fidelity(report),
        "" if report.confident is None else str(report.confident[1]),
        f"{status} {numbers}".strip(),
    )
    return [typed(cell) for cell in cells]


def _fidelity(report: LeverReport) -> str:
    if report.fidelity is not None:
        return f"{report.fidelity:.3f}"
    if report.snr_db is None:
        return ""
    return "equal" if report.snr_db == math.inf else f"{report.snr_db:.1f} dB"


def _closing(advice: Advice) -> Iterator[str]:
    """What the figures were measured with, and the rule of the recommendation."""
    if advice.samples:
        yield f"Compared on {advice.samples} of {advice.data}. Confident: detections of at least 0.25."
    if advice.original.latency_ms is not None:
        where = f"{advice.machine.processor}, {advice.machine.cores} cores, {advice.threads} threads"
        yield f"Timed in alternation with the original in {advice.target} on {where}."
    yield advice.rule
