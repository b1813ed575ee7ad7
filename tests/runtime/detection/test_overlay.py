from __future__ import annotations

import numpy as np
from PIL import Image

from yocc.runtime.detection.boxes import Detections
from yocc.runtime.detection.overlay import draw_boxes, side_by_side

GREY = Image.new("RGB", (80, 60), (100, 100, 100))


def _found(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    values = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(values[:, :4], values[:, 4].astype(np.float32), values[:, 5].astype(np.int64))


def test_a_box_is_drawn_on_its_edges_and_nowhere_inside() -> None:
    drawn = np.asarray(draw_boxes(GREY, _found((20, 30, 60, 50, 0.9, 1)), ("a", "b")))
    assert (drawn[40, [20, 59]] != 100).any(axis=1).all()
    assert (drawn[49, 40] != 100).any()
    assert (drawn[35:45, 25:55] == 100).all()


def test_classes_have_their_own_colors() -> None:
    colors = {
        tuple(np.asarray(draw_boxes(GREY, _found((20, 30, 60, 50, 0.9, number)), ("a", "b", "c")))[45, 20].tolist())
        for number in range(3)
    }
    assert len(colors) == 3


def test_unsure_and_empty_detections_are_not_drawn_and_the_picture_is_kept() -> None:
    found = _found((20, 30, 60, 50, 0.2, 0), (10, 10, 10, 20, 0.9, 0))
    drawn = draw_boxes(GREY, found, ("a",))
    assert np.array_equal(np.asarray(drawn), np.asarray(GREY))
    draw_boxes(GREY, _found((0, 0, 80, 60, 0.9, 0)), ("a",))
    assert (np.asarray(GREY) == 100).all()


def test_boxes_at_the_border_and_zoom() -> None:
    drawn = draw_boxes(
        GREY, _found((0, 0, 80, 60, 0.9, 0), (75, 0, 80, 5, 0.8, 0)), ("a long name of a class",), zoom=2
    )
    assert drawn.size == (160, 120)
    assert (np.asarray(drawn)[119, 80] != 100).any()


def test_pictures_stand_side_by_side() -> None:
    other = Image.new("RGB", (40, 90), (9, 9, 9))
    sheet = side_by_side([GREY, other], ["left", "right"])
    assert sheet.width == 80 + 8 + 40
    assert sheet.height == 90 + 18
    assert sheet.getpixel((79, 18)) == (100, 100, 100)
    assert sheet.getpixel((88, 18)) == (9, 9, 9)
