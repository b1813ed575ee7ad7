from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yocc.fitting import budgets
from yocc.fitting.budgets import Ways, choose_in, choose_within

way = st.tuples(st.integers(0, 50), st.integers(1, 20), st.integers(1, 20))
items = st.lists(st.lists(way, min_size=1, max_size=4), min_size=1, max_size=4)


def ways(drawn: Sequence[Sequence[tuple[float, ...]]]) -> list[Ways]:
    return [Ways(*np.array(item, dtype=np.float64).T) for item in drawn]


def best(drawn: Sequence[Sequence[tuple[float, ...]]], budget: float, other: float) -> float | None:
    sums = (np.array(chosen).sum(axis=0) for chosen in itertools.product(*drawn))
    return min((float(loss) for loss, cost, second in sums if cost <= budget and second <= other), default=None)


@given(drawn=items, budget=st.integers(0, 80))
def test_one_budget_is_solved_exactly(drawn: list[list[tuple[int, int, int]]], budget: int) -> None:
    # A budget between two sums: at a sum itself, rounding to the grid may exclude it.
    found, wanted = choose_within(ways(drawn), budget + 0.5, np.inf), best(drawn, budget, np.inf)
    assert found.fits == (wanted is not None)
    if wanted is not None:
        assert found.loss == pytest.approx(wanted)
        assert found.bound == pytest.approx(wanted)
        assert sum(drawn[i][place][1] for i, place in enumerate(found.places)) <= budget


@given(drawn=items, budget=st.integers(0, 80), other=st.integers(0, 80))
def test_the_bound_holds_with_two_budgets(drawn: list[list[tuple[int, int, int]]], budget: int, other: int) -> None:
    found, wanted = choose_within(ways(drawn), budget + 0.5, other + 0.5), best(drawn, budget, other)
    if found.fits:
        assert sum(drawn[i][place][1] for i, place in enumerate(found.places)) <= budget
        assert sum(drawn[i][place][2] for i, place in enumerate(found.places)) <= other
        assert wanted is not None
        assert found.bound <= wanted + 1e-6
        assert wanted <= found.loss + 1e-9


def test_a_price_meets_the_second_budget() -> None:
    drawn = [[(0, 10, 10), (1, 5, 9), (3, 9, 2)], [(0, 10, 10), (2, 5, 5)]]
    found = choose_within(ways(drawn), 20, 12)
    assert found.fits
    assert found.places == [2, 0]


def test_no_price_helps_where_all_ways_cost_the_same_of_the_second_budget() -> None:
    found = choose_within(ways([[(0, 1, 3), (1, 1, 3)], [(0, 1, 1), (2, 1, 1)]]), 2.5, 0.5)
    assert not found.fits
    assert found.places == [0, 0]


@pytest.mark.parametrize(("budget", "other"), [(1, 100), (100, 1)])
def test_out_of_reach_the_least_there_is_comes_out(budget: float, other: float) -> None:
    drawn = [[(0, 10, 10), (4, 2, 2)], [(0, 10, 10), (4, 3, 3)]]
    found = choose_within(ways(drawn), budget, other)
    assert not found.fits
    assert found.places == [1, 1]


@given(drawn=items, budget=st.integers(0, 80), least=st.integers(0, 60))
def test_a_least_of_the_second_budget_is_met_where_it_can_be(
    drawn: list[list[tuple[int, int, int]]], budget: int, least: int
) -> None:
    free = choose_within(ways(drawn), budget + 0.5, np.inf)
    found = choose_within(ways(drawn), budget + 0.5, np.inf, least - 0.5)
    if not free.fits:
        assert found == free
        return
    sums = (np.array(chosen).sum(axis=0) for chosen in itertools.product(*drawn))
    wanted = min((float(loss) for loss, cost, second in sums if cost <= budget and second >= least), default=None)
    spent = sum(drawn[i][place][2] for i, place in enumerate(found.places))
    assert sum(drawn[i][place][1] for i, place in enumerate(found.places)) <= budget
    assert (spent >= least) == (wanted is not None)
    if wanted is not None:
        assert wanted <= found.loss + 1e-9
        assert found.bound <= wanted + 1e-6


def test_what_is_nearest_comes_out_where_a_least_of_the_second_budget_cannot_be_met() -> None:
    # The last item alone would lose least and leave 30 of the second budget's 40; two of the others leave 32.
    drawn = [[(0, 10, 10), (loss, 5, 6)] for loss in (1, 2, 3)] + [[(0, 10, 10), (1, 0, 0)]]
    assert choose_within(ways(drawn), 30.5, 35).places == [0, 0, 0, 1]
    found = choose_within(ways(drawn), 30.5, 35, 33)
    assert (found.places, found.loss, found.fits) == ([1, 1, 0, 0], 3, True)


@given(drawn=items, budget=st.integers(0, 80), other=st.integers(0, 80), least=st.integers(0, 60))
def test_a_least_that_cannot_be_met_leads_nobody_away_from_it(
    drawn: list[list[tuple[int, int, int]]], budget: int, other: int, least: int
) -> None:
    free = choose_within(ways(drawn), budget + 0.5, other + 0.5)
    found = choose_within(ways(drawn), budget + 0.5, other + 0.5, least - 0.5)
    assert found.fits == free.fits
    spent, without = (sum(drawn[i][place][2] for i, place in enumerate(each.places)) for each in (found, free))
    if free.fits:
        assert sum(drawn[i][place][1] for i, place in enumerate(found.places)) <= budget
        assert spent <= other
        assert spent >= min(without, least)


@pytest.mark.parametrize("steps", [7, 40])
@pytest.mark.parametrize("seed", range(12))
def test_a_budget_is_met_on_any_grid_and_the_bound_is_below_the_best(
    seed: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "STEPS", steps)
    random = np.random.default_rng(seed)
    drawn = [[tuple(random.uniform(1, 20, 3)) for _ in range(4)] for _ in range(4)]
    budget = float(random.uniform(15, 50))
    found, wanted = choose_in(ways(drawn), budget), best(drawn, budget, np.inf)
    assert found.fits == (wanted is not None)
    if wanted is None:
        return
    assert sum(drawn[i][place][1] for i, place in enumerate(found.places)) <= budget
    assert found.bound <= wanted + 1e-9
    assert wanted <= found.loss + 1e-9
    # Within a budget smaller by a step of the grid for each item, nothing is better.
    room = budget - sum(min(cost for _, cost, _ in item) for item in drawn)
    smaller = best(drawn, budget - len(drawn) * room / steps, np.inf)
    assert smaller is None or found.loss <= smaller + 1e-9


@given(drawn=items, budget=st.integers(0, 80))
def test_a_budget_between_two_sums_is_solved_exactly_and_the_bound_says_so(
    drawn: list[list[tuple[int, int, int]]], budget: int
) -> None:
    found, wanted = choose_in(ways(drawn), budget + 0.5), best(drawn, budget, np.inf)
    assert found.fits == (wanted is not None)
    if wanted is not None:
        assert found.loss == pytest.approx(wanted)
        assert found.bound == pytest.approx(wanted)
