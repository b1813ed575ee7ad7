"""What a share of parameters and MACs, or of the time, is foreseen to cost by channels and by low ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yocc.report.page.charts import Chart, Place, bar_chart
from yocc.report.page.details import details_of, has
from yocc.report.page.numbers import plain_number, real

ANCHOR = "prices"


@dataclass(frozen=True)
class Prices:
    """The choice between channels and ranks.

    Attributes:
        text: what was chosen, and what it and the others are foreseen to lose.
        chart: losses foreseen for smaller and larger shares.
    """

    text: str
    chart: Chart


def prices(content: Mapping[str, Any]) -> Prices | None:
    """Of the pass that chose; None where none did, or nothing could be foreseen."""
    for step in content["passes"]:
        details = details_of(step)
        if has(details, ("moves", "foreseen", "prices")) and isinstance(details["prices"], list):
            of = " of the time" if details.get("budget") == "latency" else ""
            places = [
                Place(
                    real(each.get("channels") or 0.0),
                    real(each.get("ranks") or 0.0),
                    ANCHOR,
                    _text(each, of),
                    each["share"] == details.get("share"),
                )
                for each in details["prices"]
                if has(each, ("share",))
            ]
            if places:
                said = [note["message"] for note in step["notes"] if note["level"] == "choice"]
                title = f"Loss foreseen by share{of} removed"
                return Prices(said[-1] if said else "", bar_chart(ANCHOR, title, places))
    return None


def _text(price: Mapping[str, Any], of: str) -> str:
    parts = [
        f"{name} {plain_number(price[name])}" if price.get(name) is not None else f"{name} do not reach it"
        for name in ("channels", "ranks")
    ]
    return f"{price['share']:.0%}{of} removed: {', '.join(parts)}"
