"""Geometry of the charts; the templates write it down as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

PLOT = 1000
"""Width that the places share, in pixels, while each is neither narrower nor wider than these."""
NARROWEST, WIDEST = 5.0, 40.0
HEIGHT = 150
TOP = 26
"""Room above the bars for the line that says what is pointed at."""
LEFT = 52
"""Room for the labels of the vertical axis."""


@dataclass(frozen=True)
class Tick:
    """A line across a chart."""

    y: float
    label: str


@dataclass(frozen=True)
class Bar:
    """One place on the horizontal axis.

    Attributes:
        x: its left edge.
        before: height of the bar behind, 0 for none.
        after: height of the bar in front.
        target: the element it leads to.
        text: what it says when pointed at.
        marked: whether it stands out.
    """

    x: float
    before: float
    after: float
    target: str
    text: str
    marked: bool = False


@dataclass(frozen=True)
class Chart:
    """Bars over a common axis.

    Attributes:
        name: used in ids.
        label: what a screen reader calls it.
        width: in pixels.
        height: in pixels.
        slot: width of one place.
        base: where the bars stand.
        ticks: lines across.
        bars: from left to right.
    """

    name: str
    label: str
    width: int
    height: int
    slot: float
    base: int
    ticks: tuple[Tick, ...]
    bars: tuple[Bar, ...]

    @property
    def has_marked(self) -> bool:
        """Whether any bar stands out."""
        return any(bar.marked for bar in self.bars)


@dataclass(frozen=True)
class Place:
    """What a bar stands for: values before and after, where it leads and what it says."""

    before: float
    after: float
    target: str
    text: str
    marked: bool = False


def bar_chart(name: str, label: str, places: Sequence[Place], form: str = "{:g}") -> Chart:
    """A chart of values that are not negative; those that are not finite have no bar, and only their text says so.

    Args:
        name: used in ids.
        label: what a screen reader calls it.
        places: from left to right, at least one.
        form: format of the axis labels.
    """
    places = [replace(place, before=_drawn(place.before), after=_drawn(place.after)) for place in places]
    highest = max(max(place.before, place.after) for place in places) or 1.0
    step = nice_step(highest)
    top = step * math.ceil(highest / step)
    scale = HEIGHT / top
    base = TOP + HEIGHT
    slot = round(min(WIDEST, max(NARROWEST, PLOT / len(places))), 2)
    ticks = tuple(
        Tick(round(base - value * scale, 1), form.format(value))
        for value in (step * number for number in range(round(top / step) + 1))
    )
    bars = tuple(
        Bar(
            round(LEFT + number * slot, 1),
            round(place.before * scale, 1),
            round(place.after * scale, 1),
            place.target,
            place.text,
            place.marked,
        )
        for number, place in enumerate(places)
    )
    return Chart(name, label, LEFT + max(PLOT, math.ceil(slot * len(places))) + 4, base + 6, slot, base, ticks, bars)


def _drawn(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def nice_step(highest: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides an axis into three to six parts."""
    power = 10.0 ** math.floor(math.log10(highest / 3))
    return next(step * power for step in (5, 2, 1) if highest / (step * power) >= 2.5)


@dataclass(frozen=True)
class Histogram:
    """Outlines of a small histogram, 96 by 24.

    Attributes:
        kept: path of the bins whose values have codes.
        clipped: path of those that are cut off.
        first: left edge of the range of the codes.
        last: right edge of it.
    """

    kept: str
    clipped: str
    first: float
    last: float


WIDTH, TALL = 96, 24


def histogram(counts: Sequence[int], low: float, high: float, quantized: Sequence[float]) -> Histogram:
    """Bins as tall as the logarithm of their counts: activations pile up at zero, and the tails are what is cut."""
    most = math.log1p(max(counts, default=0)) or 1.0
    width = WIDTH / max(1, len(counts))
    span = high - low
    paths = {True: "", False: ""}
    for number, count in enumerate(counts):
        if not count:
            continue
        middle = low + (number + 0.5) * span / len(counts)
        inside = span <= 0 or quantized[0] - span / len(counts) <= middle <= quantized[1] + span / len(counts)
        tall = max(1.0, TALL * math.log1p(count) / most)
        paths[inside] += f"M{number * width:g},{TALL}v{-tall:.1f}h{width - 0.5:g}v{tall:.1f}z"
    first, last = ((bound - low) / span * WIDTH if span > 0 else 0.0 for bound in quantized)
    return Histogram(paths[True], paths[False], round(max(0.0, first), 1), round(min(float(WIDTH), last), 1))
