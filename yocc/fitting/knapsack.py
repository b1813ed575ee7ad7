"""What to choose when each item costs and gains something: the 0/1 knapsack, solved exactly on a grid of costs.

Dynamic programming over costs rounded up to a grid (Bellman; Kellerer, Pferschy & Pisinger, "Knapsack Problems",
section 2.3). Budgets are therefore never exceeded, and what is chosen gains at least what any choice gains within a
budget smaller by one step of the grid for each item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
STEPS = 4000
"""Steps of the grid, from no cost to that of everything."""


@dataclass(frozen=True)
class Item:
    """What can be chosen.

    Attributes:
        cost: at least 0.
        gain: at least 0.
    """

    cost: float
    gain: float


class Knapsack:
    """All best choices among some items.

    Args:
        items: by name.
    """

    def __init__(self, items: Mapping[str, Item]) -> None:
        self._names = list(items)
        self._total = sum(item.cost for item in items.values())
        self._step = self._total / STEPS if self._total > 0 else 1.0
        # A cost that is a whole number of steps but for rounding of floats is that number.
        self._costs = [max(0, int(np.ceil(item.cost / self._step - 1e-9))) for item in items.values()]
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
        """The items of the largest gain whose cost is at most a budget."""
        if budget >= self._total * (1 - 1e-9):  # rounded up, the costs of all exceed what they cost
            return self._chosen(len(self._best) - 1)
        return self._chosen(int(np.floor(max(budget, 0.0) / self._step + 1e-9)))

    def gaining(self, gain: float) -> frozenset[str]:
        """The items of the least cost that gain this much together; all that gain anything where that is too much."""
        enough = np.flatnonzero(self._best >= min(gain, self._best[-1]) * (1 - 1e-12))
        return self._chosen(int(enough[0]))

    def _chosen(self, cost: int) -> frozenset[str]:
        found = set()
        for name, own, taken in zip(self._names[::-1], self._costs[::-1], self._taken[::-1], strict=True):
            if taken[cost]:
                found.add(name)
                cost -= own
        return frozenset(found)
