"""YOLOv8 with masks, keypoints and angles: its boxes and classes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest

import yocc
from tests.models.families.test_decoding import ran
from tests.networks.yolov8 import yolov8
from yocc.compiler.graph import load
from yocc.models.families.family import family_named, find_profile
from yocc.models.families.profile import ModelProfile, OutputLayout

STRIDES = (8, 16, 32)
FORMS = {"segment": (6, "masks"), "pose": (9, "keypoints"), "obb": (1, "angles")}


def built(task: str) -> onnx.ModelProto:
    return yolov8(0, size=64, strides=STRIDES, task=task, more=FORMS[task][0])


def profile_of(model: onnx.ModelProto) -> ModelProfile:
    profile = find_profile(load(model))
    assert profile is not None
    return profile


@pytest.mark.parametrize("task", sorted(FORMS))
def test_what_follows_the_classes_is_no_class(task: str) -> None:
    profile = profile_of(built(task))
    more, form = FORMS[task]
    assert (profile.layout, profile.form, profile.classes) == (OutputLayout.OWN, form, ("0", "1", "2"))
    channels = family_named("yolov8").channels((1, 7 + more, 84), profile)
    assert channels is not None
    assert [(label, len(numbers)) for label, numbers in channels.groups] == [("boxes", 4), ("classes", 3), (form, more)]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["segment", "pose"])
def test_boxes_and_scores_are_those_of_the_graph(task: str) -> None:
    model = built(task)
    columns = ran(model)["output0"][0]
    boxes, scores = family_named("yolov8").decode([columns], profile_of(model), 0.0)
    assert boxes.T.tolist() == columns[:4].tolist()
    assert scores.T.tolist() == columns[4:7].tolist()


def test_rotated_boxes_are_surrounded() -> None:
    model = built("obb")
    columns = ran(model)["output0"][0]
    boxes, _ = family_named("yolov8").decode([columns], profile_of(model), 0.0)
    for box, (x, y, width, height, *_, angle) in zip(boxes, columns.T.tolist(), strict=True):
        corners = [
            (
                x + across * width / 2 * math.cos(angle) - down * height / 2 * math.sin(angle),
                y + across * width / 2 * math.sin(angle) + down * height / 2 * math.cos(angle),
            )
            for across in (-1, 1)
            for down in (-1, 1)
        ]
        low, high = np.min(corners, axis=0), np.max(corners, axis=0)
        np.testing.assert_allclose(box, [*(low + high) / 2, *(high - low)], rtol=1e-3, atol=1e-3)


def test_masks_need_no_metadata() -> None:
    graph = load(built("segment"))
    graph.metadata = {}
    profile = find_profile(graph)
    assert profile is not None
    assert profile.classes == ("class_0", "class_1", "class_2")


@pytest.mark.parametrize("metadata", [{"task": "pose"}, {"task": "obb", "names": "[1, 2]"}, {"task": "segment"}])
def test_keypoints_and_angles_need_class_names(metadata: dict[str, str]) -> None:
    graph = load(built("pose"))
    graph.metadata = metadata
    assert find_profile(graph) is None


@pytest.mark.slow
def test_masks_are_compared_beside_the_detections(tmp_path: Path) -> None:
    onnx.save(built("segment"), tmp_path / "model.onnx")
    report = yocc.compile(
        tmp_path / "model.onnx", out=tmp_path / "out", pipeline="fuse,quantize", count=4, bench=False, html=False
    )
    assert report.fidelity is not None
    assert report.fidelity["confident"] is not None
    assert {(each.output, each.label) for each in report.fidelity["outputs"]} == {
        ("output0", ""), ("output0", "boxes"), ("output0", "classes"), ("output0", "masks"), ("output1", ""),
    }  # fmt: skip
