from __future__ import annotations

import pytest

from tests.report.page.contents import content
from yocc.report.page.cards import Card, cards
from yocc.report.page.render import render_page


def _card(title: str, made: dict) -> Card:
    return next(card for card in cards(made) if card.title.startswith(title))


def test_smaller_and_faster_are_good() -> None:
    made = content()
    for title in ("Size", "Parameters", "Multiply", "Latency"):
        assert _card(title, made).mood == "good", title
    assert _card("Size", made).left == 0.25


def test_slower_is_bad_and_the_bar_ends() -> None:
    made = content()
    made["measured"]["latency_ms"]["candidate"]["median"] = 80.0
    card = _card("Latency", made)
    assert (card.mood, card.left) == ("bad", 1.0)
    assert "A processor, 2 threads" in card.remark


@pytest.mark.parametrize(("after", "mood"), [(0.34, "same"), (0.33, "bad"), (0.36, "good")])
def test_accuracy_is_judged_by_what_can_be_noticed(after: float, mood: str) -> None:
    made = content()
    made["accuracy"]["compiled"]["map50_95"] = after
    assert _card("Accuracy", made).mood == mood


def test_a_collapse_is_an_alarm() -> None:
    made = content()
    made["fidelity"]["collapsed"] = "Nothing is found."
    del made["wrong"]  # which reports of earlier schemas do not have
    assert {card.mood for card in cards(made) if card.title.startswith(("Accuracy", "Agreement"))} == {"alarm"}


def test_growth_does_not_color_what_the_model_computes() -> None:
    made = content(alarms=("It is larger.",), warnings=("It is larger.",), wrong=False)
    assert "alarm" not in {card.mood for card in cards(made)}
    assert "This model gained nothing" in render_page(made)


def test_models_that_detect_nothing_are_judged_by_their_outputs() -> None:
    made = content()
    made["fidelity"]["detection"] = None
    assert _card("Outputs", made).after.startswith("30.0")
    made["fidelity"]["outputs"][0]["snr_db"] = None
    assert _card("Outputs", made).after == "equal"


def test_what_was_not_measured_has_no_card() -> None:
    made = content(fidelity=None, accuracy=None, measured={})
    assert len(cards(made)) == 3
