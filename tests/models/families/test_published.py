"""Published detectors in int8 find what they found, on the two well-known sample pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import yocc
from yocc.compiler.graph import load
from yocc.models.families.family import find_profile
from yocc.models.families.profile import ModelProfile
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.data.preprocess import prepare
from yocc.runtime.detection.boxes import SHOWING, Detections, detect
from yocc.runtime.detection.suppression import intersection_over_union

SURE = 0.35
"""Confidence of what has to be found again: detections near the threshold of 0.25 come and go with rounding."""


def look(model: Path, picture: Path, profile: ModelProfile) -> Detections:
    array, placement = prepare(read_picture(picture), profile.preprocess, profile.input)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return detect(
        dict(zip(names, session.run(names, {profile.input_name: array}), strict=True)), profile, placement, SHOWING
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nanodet_m", "fastestv2", "yunet", "ultraface_rfb320_op9"])
def test_int8_finds_what_the_original_finds_within_one(name: str, shared_data: Path, tmp_path: Path) -> None:
    model, pictures = shared_data / "models" / f"{name}.onnx", shared_data / "images"
    profile = find_profile(load(model))
    assert profile is not None
    yocc.compile(
        model, out=tmp_path / "out", int8=True, calibration=pictures / "calib178", count=32, bench=False,
        fidelity=False, html=False,
    )  # fmt: skip
    small = tmp_path / "out" / "model.onnx"
    again = find_profile(load(small))
    assert again is not None
    assert (again.family, again.outputs, again.protected) == (profile.family, profile.outputs, profile.protected)
    for picture in ("bus.jpg", "zidane.jpg"):
        sure = look(model, pictures / picture, profile).above(SURE)
        after = look(small, pictures / picture, profile)
        overlaps = intersection_over_union(sure.boxes, after.boxes)
        kept = ((overlaps > 0.5) & (sure.classes[:, None] == after.classes[None])).any(axis=1)
        assert len(sure) >= 2
        assert int(np.count_nonzero(~kept)) <= 1
