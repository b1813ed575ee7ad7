from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from yocc.models.families.profile import ModelProfile, OutputLayout, Preprocess, Suppression
from yocc.runtime.backends.backend import Session
from yocc.runtime.data.feeds import InputSpec
from yocc.runtime.data.pictures import PictureRef
from yocc.runtime.measuring.fidelity import Own, Samples, measure_fidelity

SIDE, CLASSES = 64, 2
FEEDS = [{"images": np.full((1, 3, SIDE, SIDE), number, np.float32)} for number in range(3)]
PROFILE = ModelProfile(
    family="yolov5",
    layout=OutputLayout.ROWS,
    outputs=("output",),
    classes=("cat", "dog"),
    strides=(8, 16, 32),
    input=InputSpec("images", (1, 3, SIDE, SIDE), np.dtype(np.float32)),
    preprocess=Preprocess(),
)


def _keep(_: Any) -> None:
    """Change nothing."""


class Detector(Session):
    """Finds one box in each picture, changed by a function."""

    inputs = outputs = ()

    def __init__(self, change: Callable[[Any], None] = _keep) -> None:
        self.change = change

    def run(self, feeds: dict) -> dict:
        number = int(feeds["images"].flat[0])
        rows = np.zeros((1, 10, 5 + CLASSES), np.float32)
        rows[0, 0] = [20 + 5 * number, 30, 20, 20, 0.9, 0.9, 0.05]
        self.change(rows)
        return {"output": rows}


def _measure(change: Callable[[Any], None], original: Session | None = None):
    return measure_fidelity(original or Detector(), Detector(change), Samples(FEEDS, "three", held_out=True), PROFILE)


def test_equal_models_agree() -> None:
    facts = _measure(_keep)
    assert facts.detection is not None
    assert facts.detection.map50_95 == pytest.approx(1)
    assert facts.confident == (3, 3)
    assert (facts.samples, facts.collapsed, facts.reason) == (3, "", "")


class SuppressingDetector(Session):
    """Finds the same box, and nothing below its threshold."""

    inputs = outputs = ()

    def run(self, feeds: dict) -> dict:
        number = int(feeds["images"].flat[0])
        x, score = 20 + 5 * number, np.float32(0.9) * np.float32(0.9)
        return {
            "count": np.ones((1, 1), np.int32),
            "boxes": np.array([[[x - 10, 20, x + 10, 40], [0, 0, 0, 0]]], np.float32),
            "scores": np.array([[score, 0]], np.float32),
            "classes": np.zeros((1, 2), np.int32),
        }


def test_an_original_is_read_by_the_thresholds_of_a_model_that_suppresses() -> None:
    def add_others(rows: Any) -> None:
        rows[0, 0, 5:] = 0.9, 0.5  # a second class, which the compiled model does not give
        rows[0, 1] = [50, 50, 10, 10, 0.5, 0.6, 0]  # below its threshold

    suppressing = replace(
        PROFILE,
        layout=OutputLayout.DETECTIONS,
        outputs=("count", "boxes", "scores", "classes"),
        suppression=Suppression(0.4, 0.45, 2),
    )
    facts = measure_fidelity(
        Detector(add_others),
        SuppressingDetector(),
        Samples(FEEDS, "three", held_out=True),
        suppressing,
        own=Own(None, PROFILE),
    )
    assert facts.outputs == ()
    assert facts.confident == (3, 3)
    assert facts.detection is not None
    assert facts.detection.map50_95 == pytest.approx(1)


def test_dead_scores_are_a_collapse() -> None:
    def kill(rows: Any) -> None:
        rows[..., 4:] = 0

    facts = _measure(kill)
    assert "finds nothing where the original finds 3" in facts.collapsed
    assert facts.confident == (3, 0)


def test_boxes_elsewhere_are_a_collapse() -> None:
    def move(rows: Any) -> None:
        rows[0, 0, :2] = 50, 5

    facts = _measure(move)
    assert "almost nothing" in facts.collapsed
    assert facts.confident == (3, 3)


def test_boxes_a_little_off_are_none() -> None:
    def nudge(rows: Any) -> None:
        rows[0, 0, 0] += 1

    facts = _measure(nudge)
    assert facts.collapsed == ""
    assert facts.detection is not None
    assert 0.5 < facts.detection.map50_95 < 1


