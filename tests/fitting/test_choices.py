from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yocc.fitting.choices import Choice, choose

layers = st.dictionaries(
    st.sampled_from("abcd"),
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 50)), min_size=1, max_size=4),
    min_size=1,
)


def options(drawn: dict[str, list[tuple[int, int]]]) -> dict[str, list[Choice]]:
    return {name: [Choice(key, *pair) for key, pair in enumerate(pairs)] for name, pairs in drawn.items()}


def outcome(given: dict[str, list[Choice]], keys: dict[str, int]) -> tuple[float, float]:
    chosen = [given[name][key] for name, key in keys.items()]
    return sum(one.cost for one in chosen), sum(one.error for one in chosen)


@given(drawn=layers, budget=st.integers(0, 80))
def test_the_budget_is_kept_and_the_gap_to_the_optimum_is_one_step(drawn: dict, budget: int) -> None:
    given = options(drawn)
    cost, error = outcome(given, choose(given, budget))
    least = sum(min(one.cost for one in choices) for choices in given.values())
    assert cost <= max(budget, least)
    best = min(
        (
            sum(one.error for one in chosen)
            for chosen in itertools.product(*given.values())
            if sum(one.cost for one in chosen) <= budget
        ),
        default=None,
    )
    if best is not None:
        largest = max(
            max(one.error for one in choices) - min(one.error for one in choices) for choices in given.values()
        )
        assert best <= error <= best + largest


@pytest.mark.slow
@given(drawn=layers)
def test_without_a_limit_every_layer_gets_its_best(drawn: dict) -> None:
    given = options(drawn)
    _, error = outcome(given, choose(given, 1e9))
    assert error == sum(min(one.error for one in choices) for choices in given.values())


def test_what_gains_most_for_its_cost_comes_first() -> None:
    given = {"small": [Choice(2, 2, 10), Choice(4, 4, 1)], "large": [Choice(2, 20, 11), Choice(4, 40, 1)]}
    assert choose(given, 24) == {"small": 4, "large": 2}


@pytest.mark.parametrize("budget", [-5, 0])
def test_too_small_a_budget_gives_the_cheapest(budget: float) -> None:
    assert choose({"a": [Choice(2, 2, 5), Choice(8, 8, 0)]}, budget) == {"a": 2}
