"""What a search found: its trials, the front of those that nothing beats, and which one to take."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from yocc.errors import OptionError
from yocc.searching.limits import Limits, Measured, limit_text
from yocc.searching.recipe import typed

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

SCHEMA = 1
"""Version of `front.json`."""
CLOSE = 0.1
"""Loss up to which the fastest point is recommended where nothing is limited."""
_PICKS = ("latency", "latency_ms", "loss", "size", "memory")


@dataclass(frozen=True)
class Point:
    """A trial that has ended.

    Attributes:
        trial: its number.
        params: where in the space it lies.
        recipe: the options it stands for.
        options: the same as typed after `yocc compile MODEL`.
        measured: what was measured.
        status: `measured`, or `stopped` where it ended early.
        reason: why it ended early, or empty.
        feasible: whether it is within all limits.
        seconds: what it took.
        machine: where it ran.
        folder: of its artifact, below the result folder; empty where none is kept.
    """

    trial: int
    params: Mapping[str, Any]
    recipe: Mapping[str, Any]
    options: str
    measured: Measured
    status: Literal["measured", "stopped"]
    reason: str = ""
    feasible: bool = False
    seconds: float = 0.0
    machine: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Front:
    """The result of a search.

    Attributes:
        model: path of the original.
        target: name of the backend.
        processor: of the machine that wrote this.
        objectives: what was minimized.
        limits: what was allowed.
        judged_on: what the loss is measured on.
        points: all trials that have ended, in their order.
        front: numbers of the trials that nothing beats, the fastest first.
        recommended: number of the one to take; None where none is within the limits.
        nearest: number of the one that exceeds the limits least, where none is within them.
        rule: how the recommendation follows, in a sentence.
        importance: share of each dimension in what the loss depends on; empty where that is not known.
        keywords: options that all trials have, by name.
        fitting: what compilations calibrate with, below the result folder or elsewhere; None for synthetic pictures.
        seconds: what all trials took.
        schema: version of the JSON form.
    """

    model: str
    target: str
    processor: str
    objectives: tuple[str, ...]
    limits: Limits
    judged_on: str
    points: tuple[Point, ...]
    front: tuple[int, ...] = ()
    recommended: int | None = None
    nearest: int | None = None
    rule: str = ""
    importance: Mapping[str, float] = field(default_factory=dict)
    keywords: Mapping[str, Any] = field(default_factory=dict)
    fitting: str | None = None
    seconds: float = 0.0
    schema: int = SCHEMA

    def point(self, trial: int) -> Point:
        """The point of a trial."""
        return next(each for each in self.points if each.trial == trial)

    @property
    def front_points(self) -> list[Point]:
        """The points of the front, the fastest first."""
        return [self.point(number) for number in self.front]

    def command(self, point: Point) -> str:
        """The compilation of a point, as typed in a shell."""
        common = typed(self.keywords if self.fitting is None else {**self.keywords, "calibration": self.fitting})
        return f"yocc compile {shlex.join([self.model, *shlex.split(point.options), *common, '-o', 'out/'])}"


def point_of(trial: FrozenTrial, measured: Measured, limits: Limits, *, complete: bool) -> Point:
    """A trial that has ended, as a fact."""
    facts = trial.user_attrs
    recipe = facts.get("recipe", {})
    return Point(
        trial.number,
        dict(trial.params),
        recipe,
        shlex.join(typed(recipe)),
        measured,
        "measured" if complete else "stopped",
        facts.get("reason", ""),
        complete and limits.met(measured),
        facts.get("seconds", 0.0),
        facts.get("machine", ""),
    )


def nondominated(points: Iterable[Point], objectives: Sequence[str]) -> list[Point]:
    """Those that no other one equals or beats in everything, the fastest first; of equal ones the first."""
    measured = [(point, [vars(point.measured)[name] for name in objectives]) for point in points]
    kept = [
        (values, point.trial, point)
        for place, (point, values) in enumerate(measured)
        if not any(
            _no_worse(other, values) and (other != values or earlier < place)
            for earlier, (_, other) in enumerate(measured)
            if earlier != place
        )
    ]
    return [point for _, _, point in sorted(kept, key=lambda each: each[:2])]


def _no_worse(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(first <= second for first, second in zip(one, other, strict=True))


def recommend(front: Sequence[Point], limits: Limits) -> tuple[Point | None, str]:
    """The point to take, and the rule it follows from.

    Args:
        front: points that nothing beats.
        limits: what is allowed.
    """
    feasible = [point for point in front if point.feasible]
    if limits.given and not feasible:
        return None, f"No configuration that was tried is within {limits.text()}."
    if limits.latency is not None or limits.latency_ms is not None:
        rule = "Recommended is the configuration within the limits that loses least."
        return min(feasible, key=lambda each: (_loss(each), _latency(each))), rule
    if limits.loss is not None:
        rule = "Recommended is the fastest configuration within the limits."
        return min(feasible, key=lambda each: (_latency(each), _loss(each))), rule
    close = [point for point in feasible if _loss(point) <= CLOSE]
    if close:
        return min(close, key=_latency), f"Recommended is the fastest configuration that loses at most {CLOSE:g}."
    if not feasible:
        return None, "No configuration was measured to the end."
    return min(feasible, key=_loss), "Recommended is the configuration that loses least."


def nearest(points: Iterable[Point], limits: Limits) -> Point | None:
    """The measured point that exceeds the limits least, by the sum of the shares."""
    measured = [point for point in points if point.status == "measured"]
    excess = {
        point.trial: sum(max(0.0, each) for each in limits.violations(point.measured).values()) for point in measured
    }
    return min(measured, key=lambda each: (excess[each.trial], each.trial), default=None)


def pick(front: Front, wanted: str) -> Point:
    """The best point under a bound such as `latency=0.4`, or that of a trial such as `trial=12`.

    Under a bound of time or size it is the one that loses least, under one of the loss the fastest.

    Raises:
        OptionError: it cannot be read, or there is no such point.
    """
    name, _, text = wanted.partition("=")
    try:
        bound = float(text)
    except ValueError:
        bound = float("nan")
    if name not in (*_PICKS, "trial") or bound != bound:
        raise OptionError(f"Cannot pick {wanted!r}.", "Give a bound such as latency=0.4 or loss=0.02, or trial=12.")
    if name == "trial":
        chosen = [point for point in front.points if point.trial == bound and point.status == "measured"]
        if not chosen:
            raise OptionError(f"There is no measured trial {text}.", "`yocc search show` lists them.")
        return chosen[0]
    within = [point for point in front.front_points if vars(point.measured)[name] <= bound]
    if not within:
        best = min(front.front_points, key=lambda each: vars(each.measured)[name], default=None)
        hint = (
            "" if best is None else f"The least is {limit_text(name, vars(best.measured)[name])}, trial {best.trial}."
        )
        raise OptionError(f"No point of the front has at most {limit_text(name, bound)}.", hint)
    return min(within, key=_latency if name == "loss" else _loss)


def shortfall(front: Front) -> str:
    """Where no point is within the limits: what there is instead."""
    if front.nearest is None:
        reasons = Counter(point.reason for point in front.points if point.reason)
        return f"The usual reason: {reasons.most_common(1)[0][0]}" if reasons else "Allow more trials or time."
    found = front.point(front.nearest)
    values = vars(found.measured)
    said = " and ".join(limit_text(name, values[name]) for name in front.limits.given if values[name] is not None)
    return f"The nearest is trial {found.trial} ({found.options or 'no option'}) with {said}."


def _loss(point: Point) -> float:
    return point.measured.loss if point.measured.loss is not None else float("inf")


def _latency(point: Point) -> float:
    return point.measured.latency if point.measured.latency is not None else float("inf")
