from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.runtime.measuring.test_fidelity import PROFILE
from yocc.runtime.data.pictures import PictureRef
from yocc.runtime.data.preprocess import Preprocess
from yocc.runtime.detection.boxes import Detections
from yocc.runtime.detection.examples import EXAMPLES, MOST_BOXES, choose_examples


def _found(*scores: float) -> Detections:
    count = len(scores)
    boxes = np.tile([1.04, 2.0, 30.0, 40.0], (count, 1)).astype(np.float32)
    return Detections(boxes, np.array(scores, np.float32), np.ones(count, np.int64))


def _pictures(count: int) -> list[PictureRef | None]:
    return [PictureRef(f"{number}.jpg") for number in range(count)]


def test_an_example_holds_what_both_models_find() -> None:
    (example,) = choose_examples(_pictures(1), PROFILE, [_found(0.9, 0.3)], [_found(0.26)], 0.25)
    assert [found.score for found in example.original] == [0.9, 0.3]
    assert example.compiled[0].label == "dog"
    assert example.compiled[0].box == (1.0, 2.0, 30.0, 40.0)
    assert (example.size, example.letterbox) == ((64, 64), False)


def test_an_example_says_where_in_the_input_the_picture_lies() -> None:
    corner = replace(PROFILE, preprocess=Preprocess(letterbox=True, alignment="top_left"))
    (example,) = choose_examples(_pictures(1), corner, [_found(0.9)], [_found(0.9)], 0.25)
    assert (example.letterbox, example.alignment) == (True, "top_left")


def test_unsure_detections_are_left_out_and_others_limited() -> None:
    (example,) = choose_examples(_pictures(1), PROFILE, [_found(0.2)], [_found(*[0.5] * (MOST_BOXES + 1))], 0.25)
    assert example.original == ()
    assert len(example.compiled) == MOST_BOXES


def test_pictures_with_detections_come_before_empty_ones_and_keep_their_order() -> None:
    count = 2 * EXAMPLES
    original = [_found(0.9) if number in (1, 8) else _found() for number in range(count)]
    compiled = [_found(0.9) if number == 11 else _found() for number in range(count)]
    chosen = choose_examples(_pictures(count), PROFILE, original, compiled, 0.25)
    assert [example.picture.file for example in chosen] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "8.jpg", "11.jpg"]


def test_inputs_that_are_no_pictures_are_no_examples() -> None:
    assert choose_examples([], PROFILE, [_found(0.9)], [_found(0.9)], 0.25) == ()
    assert choose_examples([None], PROFILE, [_found(0.9)], [_found(0.9)], 0.25) == ()
