"""The front of a search, as people read it."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import wrap

import click

from yocc.cli.summary import typed
from yocc.cli.terminal import show_table
from yocc.report.page.numbers import milliseconds, size
from yocc.report.printable import printable
from yocc.searching.front import Front, Point

WIDTH = 80
NO_OPTION = "(no option)"
_COLUMNS = ("#trial", "#time", "#of original", "#loss", "#file", "#memory", "options")


def show_front(front: Front, folder: Path) -> None:
    """Print the points that nothing beats, and the one to take, on standard output."""
    rows = [_row(point, front) for point in front.front_points]
    show_table("", _COLUMNS if "memory" in front.objectives else _without_memory(_COLUMNS), rows, widest=WIDTH)
    stopped = sum(point.status == "stopped" for point in front.points)
    _say(f"{len(front.points)} trials, {stopped} of them ended early. Loss: {front.judged_on}.")
    if any(not point.feasible for point in front.front_points):
        _say(f"* exceeds the limits: {front.limits.text()}.")
    _say(front.rule)
    if front.recommended is not None:
        click.echo(printable(f"  {front.command(front.point(front.recommended))}"))  # in one line, to be copied
    _say(f"Results in {os.path.relpath(folder)}.")


def brief(point: Point) -> str:
    """A point in a few words."""
    found = point.measured
    said = [] if found.latency is None else [f"{found.latency:.2f} of the time"]
    said += [] if found.loss is None else [f"loss {found.loss:.3f}"]
    return f"trial {point.trial}, {', '.join(said)} ({point.options or 'no option'})"


def _row(point: Point, front: Front) -> list[str]:
    found = point.measured
    mark = "" if point.feasible or not front.limits.given else "*"
    cells = (
        f"{mark}{point.trial}",
        "" if found.latency_ms is None else milliseconds(found.latency_ms),
        "" if found.latency is None else f"{found.latency:.2f}",
        "" if found.loss is None else f"{found.loss:.3f}",
        "" if found.bytes is None else size(found.bytes),
        "" if found.memory_bytes is None else size(found.memory_bytes),
        point.options or NO_OPTION,
    )
    return [typed(cell) for cell in (cells if "memory" in front.objectives else _without_memory(cells))]


def _without_memory(cells: tuple[str, ...]) -> tuple[str, ...]:
    """A row where memory does not count."""
    return (*cells[:-2], cells[-1])


def _say(text: str) -> None:
    for line in wrap(printable(text), WIDTH, break_long_words=False, break_on_hyphens=False):
        click.echo(line)
