from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yocc.fitting.knapsack import STEPS, Item, Knapsack

items = st.lists(st.builds(Item, st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=8).map(
    lambda drawn: {str(place): item for place, item in enumerate(drawn)}
)


def cost(chosen: frozenset[str] | tuple[str, ...], among: dict[str, Item]) -> float:
    return sum(among[name].cost for name in chosen)


def gain(chosen: frozenset[str] | tuple[str, ...], among: dict[str, Item]) -> float:
    return sum(among[name].gain for name in chosen)


def every_choice(among: dict[str, Item]) -> list[tuple[str, ...]]:
    return [some for size in range(len(among) + 1) for some in itertools.combinations(among, size)]


@settings(max_examples=30, deadline=None)
@given(among=items, share=st.floats(0, 1))
def test_no_choice_within_the_budget_gains_more(among: dict[str, Item], share: float) -> None:
    total = cost(tuple(among), among)
    chosen = Knapsack(among).within(share * total)
    assert cost(chosen, among) <= share * total + 1e-6
    slack = len(among) * total / STEPS
    best = max((gain(some, among) for some in every_choice(among) if cost(some, among) <= share * total - slack - 1e-9),
               default=0.0)  # fmt: skip
    assert gain(chosen, among) >= best - 1e-9


@settings(max_examples=30, deadline=None)
@given(among=items, share=st.floats(0, 1))
def test_no_choice_that_gains_as_much_costs_less(among: dict[str, Item], share: float) -> None:
    wanted = share * gain(tuple(among), among)
    chosen = Knapsack(among).gaining(wanted)
    assert gain(chosen, among) >= wanted - 1e-6
    least = min(cost(some, among) for some in every_choice(among) if gain(some, among) >= wanted)
    slack = len(among) * cost(tuple(among), among) / STEPS
    assert cost(chosen, among) <= least + slack + 1e-9


@pytest.mark.parametrize("unit", [5e-324, 1e-310, 1e300, 5e307])
def test_the_unit_of_costs_does_not_matter(unit: float) -> None:
    chosen = Knapsack({"a": Item(2 * unit, 3), "b": Item(unit, 2), "c": Item(unit, 1)})
    assert chosen.within(3 * unit) == {"a", "b"}
    assert chosen.within(unit) == {"b"}
    assert chosen.gaining(2) == {"b"}


def test_a_budget_far_above_tiny_costs_takes_everything() -> None:
    assert Knapsack({"a": Item(5e-324, 1), "b": Item(0, 1)}).within(1e308) == {"a", "b"}


def test_greed_is_beaten() -> None:
    # The item with most gain for its cost leaves no room for the two that gain most together.
    among = {"a": Item(6, 13), "b": Item(5, 10), "c": Item(5, 10)}
    assert Knapsack(among).within(10) == {"b", "c"}


@pytest.mark.parametrize("budget", [0.0, -1.0])
def test_without_a_budget_only_what_is_free_is_taken(budget: float) -> None:
    assert Knapsack({"free": Item(0, 1), "dear": Item(1, 5)}).within(budget) == {"free"}


def test_more_gain_than_there_is_takes_everything_that_gains() -> None:
    assert Knapsack({"a": Item(1, 1), "b": Item(1, 0)}).gaining(9) == {"a"}


def test_a_budget_for_everything_takes_everything() -> None:
    among = {str(place): Item(0.1 * (place + 1) / 3, 1.0) for place in range(9)}
    assert Knapsack(among).within(cost(tuple(among), among)) == set(among)
