from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from tests.report.page.contents import content, with_examples
from yocc.report.page.pictures import shown_pictures


def test_pictures_are_small_and_within_the_page(tmp_path: Path) -> None:
    first, drawn, _ = shown_pictures(with_examples(tmp_path))
    head, _, data = first.data.partition(",")
    assert head == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (first.width, first.height) == (80, 60)
    assert "seed 1, number 2" in drawn.name
    assert drawn.data


def test_boxes_are_where_the_picture_is_and_know_their_counterpart(tmp_path: Path) -> None:
    shown = shown_pictures(with_examples(tmp_path))[0]
    cat, dog = shown.original
    # 80 x 60 in 64 x 64: scale 0.8, 8 rows of padding above.
    assert (cat.x, cat.y, cat.width, cat.height) == (10.0, 10.0, 40.0, 40.0)
    assert (cat.fate, dog.fate) == ("both", "missed")
    assert [box.fate for box in shown.compiled] == ["both", "new"]
    assert shown.verdict == "1 of 2 found again, 1 new."


def test_boxes_of_pictures_at_the_top_left_are_not_moved(tmp_path: Path) -> None:
    made = with_examples(tmp_path)
    made["fidelity"]["examples"][0]["alignment"] = "top_left"
    cat, _ = shown_pictures(made)[0].original
    assert (cat.x, cat.y, cat.width, cat.height) == (10.0, 20.0, 40.0, 40.0)


def test_nothing_found_is_said(tmp_path: Path) -> None:
    shown = shown_pictures(with_examples(tmp_path, found=False))[0]
    assert shown.compiled == ()
    assert shown.verdict == "0 of 2 found again."


def test_a_picture_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = shown_pictures(with_examples(tmp_path))[2]
    assert gone.data == ""
    assert "gone.png" in gone.missing


@pytest.mark.parametrize("fidelity", [None, {"samples": 3}])
def test_reports_without_examples_have_none(fidelity: dict | None) -> None:
    assert shown_pictures({**content(), "fidelity": fidelity}) == ()
