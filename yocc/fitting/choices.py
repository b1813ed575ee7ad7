"""The choice for each layer with the least total error within a budget: the multiple-choice knapsack."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """One way to treat a layer.

    Attributes:
        key: the caller's name for it, such as a number of bits.
        cost: its share of the budget.
        error: its effect on the result.
    """

    key: int
    cost: float
    error: float


def choose(options: Mapping[str, Sequence[Choice]], budget: float) -> dict[str, int]:
    """Pick one choice for each layer so that the sum of errors is small and the sum of costs within the budget.

    Starting from the cheapest choices, take the step with the largest decrease of error for its cost, along the lower
    convex hull of each layer's choices, as long as it fits (Sinha & Zoltners, "The Multiple-Choice Knapsack Problem",
    Operations Research 1979). The total error exceeds the optimum by less than the gain of the first step that did not
    fit. If even the cheapest choices exceed the budget, these are returned.

    Returns:
        The key chosen for each layer.
    """
    hulls = {name: _hull(choices) for name, choices in options.items()}
    place = dict.fromkeys(hulls, 0)
    left = budget - sum(hull[0].cost for hull in hulls.values())
    steps = [_step(name, hull, 0) for name, hull in hulls.items() if len(hull) > 1]
    heapq.heapify(steps)
    while steps:
        _, name, index = heapq.heappop(steps)
        hull = hulls[name]
        cost = hull[index + 1].cost - hull[index].cost
        if cost > left:
            continue
        left -= cost
        place[name] = index + 1
        if index + 2 < len(hull):
            heapq.heappush(steps, _step(name, hull, index + 1))
    return {name: hulls[name][index].key for name, index in place.items()}


def _step(name: str, hull: Sequence[Choice], index: int) -> tuple[float, str, int]:
    here, there = hull[index], hull[index + 1]
    return -(here.error - there.error) / (there.cost - here.cost), name, index


def _hull(choices: Sequence[Choice]) -> list[Choice]:
    """The choices that no mixture of two others beats, by rising cost and falling error."""
    hull: list[Choice] = []
    for choice in sorted(choices, key=lambda one: (one.cost, one.error)):
        if hull and choice.error >= hull[-1].error:
            continue
        while len(hull) >= 2 and _slope(hull[-2], hull[-1]) >= _slope(hull[-2], choice):
            hull.pop()
        hull.append(choice)
    return hull


def _slope(here: Choice, there: Choice) -> float:
    """Change of error for the cost; the steeper fall is the smaller number."""
    return (there.error - here.error) / (there.cost - here.cost)
