"""Non-maximum suppression in ncnn's DetectionOutput: what ncnn finds is what yocc's own decoding finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.outputs import DETECTORS, assert_same, changed, found, picture, run
from tests.runtime.backends.ncnn.running import ncnn_outputs, needs_ncnn
from yocc.compiler.graph import load, to_proto
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.stages.outputs import detector_outputs, read_profile_as
from yocc.errors import BackendError, OptionError
from yocc.models.families.family import find_profile
from yocc.passes import Nms, ResizeInput
from yocc.runtime.backends.ncnn.backend import NcnnBackend
from yocc.runtime.backends.ncnn.detections import four_outputs
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.data.preprocess import prepare
from yocc.runtime.detection.boxes import SHOWING, selection_of

STEP = Nms(confidence=0.002, overlap=0.45, most=20)
TARGET = NcnnBackend().target({})


def _given(model: onnx.ModelProto, step: Nms, feed: Any) -> dict[str, Any]:
    suppressing, before, _ = changed(model, step, TARGET)
    return ncnn_outputs(suppressing, {before.input_name: feed})


@pytest.mark.slow
@needs_ncnn
@pytest.mark.parametrize("name", DETECTORS)
def test_detections_are_those_of_the_original(name: str) -> None:
    suppressing, before, after = changed(DETECTORS[name](), STEP, TARGET)
    selection = selection_of(after)
    for seed in range(2):
        feed = picture(before, seed)
        outputs = ncnn_outputs(suppressing, {before.input_name: feed})
        wanted = found(run(DETECTORS[name](), feed), before, selection)
        assert len(wanted) > 2
        assert_same(found(outputs, after, selection), wanted, pixels=0.01)


@pytest.mark.slow
@needs_ncnn
@pytest.mark.parametrize("name", ["yolov5", "yolov8", "yolox"])
def test_detections_are_chosen_behind_the_decoded_output_of_an_open_graph(name: str) -> None:
    graph = load(DETECTORS[name]())
    profile = find_profile(graph)
    assert profile is not None
    outputs = detector_outputs(profile, graph, {profile.input_name: profile.input.shape})
    assert outputs is not None
    context = replace(PassContext.for_model(graph, TARGET), outputs=replace(outputs, heads=None))
    graph, _ = Pipeline((STEP,)).run(graph, context)
    after, feed = read_profile_as(profile, STEP, outputs), picture(profile)
    backend = NcnnBackend()
    selection = selection_of(after)
    wanted = found(run(DETECTORS[name](), feed), profile, selection)
    assert backend.validate(graph, TARGET) == []
    given = ncnn_outputs(to_proto(graph), {profile.input_name: feed})
    assert_same(found(given, after, selection), wanted, pixels=0.01)


@needs_ncnn
def test_nothing_is_found_and_so_many_are_given() -> None:
    model = DETECTORS["yolox"]()
    feed = picture(changed(model, STEP, TARGET)[1])
    nothing = _given(model, replace(STEP, confidence=1.0), feed)
    assert {key: (value.shape, value.dtype.name) for key, value in nothing.items()} == {
        "num_dets": ((1, 1), "int32"),
        "det_boxes": ((1, 20, 4), "float32"),
        "det_scores": ((1, 20), "float32"),
        "det_classes": ((1, 20), "int32"),
    }
    assert not any(array.any() for array in nothing.values())
    few = _given(model, replace(STEP, most=3), feed)
    assert few["num_dets"].tolist() == [[3]]
    assert (few["det_scores"] > 0).all()


def test_rows_become_four_outputs() -> None:
    rows = np.array([[3, 0.9, 1, 2, 3, 4], [1, 0.5, 5, 6, 7, 8]], np.float32)
    count, boxes, scores, classes = four_outputs(rows, most=3)
    assert count.tolist() == [[2]]
    assert boxes.tolist() == [[[1, 2, 3, 4], [5, 6, 7, 8], [0, 0, 0, 0]]]
    assert scores[0] == pytest.approx([0.9, 0.5, 0])
    assert classes.tolist() == [[2, 0, 0]]
    assert four_outputs(np.zeros(0, np.float32), most=3)[0].tolist() == [[0]]


@pytest.mark.slow
def test_several_pictures_and_cut_heads_are_refused(tmp_path: Path) -> None:
    graph = load(DETECTORS["yolov8"]())
    profile = find_profile(graph)
    assert profile is not None
    outputs = detector_outputs(profile, graph, {profile.input_name: profile.input.shape})
    context = replace(PassContext.for_model(graph, TARGET), outputs=outputs, cells=profile.cells)
    with pytest.raises(OptionError, match="one picture at a time, not 2"):
        Pipeline((ResizeInput(batch="2"), STEP)).run(graph, context)
    model, _, _ = changed(DETECTORS["yolov8"](), STEP, TARGET)
    backend = NcnnBackend()
    with pytest.raises(BackendError, match="leaves no boxes for non-maximum suppression"):
        backend.build(load(model), backend.target({"head": "raw"}), tmp_path)


@pytest.mark.slow
@needs_ncnn
@pytest.mark.parametrize("name", ["yolov5n", "yolov5n_raw_op12", "yolox_nano"])
def test_detections_of_real_models_in_real_pictures(
    name: str, shared_model: Callable[[str], Path], shared_data: Path
) -> None:
    original = onnx.load(shared_model(name))
    model, before, after = changed(original, Nms(), TARGET)
    for file in ("bus.jpg", "zidane.jpg"):
        feed, _ = prepare(read_picture(shared_data / "images" / file), before.preprocess, before.input)
        wanted = found(run(original, feed), before, SHOWING)
        assert len(wanted) > 1
        assert_same(found(ncnn_outputs(model, {before.input_name: feed}), after, SHOWING), wanted, pixels=0.05)
