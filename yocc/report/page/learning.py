"""How far a training came: the losses on pictures held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yocc.report.page.charts import Chart, Place, bar_chart
from yocc.report.page.details import details_of, has
from yocc.report.page.numbers import plain_number, real, seconds

ANCHOR = "learning"


@dataclass(frozen=True)
class Learning:
    """A training that a pass made.

    Attributes:
        title: the pass.
        text: what it learned from and how much it gained.
        chart: losses from look to look.
    """

    title: str
    text: str
    chart: Chart


def learning(content: Mapping[str, Any]) -> tuple[Learning, ...]:
    """One for each pass that trained."""
    found: list[Learning] = []
    times: Counter[str] = Counter()
    for step in content["passes"]:
        details = details_of(step)
        for figures in (details, details.get("learned")):
            if not (isinstance(figures, Mapping) and has(figures, ("curve", "pictures", "steps"))):
                continue
            looks = _looks(figures["curve"])
            if looks:
                name = step["spec"].partition("{")[0]
                times[name] += 1
                title = name if times[name] == 1 else f"{name}, time {times[name]}"
                found.append(_learning(title, f"learning-{len(found)}", figures, looks))
    return tuple(found)


def _looks(curve: Any) -> list[Mapping[str, Any]]:
    """Those with a loss: a training that goes astray has none."""
    looks = curve if isinstance(curve, list) else []
    return [
        {**look, "loss": real(look["loss"])}
        for look in looks
        if has(look, ("step", "seconds", "loss")) and look["loss"] is not None
    ]


def _learning(title: str, place: str, figures: Mapping[str, Any], looks: list[Mapping[str, Any]]) -> Learning:
    places = [
        Place(
            0.0, look["loss"], ANCHOR, f"step {look['step']}, {seconds(look['seconds'])}: {plain_number(look['loss'])}"
        )
        for look in looks
    ]
    first, best = looks[0]["loss"], min(look["loss"] for look in looks)
    text = (
        f"{figures['steps']} batches from {figures['pictures']} pictures in {seconds(looks[-1]['seconds'])}; "
        f"loss on pictures held out {plain_number(first)} before, {plain_number(best)} after."
    )
    return Learning(title, text, bar_chart(place, f"Losses while {title} learned", places))
