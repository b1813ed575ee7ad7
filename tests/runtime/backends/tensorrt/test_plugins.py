from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from tests.outputs import DETECTORS, assert_same, changed, found, picture, run
from tests.runtime.backends.tensorrt.needs import needs_rtx
from yocc.compiler.graph import load, save
from yocc.compiler.pipeline.target import Target
from yocc.passes import Nms
from yocc.runtime.backends.backend import Artifact
from yocc.runtime.backends.tensorrt.backend import TensorRtBackend
from yocc.runtime.backends.tensorrt.plugins import FullSession, efficient_nms, find_plugin, without_plugin
from yocc.runtime.detection.boxes import selection_of

STEP = Nms(confidence=0.01, most=20)
TARGET = Target("gpu", suppression="efficient_nms")


def _saved(path: Path, name: str = "yolov8") -> Path:
    save(load(changed(DETECTORS[name](), STEP, TARGET)[0]), path)
    return path


def test_the_plugin_stands_at_the_end_with_its_attributes() -> None:
    model, _, after = changed(DETECTORS["yolov8"](), STEP, TARGET)
    plugin = find_plugin(model)
    assert plugin is not None
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in plugin.attribute}
    assert attributes["plugin_version"] == b"1"
    assert (attributes["box_coding"], attributes["background_class"], attributes["score_activation"]) == (0, -1, 0)
    assert attributes["score_threshold"] == np.float32(0.01)
    assert list(plugin.output) == list(after.outputs) == [each.name for each in model.graph.output]


def test_in_onnxruntime_it_finds_what_the_original_finds(tmp_path: Path) -> None:
    for name in ("yolov5", "yolov8", "yolox raw"):
        original = DETECTORS[name]()
        _, before, after = changed(original, STEP, TARGET)
        selection = selection_of(after)
        feed = picture(before)
        with FullSession(_saved(tmp_path / f"{name}.onnx", name), threads=1) as session:
            outputs = session.run({before.input_name: feed})
            assert [spec.name for spec in session.outputs] == list(outputs)
            assert all(spec.shape == outputs[spec.name].shape for spec in session.outputs)
            assert all(spec.dtype == outputs[spec.name].dtype for spec in session.outputs)
        assert_same(found(outputs, after, selection), found(run(original, feed), before, selection))


def test_efficient_nms_suppresses_within_classes_and_pads() -> None:
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 9], [1, 0, 11, 10], [40, 40, 50, 50]]], np.float32)
    scores = np.array([[[0.9, 0], [0.8, 0], [0, 0.7], [0, 0.05]]], np.float32)
    options = {"max_output_boxes": 4, "score_threshold": 0.1, "iou_threshold": 0.5}
    count, corners, values, kinds = efficient_nms(boxes, scores, options)
    assert count.tolist() == [[2]]
    assert corners[0].tolist() == [[0, 0, 10, 10], [1, 0, 11, 10], [0] * 4, [0] * 4]
    np.testing.assert_allclose(values, [[0.9, 0.7, 0, 0]])
    assert kinds.tolist() == [[0, 1, 0, 0]]


@needs_rtx
def test_nvidias_parser_takes_what_stands_before_the_plugin(tmp_path: Path) -> None:
    backend = TensorRtBackend()
    target = backend.target({})
    graph = load(_saved(tmp_path / "raw.onnx"))
    assert backend.validate(graph, target) == []
    (tmp_path / "out").mkdir()
    artifact = backend.build(graph, target, tmp_path / "out")
    checks = backend.verify(Artifact("tensorrt", artifact.folder, artifact.model), thorough=False)
    assert [check.passed for check in checks] == [True, True]
    assert "without its plugin" in checks[-1].message


def test_a_model_without_it_is_whole(tmp_path: Path) -> None:
    onnx.save(DETECTORS["yolov8"](), tmp_path / "model.onnx")
    assert without_plugin(tmp_path / "model.onnx") is None
    with FullSession(tmp_path / "model.onnx", threads=1) as session:
        assert [spec.name for spec in session.outputs] == ["output0"]
