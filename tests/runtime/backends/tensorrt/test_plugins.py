from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

import yocc
from tests.outputs import DETECTORS, assert_same, changed, found, picture, run
from tests.passes.graphs import build
from tests.runtime.backends.tensorrt.needs import needs_rtx
from yocc.compiler.graph import Graph, load, save, to_proto
from yocc.compiler.pipeline.target import Target
from yocc.errors import OptionError
from yocc.passes import Nms
from yocc.runtime.backends.backend import Artifact
from yocc.runtime.backends.registry import find_backend
from yocc.runtime.backends.tensorrt.backend import TensorRtBackend
from yocc.runtime.backends.tensorrt.plugins import FullSession, efficient_nms, find_plugin
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "only up to EfficientNMS_TRT" in checks[-1].message


def _suppressing(op: str, domain: str) -> Graph:
    """Layers whose output is cut into boxes [1, 64, 4] and scores [1, 64, 3] for a node `nms`."""
    lines = [
        "a: h = Conv<pads = [1, 1, 1, 1]>(x, v)",
        "z: i = Relu(h)",
        "e: j = Conv(i, u)",
        "q: k = Relu(j)",
        "c: f = Conv(k, w)",
        "r: m = Reshape(f, shape)",
        "t: n = Transpose<perm = [0, 2, 1]>(m)",
        "s: boxes, raw = Split<axis = 2>(n, sizes)",
        "g: scores = Sigmoid(raw)",
    ]
    weights: dict[str, Any] = {"v": (32, 3, 3, 3), "u": (32, 32, 1, 1), "w": (7, 32, 1, 1)}
    weights |= {"shape": [1, 7, 64], "sizes": [4, 3]}
    graph = build(lines, weights, ["boxes", "scores"], [1, 3, 8, 8])
    tensors = graph.tensors()
    shapes = (("num_dets", np.int32, [1, 1]), ("det_boxes", np.float32, [1, 5, 4]))
    shapes += (("det_scores", np.float32, [1, 5]), ("det_classes", np.int32, [1, 5]))
    graph.outputs = [gs.Variable(name, dtype, shape) for name, dtype, shape in shapes]
    attributes = {"max_output_boxes": 5, "score_threshold": 0.4, "iou_threshold": 0.5, "box_coding": 1}
    attributes |= {"background_class": -1, "score_activation": 0, "plugin_version": "1"}
    inputs = [tensors["boxes"], tensors["scores"]]
    graph.nodes.append(gs.Node(op, "nms", attributes, inputs, list(graph.outputs), domain))
    graph.import_domains = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid(domain or "ai.onnx.ml", 1)]
    return graph


@pytest.mark.slow
@needs_rtx
@pytest.mark.parametrize("recipe", [{"int8": True, "fp16": True}, {"prune": 0.3, "recover": "none"}])
def test_a_model_that_comes_with_the_plugin_is_compressed_and_measured(tmp_path: Path, recipe: dict[str, Any]) -> None:
    model = to_proto(_suppressing("EfficientNMS_TRT", "TRT"))
    report = yocc.compile(model, target="tensorrt", **recipe, out=tmp_path / "out", bench=False, html=False, count=8)
    assert report.fidelity is not None
    nodes = onnx.load(tmp_path / "out" / "model.onnx").graph.node
    assert [node.domain for node in nodes if node.op_type == "EfficientNMS_TRT"] == ["TRT"]
    assert ("QuantizeLinear" in {node.op_type for node in nodes}) == ("int8" in recipe)
    assert not [text for text in report.warnings if "not run here" in text or "not measured" in text]


@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "ncnn", "tvm"])
def test_other_targets_say_whose_plugin_it_is(target: str) -> None:
    backend = find_backend(target)
    (reject,) = backend.validate(_suppressing("EfficientNMS_TRT", "TRT"), backend.target({}))
    assert reject.node == "nms"
    assert reject.reason.endswith("EfficientNMS_TRT")
    assert "--target tensorrt" in reject.hint


def test_plugins_of_the_user_are_taken_when_named() -> None:
    graph = _suppressing("MySuppression", "mine")
    backend = TensorRtBackend()
    (reject,) = backend.validate(graph, backend.target({}))
    assert (reject.node, "-O plugins=MySuppression" in reject.hint) == ("nms", True)
    assert backend.validate(graph, backend.target({"plugins": "Other,MySuppression"})) == []


@pytest.mark.parametrize("text", ["", "a b", "MyPool,", "My-Pool"])
def test_names_of_plugins_are_names(text: str) -> None:
    with pytest.raises(OptionError, match="plugins"):
        TensorRtBackend().target({"plugins": text})


