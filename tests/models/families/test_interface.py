"""How a model is fed and read, as JSON and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from yocc.models.families.interface import decode_facts, preprocess_facts, read_preprocess, read_profile
from yocc.models.families.profile import ModelProfile, OutputLayout, Suppression
from yocc.runtime.data.preprocess import InputSpec, Preprocess


def _through_json(facts: dict) -> dict:
    read: dict = json.loads(json.dumps(facts))
    return read


@pytest.mark.parametrize(
    ("shape", "dtype", "layout"),
    [((1, 3, 64, 96), np.float32, "NCHW"), ((2, 64, 96, 3), np.uint8, "NHWC"), ((1, 1, 8, 8), np.float16, "NCHW")],
)
def test_an_input_and_its_preprocessing_survive(shape: tuple[int, ...], dtype: type, layout: str) -> None:
    spec = InputSpec("images", shape, np.dtype(dtype))
    how = Preprocess("bgr", 1 / 255, (0.5, 0.25, 0.125), (2.0,), True, 114, "top_left")
    facts = _through_json(preprocess_facts(spec, how))
    assert facts["layout"] == layout
    assert [facts["height"], facts["width"]] == list(spec.size)
    assert read_preprocess(facts) == (spec, how)


def test_a_detector_survives() -> None:
    spec, how = InputSpec("images", (1, 3, 64, 64), np.dtype(np.float32)), Preprocess(letterbox=True)
    anchors = (((10.0, 13.0), (16.5, 30.0)), ((1.0, 2.0), (3.0, 4.0)))
    profile = ModelProfile(
        "yolov5", OutputLayout.RAW_HEADS, ("a", "b"), ("cat", "dög"), (8, 16), spec, how, anchors=anchors, squashed=True
    )
    assert read_profile(_through_json(decode_facts(profile)), spec, how) == profile


@pytest.mark.parametrize("boxes", ["input", "picture"])
def test_a_detector_that_suppresses_survives(boxes: Any) -> None:
    spec, how = InputSpec("images", (1, 3, 64, 64), np.dtype(np.float32)), Preprocess(letterbox=True)
    own = Suppression(0.25, 0.45, 100, boxes)
    profile = ModelProfile(
        "yolov8", OutputLayout.DETECTIONS, ("n", "b", "s", "c"), ("cat",), (8,), spec, how, suppression=own
    )
    facts = _through_json(decode_facts(profile))
    assert read_profile(facts, spec, how) == profile
    assert profile.finds_in_picture == (boxes == "picture")
    # Reports of earlier releases do not say it.
    del facts["suppression"]["boxes"]
    assert not read_profile(facts, spec, how).finds_in_picture
    with pytest.raises(ValueError, match="screen"):
        read_profile({**facts, "suppression": {**facts["suppression"], "boxes": "screen"}}, spec, how)


def test_what_is_no_such_record_is_refused() -> None:
    with pytest.raises(KeyError):
        read_preprocess({"input": "images"})
    with pytest.raises(KeyError):
        read_profile({"layout": "unheard of"}, InputSpec("x", (1,), np.dtype(np.float32)), Preprocess())
