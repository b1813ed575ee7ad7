"""Compressing to a share of the time: plan by prediction, measure, correct the prediction, until the time is met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from yocc.compiler.pipeline.passes import PassContext
from yocc.errors import InternalError

Plan = TypeVar("Plan")
MEASURED = 0.03
"""How far from the target a measured time is met."""
CLOSE = 0.01
"""Near enough to stop trying: what noise leaves to be had."""
LAW = "square root of the MACs"
"""What predicts where nothing was measured."""
_TRIES = 5
_STRIDE = 3.0
"""How many times as much is removed at most in the next try."""
_LEAST, _MOST = 0.02, 0.98


@dataclass(frozen=True)
class Paced(Generic[Plan]):
    """A plan for a share of the time.

    Attributes:
        plan: the plan.
        goal: share of the original's time that was asked for, in all rounds so far.
        predicted: share of the original's time that the table or the law expects.
        measured: share of the original's time; None where it was not measured.
        predictor: what predicted, for the report.
    """

    plan: Plan
    goal: float
    predicted: float
    measured: float | None
    predictor: str

    @property
    def reached(self) -> float:
        """What is known best."""
        return self.predicted if self.measured is None else self.measured

    def tell(self, ctx: PassContext) -> None:
        """Say how far the time was met."""
        measured = self.measured is not None
        if abs(self.reached - self.goal) > MEASURED:
            ctx.note(
                f"Asked to leave {self.goal:.0%} of the time; the nearest reachable is {self.reached:.1%}"
                f"{'' if measured else ' by prediction'}: the rest is spent in layers and operators that stay.",
                level="warning",
            )
        if measured:
            ctx.note(f"{self.reached:.1%} of the original's time, {self.predicted:.1%} by the {self.predictor}.")
        else:
            ctx.note(
                f"{self.reached:.1%} of the time by the {self.predictor}; nothing was timed on the device.",
                level="warning",
            )


@dataclass(frozen=True)
class TimeFigures:
    """How far a share of the time was reached, all as shares of the original's time.

    Attributes:
        goal: what was asked for, in all rounds so far.
        reached: what is known best: measured, or else predicted.
        predicted: by the table or the law.
        measured: None where nothing was timed.
        predictor: what predicted.
    """

    goal: float
    reached: float
    predicted: float
    measured: float | None
    predictor: str

    @classmethod
    def of(cls, paced: Paced[Any]) -> TimeFigures:
        """The figures of a plan for a share of the time."""
        return cls(paced.goal, paced.reached, paced.predicted, paced.measured, paced.predictor)

    def shown(self) -> dict[str, Any]:
        """Rounded to four decimals."""
        return {
            "goal": round(self.goal, 4),
            "reached": round(self.reached, 4),
            "predicted": round(self.predicted, 4),
            "measured": None if self.measured is None else round(self.measured, 4),
            "predictor": self.predictor,
        }


def time_so_far(ctx: PassContext) -> tuple[float, float]:
    """What earlier passes were to leave of the original's time, in all, and where the last one arrived; 1 at first."""
    times = [getattr(result.figures, "time", None) for result in ctx.results.values()]
    # Each pass aims at less than the one before.
    last = min((time for time in times if isinstance(time, TimeFigures)), key=lambda time: time.goal, default=None)
    return (1.0, 1.0) if last is None else (last.goal, last.reached)


def pace(
    plan_for: Callable[[float], tuple[Plan, float]],
    timed: Callable[[Plan], float] | None,
    *,
    goal: float,
    base: float,
    predictor: str,
) -> Paced[Plan]:
    """Plan so that a run takes `goal` of the original's time.

    Args:
        plan_for: makes a plan for a share of the time that the network takes now; returns it with the share predicted.
        timed: measures the share of the original's time that a plan leaves; None to go by prediction alone.
        goal: share of the time of the original.
        base: share of that time that the network takes now.
        predictor: what predicts.
    """
    wanted = goal / base
    if timed is None:
        plan, share = plan_for(wanted)
        return Paced(plan, goal, base * share, None, predictor)
    best: Paced[Plan] | None = None
    for _ in range(_TRIES):
        plan, share = plan_for(wanted)
        found = Paced(plan, goal, base * share, timed(plan), predictor)
        if best is None or abs(found.reached - goal) < abs(best.reached - goal):
            best = found
        if abs(found.reached - goal) <= CLOSE:
            break
        # What removal gains is off by a factor, which noise can hide when little is removed.
        gained = max(1 - found.reached / base, 1e-6)
        factor = min((1 - goal / base) / gained, _STRIDE)
        wanted = min(max(1 - factor * (1 - share), _LEAST), _MOST)
    if best is None:
        raise InternalError("No plan was tried.")
    return best
