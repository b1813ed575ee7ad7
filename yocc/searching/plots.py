"""Geometry of the plots of `search.html`; the template writes it down as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from yocc.report.page.charts import nice_step
from yocc.searching.front import Front, Point, recommend
from yocc.searching.limits import limit_text

WIDTH, HEIGHT = 1000, 320
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 30, 44
ABSENT = "\N{EN DASH}"
"""Where a dimension has no effect."""
_MARGIN = 1.06
"""Room beyond the highest value."""
_MOST_LABELS = 12


@dataclass(frozen=True)
class Tick:
    """A mark on an axis.

    Attributes:
        at: its place along the axis, in pixels.
        label: what it says.
    """

    at: float
    label: str


@dataclass(frozen=True)
class Dot:
    """A trial in a plot.

    Attributes:
        x: its middle.
        y: its middle.
        kind: `best`, `front`, `feasible`, `over` or `stopped`, which decides its color.
        target: the element it leads to.
        text: what it says when pointed at.
    """

    x: float
    y: float
    kind: str
    target: str
    text: str


@dataclass(frozen=True)
class Plot:
    """Dots over two axes.

    Attributes:
        label: what a screen reader calls it.
        across: name of the horizontal axis.
        up: name of the vertical axis.
        x_ticks: marks of the horizontal axis.
        y_ticks: marks of the vertical axis.
        dots: trials; the last lie above the others.
        line: path through some of them, or empty.
        bounds: places of limits: x1, y1, x2, y2 and what each is.
    """

    label: str
    across: str
    up: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    dots: tuple[Dot, ...]
    line: str = ""
    bounds: tuple[tuple[float, float, float, float, str], ...] = ()


@dataclass(frozen=True)
class Axis:
    """An upright axis of parallel coordinates.

    Attributes:
        x: where it stands.
        name: of the dimension.
        ticks: its marks.
    """

    x: float
    name: str
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Strand:
    """A trial across all axes.

    Attributes:
        points: of the polyline.
        kind: as of a `Dot`.
        target: the element it leads to.
        text: what it says when pointed at.
    """

    points: str
    kind: str
    target: str
    text: str


@dataclass(frozen=True)
class Parallel:
    """Parallel coordinates."""

    axes: tuple[Axis, ...]
    strands: tuple[Strand, ...]


def kind_of(point: Point, front: Front) -> str:
    """How a point is drawn."""
    if point.trial == front.recommended:
        return "best"
    if point.status == "stopped":
        return "stopped"
    if point.trial in front.front:
        return "front"
    return "feasible" if point.feasible else "over"


def front_plot(front: Front, text: Callable[[Point], str]) -> Plot | None:
    """Time against loss, with the front as steps; None where nothing was measured."""
    measured = [point for point in front.points if point.status == "measured"]
    if not measured:
        return None
    across = _Scale(0.0, max(_latency(each) for each in measured) * _MARGIN, LEFT, WIDTH - RIGHT)
    up = _Scale(0.0, max(_loss(each) for each in measured) * _MARGIN, HEIGHT - BOTTOM, TOP)
    order = {"over": 0, "feasible": 1, "front": 2, "best": 3}
    dots = [
        Dot(across(_latency(each)), up(_loss(each)), kind_of(each, front), f"trial-{each.trial}", text(each))
        for each in measured
    ]
    steps = [(across(_latency(each)), up(_loss(each))) for each in _lowest(front.front_points)]
    line = "".join(f"M{x:.1f} {y:.1f}" if not place else f"H{x:.1f}V{y:.1f}" for place, (x, y) in enumerate(steps))
    return Plot(
        "Time and loss of all trials",
        "time as a share of the original's",
        "loss",
        across.ticks(),
        up.ticks(),
        tuple(sorted(dots, key=lambda dot: order[dot.kind])),
        line,
        tuple(_bounds(front, across, up)),
    )


def history_plot(front: Front, text: Callable[[Point], str]) -> Plot | None:
    """What was reached by when: the value that the recommendation goes by, trial after trial."""
    goal = "latency" if front.limits.latency is None and front.limits.latency_ms is None else "loss"
    known = [point for point in front.points if vars(point.measured)[goal] is not None]
    if not known:
        return None
    across = _Scale(0.0, max(1, *(point.trial for point in front.points)), LEFT, WIDTH - RIGHT)
    up = _Scale(0.0, max(vars(each.measured)[goal] for each in known) * _MARGIN, HEIGHT - BOTTOM, TOP)
    dots = tuple(
        Dot(across(each.trial), up(vars(each.measured)[goal]), kind_of(each, front), f"trial-{each.trial}", text(each))
        for each in known
    )
    line, before = "", None
    for place, point in enumerate(front.points):
        best, _ = recommend([each for each in front.points[: place + 1] if each.status == "measured"], front.limits)
        if best is None:
            continue
        y = up(vars(best.measured)[goal])
        line += f"M{across(point.trial):.1f} {y:.1f}" if before is None else f"H{across(point.trial):.1f}V{y:.1f}"
        before = y
    what = {"latency": "time as a share of the original's", "loss": "loss"}[goal]
    return Plot(f"Trial after trial: {what}", "trial", what, across.ticks(), up.ticks(), dots, line)


def parallel_plot(front: Front, text: Callable[[Point], str]) -> Parallel | None:
    """Every measured trial across all dimensions, its time and its loss."""
    measured = [point for point in front.points if point.status == "measured"]
    names = dict.fromkeys(name for point in measured for name in point.params)
    columns = {name: [point.params.get(name, ABSENT) for point in measured] for name in names}
    columns = {name: values for name, values in columns.items() if len(set(values)) > 1}
    if not columns:
        return None
    columns["time"] = [round(_latency(point), 3) for point in measured]
    columns["loss"] = [round(_loss(point), 4) for point in measured]
    gap = (WIDTH - 120) / max(1, len(columns) - 1)
    axes, heights = [], []
    for place, (name, values) in enumerate(columns.items()):
        place_of, ticks = _positions(values)
        axes.append(Axis(round(60 + place * gap, 1), name, ticks))
        heights.append([place_of(value) for value in values])
    strands = [
        Strand(
            " ".join(f"{axis.x},{heights[column][row]:.1f}" for column, axis in enumerate(axes)),
            kind_of(point, front),
            f"trial-{point.trial}",
            text(point),
        )
        for row, point in enumerate(measured)
    ]
    order = {"over": 0, "feasible": 1, "front": 2, "best": 3}
    return Parallel(tuple(axes), tuple(sorted(strands, key=lambda strand: order[strand.kind])))


@dataclass(frozen=True)
class _Scale:
    """Values from `low` to `high` as pixels from `first` to `last`."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(self.first + share * (self.last - self.first), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """Round values between the bounds."""
        if self.high <= self.low:
            return (Tick(self(self.low), f"{self.low:g}"),)
        step = nice_step(self.high - self.low)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return tuple(Tick(self(place * step), f"{place * step:.6g}") for place in range(first, last + 1))


def _positions(values: Sequence[object]) -> tuple[Callable[[object], float], tuple[Tick, ...]]:
    """Where values stand on an axis: numbers by their size, others in the order of their names."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) == len(values):
        scale = _Scale(min(numbers), max(numbers), HEIGHT - BOTTOM, TOP)
        return lambda value: scale(float(str(value))), scale.ticks()
    named = sorted(dict.fromkeys(values), key=lambda value: (str(value) == ABSENT, _size(value), str(value)))
    scale = _Scale(0, max(1, len(named) - 1), HEIGHT - BOTTOM, TOP)
    places = {value: scale(place) for place, value in enumerate(named)}
    shown = named if len(named) <= _MOST_LABELS else [named[0], named[-1]]
    return lambda value: places[value], tuple(Tick(places[value], str(value)) for value in shown)


def _size(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _bounds(front: Front, across: _Scale, up: _Scale) -> list[tuple[float, float, float, float, str]]:
    limits, found = front.limits, []
    if limits.latency is not None and limits.latency <= across.high:
        x = across(limits.latency)
        found.append((x, up(up.high), x, up(0.0), limit_text("latency", limits.latency)))
    if limits.loss is not None and limits.loss <= up.high:
        y = up(limits.loss)
        found.append((across(0.0), y, across(across.high), y, limit_text("loss", limits.loss)))
    return found


def _lowest(points: Sequence[Point]) -> list[Point]:
    """Those that no faster one equals in loss: with size as a third objective, a front is no line."""
    kept: list[Point] = []
    for point in points:
        if not kept or _loss(point) < _loss(kept[-1]):
            kept.append(point)
    return kept


def _latency(point: Point) -> float:
    return float(point.measured.latency or 0.0)


def _loss(point: Point) -> float:
    return float(point.measured.loss or 0.0)
