from __future__ import annotations

from typing import Any

import pytest

from yocc.report.page.learning import learning

CURVE = [{"step": 0, "seconds": 0.0, "loss": 3.0}, {"step": 250, "seconds": 100.0, "loss": 1.5}]
FIGURES = {"pictures": 154, "steps": 250, "curve": CURVE}


def passes(*details: Any) -> dict[str, Any]:
    return {"passes": [{"spec": f"pass{number}{{rate=1}}", "details": each} for number, each in enumerate(details)]}


def test_each_training_has_a_chart_of_its_losses() -> None:
    first, second = learning(passes(FIGURES, {}, {"learned": FIGURES}))
    assert (first.title, second.title) == ("pass0", "pass2")
    assert len(first.chart.bars) == 2
    assert first.chart.bars[0].after == pytest.approx(2 * first.chart.bars[1].after, rel=0.01)
    assert "250 batches from 154 pictures" in first.text
    assert "3 before, 1.5 after" in first.text


def test_trainings_of_one_pass_are_told_apart() -> None:
    content = passes(FIGURES, FIGURES)
    for step in content["passes"]:
        step["spec"] = "distill"
    found = learning(content)
    assert [each.title for each in found] == ["distill", "distill, time 2"]
    assert len({each.chart.name for each in found}) == 2


def test_looks_without_a_loss_are_left_out() -> None:
    (only,) = learning(passes({**FIGURES, "curve": [*CURVE, {"step": 500, "seconds": 200.0, "loss": None}]}))
    assert len(only.chart.bars) == 2


@pytest.mark.parametrize(
    "details",
    [3, {}, {"curve": 3}, {**FIGURES, "curve": []}, {"curve": CURVE}, {"learned": 3}, {"learned": {"curve": [3]}}],
)
def test_other_figures_are_no_training(details: Any) -> None:
    assert learning(passes(details)) == ()
