"""One way for each item, with the least total loss within one or two budgets.

Exact in the first budget: dynamic programming over its costs on a grid (the multiple-choice knapsack; Kellerer,
Pferschy & Pisinger, "Knapsack Problems", section 11.5). The second budget gets a price, the least for which the choice
stays within it (Lagrangian relaxation). For each price the loss with the price paid is a lower bound of what any choice
can lose, so that the result says how far from the best it can be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
STEPS = 8192
"""Steps of the grid."""
_HALVINGS = 18
_DOUBLINGS = 60


@dataclass(frozen=True)
class Ways:
    """The ways to treat one item, one of which is chosen.

    Attributes:
        losses: shape [ways].
        costs: of the first budget, shape [ways].
        others: of the second budget, shape [ways].
    """

    losses: Array
    costs: Array
    others: Array


@dataclass(frozen=True)
class Chosen:
    """A choice.

    Attributes:
        places: the way of each item.
        loss: their sum.
        bound: no choice within the budgets loses less, up to the grid.
        fits: whether it is within the budgets; otherwise it is what costs least.
    """

    places: list[int]
    loss: float
    bound: float
    fits: bool


def choose_in(items: Sequence[Ways], budget: float) -> Chosen:
    """Choose a way for each item within the first budget alone; what it says of the others does not count.

    The choice is exact up to the grid: costs are rounded up to it, so that the budget is met. The bound is exact
    without it: with costs rounded down, every choice within the budget is one on the grid.

    Args:
        items: at least one way each.
        budget: the most that the costs may sum up to.
    """
    program = _Program(items, budget)
    if not program.reachable:
        return _chosen(items, [int(np.argmin(item.costs)) for item in items], 0.0, fits=False)
    places, _ = program.solve(0.0)
    _, bound = _Program(items, budget, np.floor).solve(0.0)
    return _chosen(items, places, bound, fits=True)


def choose_within(items: Sequence[Ways], budget: float, other: float, least: float = -np.inf) -> Chosen:
    """Choose a way for each item.

    Args:
        items: at least one way each.
        budget: the most that the costs may sum up to.
        other: the most that the costs of the second budget may sum up to.
        least: the least that these may sum up to, if that is possible, or else nearly: then the price of the second
            budget is negative.
    """
    chosen, _ = _choose(items, budget, other)
    if not chosen.fits or _others(items, chosen.places) >= least:
        return chosen
    # What is spent earns something instead; the same search finds the least that is enough.
    earning = [Ways(item.losses, item.costs, -item.others) for item in items]
    filled, short = _choose(earning, budget, -least)
    if filled.fits and _others(items, filled.places) <= other:
        return filled
    if short is None or not _others(items, chosen.places) < _others(items, short) <= other:
        return chosen
    return _chosen(items, short, chosen.bound, fits=True)


def _choose(items: Sequence[Ways], budget: float, other: float) -> tuple[Chosen, list[int] | None]:
    """The choice, and the one of the largest price at which the second budget is exceeded, if there is one."""
    free = _Program(items, budget)
    if not free.reachable:
        return _chosen(items, [int(np.argmin(item.costs)) for item in items], 0.0, fits=False), None
    places, bound = free.solve(0.0)
    if _others(items, places) <= other:
        return _chosen(items, places, bound, fits=True), None
    over = places
    spread = _spread(items, _others_of)
    if not spread > 0:  # no price makes a difference
        return _chosen(items, places, 0.0, fits=False), over
    low, high = 0.0, _spread(items, _losses_of) / spread
    best: list[int] | None = None
    for _ in range(_DOUBLINGS):
        places, value = free.solve(high)
        bound = max(bound, value - high * other)
        if _others(items, places) <= other:
            best = places
            break
        low, high, over = high, 4 * high, places
    if best is None:
        return _chosen(items, places, 0.0, fits=False), over
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        places, value = free.solve(middle)
        bound = max(bound, value - middle * other)
        if _others(items, places) <= other:
            high, best = middle, min(best, places, key=lambda found: _loss(items, found))
        else:
            low, over = middle, places
    return _chosen(items, best, bound, fits=True), over


class _Program:
    """The dynamic program for any price of the second budget."""

    def __init__(self, items: Sequence[Ways], budget: float, rounded: Callable[[Array], Array] = np.ceil) -> None:
        self._items = items
        least = [float(item.costs.min()) for item in items]
        room = budget - sum(least)
        self.reachable = bool(room >= -1e-9 * abs(budget))
        most = sum(float(item.costs.max()) - low for item, low in zip(items, least, strict=True))
        # No more room than everything takes: all budgets beyond are alike.
        step = max(min(room, most), 1e-12 * max(most, 1.0)) / STEPS
        self._size = STEPS + 1 + (len(items) if room >= most else 0)
        self._costs = [
            np.clip(rounded((item.costs - low) / step - 1e-9), 0, self._size).astype(np.int64)
            for item, low in zip(items, least, strict=True)
        ]

    def solve(self, price: float) -> tuple[list[int], float]:
        """The ways with the least loss, the price paid, and that sum."""
        best = np.zeros(self._size)
        taken: list[Array] = []
        for item, costs in zip(self._items, self._costs, strict=True):
            paid = item.losses + price * item.others
            found, ways = np.full(self._size, np.inf), np.zeros(self._size, dtype=np.int32)
            for way in np.argsort(paid, kind="stable"):
                cost = int(costs[way])
                if cost < self._size:
                    value = best[: self._size - cost] + paid[way]
                    better = value < found[cost:]
                    found[cost:][better] = value[better]
                    ways[cost:][better] = way
            best = found
            taken.append(ways)
        left, places = self._size - 1, []
        for costs, ways in zip(self._costs[::-1], taken[::-1], strict=True):
            places.append(int(ways[left]))
            left -= int(costs[places[-1]])
        return places[::-1], float(best[-1])


def _chosen(items: Sequence[Ways], places: list[int], bound: float, *, fits: bool) -> Chosen:
    loss = _loss(items, places)
    return Chosen(places, loss, min(bound, loss) if fits else loss, fits)


def _losses_of(item: Ways) -> Array:
    return item.losses


def _others_of(item: Ways) -> Array:
    return item.others


def _loss(items: Sequence[Ways], places: Sequence[int]) -> float:
    return _sum(items, places, _losses_of)


def _others(items: Sequence[Ways], places: Sequence[int]) -> float:
    return _sum(items, places, _others_of)


def _sum(items: Sequence[Ways], places: Sequence[int], column: Callable[[Ways], Array]) -> float:
    return float(sum(column(item)[place] for item, place in zip(items, places, strict=True)))


def _spread(items: Sequence[Ways], column: Callable[[Ways], Array]) -> float:
    return float(sum(np.ptp(column(item)) for item in items))