def test_original_that_finds_nothing_gives_a_reason() -> None:
    def kill(rows: Any) -> None:
        rows[..., 4:] = 0

    facts = _measure(kill, Detector(kill))
    assert facts.detection is None
    assert "finds nothing" in facts.reason
    assert facts.collapsed == ""


def test_without_a_profile_outputs_are_compared_alone() -> None:
    facts = measure_fidelity(Detector(), Detector(), Samples(FEEDS, "three", held_out=False), None)
    assert facts.detection is None
    assert [each.label for each in facts.outputs] == [""]


def test_nothing_measured_is_nothing_said() -> None:
    facts = measure_fidelity(Detector(), Detector(), Samples([], "none", held_out=False), PROFILE)
    assert (facts.samples, facts.outputs, facts.detection) == (0, (), None)


class PlacingDetector(SuppressingDetector):
    """Finds the same box in pixels of a picture four times as wide and high."""

    def run(self, feeds: dict) -> dict:
        found = super().run(feeds)
        return {**found, "boxes": found["boxes"] * 4}


@pytest.mark.parametrize("apart", [True, False])
def test_boxes_in_pixels_of_the_picture_are_compared_there(apart: bool) -> None:
    placing = replace(
        PROFILE,
        layout=OutputLayout.DETECTIONS,
        outputs=("count", "boxes", "scores", "classes"),
        suppression=Suppression(0.4, 0.45, 2, boxes="picture"),
    )
    pictures = [PictureRef(index=number, size=(4 * SIDE, 4 * SIDE)) for number in range(3)]
    facts = measure_fidelity(
        Detector() if apart else PlacingDetector(),
        PlacingDetector(),
        Samples(FEEDS, "three", held_out=True, pictures=pictures),
        placing,
        own=Own(FEEDS, PROFILE) if apart else None,
    )
    assert facts.detection is not None
    assert facts.detection.map50_95 == pytest.approx(1)
    # Those shown lie in the network's input.
    assert facts.examples[0].compiled[0].box == (10.0, 20.0, 30.0, 40.0)
    assert facts.examples[0].original == facts.examples[0].compiled


def test_examples_are_of_the_pictures_named() -> None:
    pictures = [PictureRef(f"{number}.jpg") for number in range(len(FEEDS))]
    facts = measure_fidelity(
        Detector(), Detector(), Samples(FEEDS, "three", held_out=True, pictures=[None, *pictures[1:]]), PROFILE
    )
    assert [example.picture.file for example in facts.examples] == ["1.jpg", "2.jpg"]
    assert facts.examples[0].original == facts.examples[0].compiled
    assert facts.examples[0].original[0].box == (15.0, 20.0, 35.0, 40.0)
    assert _measure(_keep).examples == ()


class Halved(Detector):
    """Finds the same boxes in pictures of half the size."""

    def run(self, feeds: dict) -> dict:
        found = super().run(feeds)
        found["output"][..., :4] /= 2
        return {"output": found["output"][:, :5]}


def test_detections_at_two_sizes_are_compared_in_the_pictures() -> None:
    half = replace(PROFILE, input=replace(PROFILE.input, shape=(1, 3, SIDE // 2, SIDE // 2)))
    feeds = [{"images": feed["images"][..., ::2, ::2]} for feed in FEEDS]
    pictures = [PictureRef(index=number, size=(100, 80)) for number in range(3)]

    def measure(compiled: Session, preprocess: Preprocess):
        own = Own(FEEDS, replace(PROFILE, preprocess=preprocess))
        return measure_fidelity(
            Detector(),
            compiled,
            Samples(feeds, "three", held_out=True, pictures=pictures),
            replace(half, preprocess=preprocess),
            own=own,
        )

    for preprocess in (Preprocess(), Preprocess(letterbox=True)):
        facts = measure(Halved(), preprocess)
        assert facts.detection is not None
        assert facts.detection.map50_95 == pytest.approx(1)
        assert facts.outputs == ()
        example = facts.examples[0]
        assert example.size == (SIDE // 2, SIDE // 2)
        np.testing.assert_allclose(example.original[0].box, example.compiled[0].box, atol=0.2)
        # The same numbers at half the size are other places.
        assert (measure(Detector(), preprocess).detection or facts.detection).map50_95 < 0.5
