from __future__ import annotations

from typing import Any

import pytest

from yocc.report.page.prices import prices

NOTE = {"message": "Chosen: ranks.", "node": "", "level": "choice"}
PRICES = [
    {"share": 0.35, "channels": 8.0, "ranks": 2.0},
    {"share": 0.4, "channels": None, "ranks": 4.0},
    {"share": 0.45, "channels": 20.0, "ranks": 8.0},
]
FIGURES = {"moves": "ranks", "share": 0.4, "foreseen": 4.0, "prices": PRICES}


def passes(details: Any) -> dict[str, Any]:
    raised = {**NOTE, "message": "Raised the opset."}
    return {"passes": [{"spec": "shrink{ratio=0.4}", "notes": [raised, NOTE], "details": details}]}


def test_the_price_of_more_has_a_chart() -> None:
    found = prices(passes(FIGURES))
    assert found is not None
    assert found.text == "Chosen: ranks."
    assert [bar.marked for bar in found.chart.bars] == [False, True, False]
    assert found.chart.bars[2].after == pytest.approx(2 * found.chart.bars[1].after, rel=0.01)
    assert found.chart.bars[1].text == "40% removed: channels do not reach it, ranks 4"


def test_shares_of_the_time_say_so() -> None:
    found = prices(passes({**FIGURES, "budget": "latency"}))
    assert found is not None
    assert found.chart.bars[1].text == "40% of the time removed: channels do not reach it, ranks 4"


@pytest.mark.parametrize("details", [3, {}, {**FIGURES, "prices": 3}, {**FIGURES, "prices": []}, {"moves": "ranks"}])
def test_other_figures_are_no_prices(details: Any) -> None:
    assert prices(passes(details)) is None
