"""`search.html`: one document that needs no other file and no network."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from yocc import __version__
from yocc.report.page.numbers import milliseconds, size
from yocc.report.page.templating import template
from yocc.searching.front import Front, Point, shortfall
from yocc.searching.plots import HEIGHT, WIDTH, front_plot, history_plot, kind_of, parallel_plot

_FIRST = 20
"""Rows of the table of trials that show without opening it."""


def render_search(front: Front) -> str:
    """The page of a result; the same result gives the same text."""
    return str(template("search.html", "yocc.searching").render(**_view(front)))


def _view(front: Front) -> dict[str, Any]:
    """What the template names."""
    chosen = front.recommended if front.recommended is not None else front.nearest
    best = None if chosen is None else front.point(chosen)
    return {
        "front": front,
        "version": __version__,
        "name": PurePath(front.model).name,
        "best": best,
        "cards": [] if best is None else _cards(best),
        "command": "" if best is None else front.command(best),
        "limits": front.limits.text(),
        "shortfall": "" if front.recommended is not None else shortfall(front),
        "plots": [plot for plot in (front_plot(front, describe), history_plot(front, describe)) if plot],
        "parallel": parallel_plot(front, describe),
        "importance": list(front.importance.items()),
        "rows": [(point, kind_of(point, front)) for point in front.points],
        "stopped": sum(point.status == "stopped" for point in front.points),
        "first": _FIRST,
        "width": WIDTH,
        "height": HEIGHT,
        "describe": describe,
        "milliseconds": milliseconds,
    }


def describe(point: Point) -> str:
    """A trial in one line."""
    found = point.measured
    said = [f"trial {point.trial}"]
    if found.latency is not None:
        said.append(f"{found.latency:.3f} of the time")
    if found.loss is not None:
        said.append(f"loss {found.loss:.4f}")
    if found.size is not None:
        said.append(f"{found.size:.3f} of the size")
    if found.memory is not None:
        said.append(f"{found.memory:.3f} of the memory")
    return f"{', '.join(said)}: {point.options or 'no option'}"


def _cards(best: Point) -> list[tuple[str, str, str]]:
    """Title, value and remark of the figures of the point to take."""
    found = best.measured
    cards = []
    if found.latency is not None:
        cards.append(("Time", f"{found.latency:.2f}", "of the original's"))
    if found.latency_ms is not None:
        cards.append(("Median run", milliseconds(found.latency_ms), "in the target's runtime"))
    if found.loss is not None:
        cards.append(("Loss", f"{found.loss:.4f}", "0 is as the original"))
    if found.bytes is not None:
        cards.append(("File", size(found.bytes), "" if found.size is None else f"{found.size:.2f} of the original's"))
    if found.memory_bytes is not None:
        share = "" if found.memory is None else f"{found.memory:.2f} of the original's"
        cards.append(("Memory", size(found.memory_bytes), share))
    return cards
