from __future__ import annotations

import numpy as np
import pytest

from yocc.analysis.omission import Omission
from yocc.compiler.graph.cost import Totals
from yocc.passes.drop.choose import Need, cheapest

ANY = Need()
WHOLE = Totals(100, 1000)
SAVED = {"small": Totals(1, 10), "large": Totals(20, 200), "thin": Totals(0, 300)}


def chosen(need: Need = ANY, **losses: float) -> str | None:
    return cheapest({name: Omission(loss, np.zeros(1)) for name, loss in losses.items()}, SAVED, need, WHOLE)


def test_what_is_saved_counts() -> None:
    assert chosen(small=1.0, large=10.0) == "large"
    assert chosen(small=0.1, large=10.0) == "small"


def test_of_two_that_lose_nothing_the_larger_goes() -> None:
    assert chosen(small=0.0, large=0.0) == "large"


def test_what_is_no_longer_needed_does_not_count() -> None:
    assert chosen(thin=1.0, large=1.5) == "thin"
    assert chosen(Need(10, 0), thin=1.0, large=1.5) == "large"
    assert chosen(Need(10, 0), thin=1.0) is None
    assert chosen() is None


@pytest.mark.parametrize(
    ("need", "met"), [(Need(), False), (Need(0, 1), False), (Need(1, -2), False), (Need(0, -1), True)]
)
def test_both_budgets_are_to_be_met(need: Need, met: bool) -> None:
    assert need.met is met
