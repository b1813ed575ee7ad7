"""Choosing items that each cost and gain something: the 0/1 knapsack, solved exactly on a grid of costs.

Dynamic programming over costs rounded up to a grid (Bellman; Kellerer, Pferschy & Pisinger, "Knapsack Problems",
section 2.3). So budgets are never exceeded, and the choice gains at least as much as any choice within a budget that
is smaller by one grid step for each item.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
STEPS = 4000
"""Steps of the grid, from zero to the total cost."""


@dataclass(frozen=True)
class Item:
    """Something that can be chosen.

    Attributes:
        cost: at least 0.
        gain: at least 0.
    """

    cost: float
    gain: float


class Knapsack:
    """The best choices among some items, for all budgets.

    Args:
        items: by name.
    """

    def __init__(self, items: Mapping[str, Item]) -> None:
        self._names = list(items)
        # A power of two, so that dividing by it rounds nothing and the step neither vanishes nor overflows.
        self._unit = 2.0 ** (math.frexp(max((item.cost for item in items.values()), default=0.0))[1] - 1)
        costs = [item.cost / self._unit for item in items.values()]
        self._total = sum(costs)
        self._step = self._total / STEPS if self._total > 0 else 1.0
        # A cost that is a whole number of steps up to float rounding is that number.
        self._costs = [max(0, math.ceil(cost / self._step - 1e-9)) for cost in costs]
        size = sum(self._costs) + 1
        best = np.zeros(size)
        self._taken: list[Array] = []
        for item, cost in zip(items.values(), self._costs, strict=True):
            with_it = np.full(size, -np.inf)
            with_it[cost:] = best[: size - cost] + item.gain
            taken = with_it > best
            self._taken.append(taken)
            best = np.where(taken, with_it, best)
        self._best = best

    def within(self, budget: float) -> frozenset[str]:
        """The items with the largest gain whose cost is at most a budget."""
        budget /= self._unit
        if budget >= self._total * (1 - 1e-9):  # the sum of rounded costs exceeds the total
            return self._chosen(len(self._best) - 1)
        return self._chosen(int(np.floor(max(budget, 0.0) / self._step + 1e-9)))

    def gaining(self, gain: float) -> frozenset[str]:
        """The cheapest items that gain this much together; all that gain anything if that is too much."""
        enough = np.flatnonzero(self._best >= min(gain, self._best[-1]) * (1 - 1e-12))
        return self._chosen(int(enough[0]))

    def _chosen(self, cost: int) -> frozenset[str]:
        found = set()
        for name, own, taken in zip(self._names[::-1], self._costs[::-1], self._taken[::-1], strict=True):
            if taken[cost]:
                found.add(name)
                cost -= own
        return frozenset(found)