@needs_rtx
def test_suppression_that_tensorrt_rtx_lacks_is_no_fault_of_the_model(tmp_path: Path) -> None:
    lines = ["b: q = Transpose<perm = [0, 2, 1]>(scores)", "k: kept = NonMaxSuppression(boxes, q, most, share, least)"]
    lines.append("d: y = Cast<to = 1>(kept)")
    weights: dict[str, Any] = {"w": (7, 4, 3, 3), "shape": [1, 7, 64], "sizes": [4, 3], "most": np.array([5], np.int64)}
    weights |= {"share": np.array([0.5], np.float32), "least": np.array([0.4], np.float32)}
    before = [
        "c: f = Conv<pads = [1, 1, 1, 1]>(x, w)",
        "r: m = Reshape(f, shape)",
        "t: n = Transpose<perm = [0, 2, 1]>(m)",
        "s: boxes, scores = Split<axis = 2>(n, sizes)",
    ]
    graph = build([*before, *lines], weights, ["y"])
    backend = TensorRtBackend()
    checks = backend.verify(backend.build(graph, backend.target({}), tmp_path), thorough=False)
    assert [check.passed for check in checks] == [True, True]
    assert "only up to NonMaxSuppression" in checks[-1].message


@needs_rtx
@pytest.mark.parametrize(
    ("op", "line", "weights"),
    [
        ("NonZero", "n: kept = NonZero(a)", {}),
        (
            "RoiAlign",
            "r: kept = RoiAlign<output_height = 2, output_width = 2>(a, regions, batches)",
            {"regions": np.ones((2, 4), np.float32), "batches": np.zeros(2, np.int64)},
        ),
        (
            "ScatterElements",
            'e: kept = ScatterElements<axis = 1, reduction = "add">(a, places, added)',
            {"places": np.zeros((1, 1, 1, 1), np.int64), "added": np.ones((1, 1, 1, 1), np.float32)},
        ),
    ],
)
def test_operators_that_tensorrt_rtx_lacks_are_no_fault_of_the_model(
    op: str, line: str, weights: dict[str, Any], tmp_path: Path
) -> None:
    lines = ["c: f = Conv(x, w)", "u: a = Relu(f)", line, "d: y = Cast<to = 1>(kept)"]
    graph = build(lines, {"w": (8, 4, 3, 3), **weights}, ["y"], opset=18)
    backend = TensorRtBackend()
    checks = backend.verify(backend.build(graph, backend.target({}), tmp_path), thorough=False)
    assert [check.passed for check in checks] == [True, True]
    assert f"only up to {op}" in checks[-1].message


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, [0, 1]),
        ({"class_agnostic": 1}, [0]),
        ({"background_class": 0}, [1]),
        ({"score_activation": 1, "score_threshold": 0.6}, [0, 1]),
    ],
)
def test_attributes_of_the_plugin(changed: dict[str, Any], wanted: list[int]) -> None:
    boxes = np.array([[[5, 5, 10, 10], [5, 5.5, 10, 10]]], np.float32)
    scores = np.array([[[0.9, 0], [0, 0.8]]], np.float32)
    options = {"max_output_boxes": 3, "score_threshold": 0.4, "iou_threshold": 0.5, "box_coding": 1, **changed}
    count, corners, _, kinds = efficient_nms(boxes, scores, options)
    assert count.tolist() == [[len(wanted)]]
    assert kinds[0, : len(wanted)].tolist() == wanted
    assert corners[0, 0].tolist() == ([0, 0.5, 10, 10.5] if wanted == [1] else [0, 0, 10, 10])


def test_a_model_without_it_is_whole(tmp_path: Path) -> None:
    onnx.save(DETECTORS["yolov8"](), tmp_path / "model.onnx")
    with FullSession(tmp_path / "model.onnx", threads=1) as session:
        assert [spec.name for spec in session.outputs] == ["output0"]


def test_large_biases_in_half_precision_stay_as_they_are(tmp_path: Path) -> None:
    """A bias of 7 over scales of 0.06 and 0.001 exceeds half precision, in which onnxruntime would divide."""
    constants = {
        "s": np.float16(0.06),
        "z": np.int8(0),
        "w": np.random.default_rng(0).integers(-127, 128, (4, 3, 1, 1)).astype(np.int8),
        "ws": np.full(4, 0.001, np.float16),
        "wz": np.zeros(4, np.int8),
        "b": np.full(4, 7, np.float16),
    }
    nodes = [
        onnx.helper.make_node("Cast", ["x"], ["h"], to=onnx.TensorProto.FLOAT16),
        onnx.helper.make_node("QuantizeLinear", ["h", "s", "z"], ["q"]),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        onnx.helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["v"], axis=0),
        onnx.helper.make_node("Conv", ["d", "v", "b"], ["c"]),
        onnx.helper.make_node("QuantizeLinear", ["c", "s", "z"], ["e"]),
        onnx.helper.make_node("DequantizeLinear", ["e", "s", "z"], ["f"]),
        onnx.helper.make_node("Cast", ["f"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "biases",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4, 8, 8])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    with FullSession(tmp_path / "model.onnx") as session:
        found = session.run({"x": np.ones((1, 3, 8, 8), np.float32)})["y"]
    np.testing.assert_allclose(found, 7, atol=0.5)
