from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort
import pytest
from PIL import Image

import yocc
from tests.networks.yolox import yolox
from yocc.analysis.heads import final_layers
from yocc.compiler.graph import load
from yocc.compiler.pipeline.passes import Detection
from yocc.models.families.family import family_named, find_profile
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.data.preprocess import Preprocess, prepare
from yocc.runtime.detection.boxes import SHOWING, Detections, detect
from yocc.runtime.detection.suppression import intersection_over_union

both = pytest.mark.parametrize("decoded", [False, True], ids=["raw", "decoded"])


def found(model: onnx.ModelProto | Path) -> ModelProfile:
    profile = find_profile(load(model))
    assert profile is not None
    return profile


def run(model: onnx.ModelProto, feed: np.ndarray[Any, Any]) -> Mapping[str, np.ndarray[Any, Any]]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"images": feed})
    return {"output": output}


@both
@pytest.mark.parametrize("classes", [1, 3, 80])
def test_both_forms_are_recognized(decoded: bool, classes: int) -> None:
    model = yolox(0, classes=classes, decoded=decoded)
    profile = found(model)
    assert (profile.family, len(profile.classes)) == ("yolox", classes)
    assert profile.layout is (OutputLayout.ROWS if decoded else OutputLayout.OWN)
    assert profile.strides == (8, 16, 32)
    assert profile.preprocess == Preprocess("bgr", 1.0, letterbox=True, alignment="top_left")
    assert profile.detection == Detection(classes, objectness=True, decoupled=True)
    assert profile.protected == {node.outputs[0].name for node in final_layers(load(model))}
    assert len(profile.protected) == 9


def test_neither_names_nor_metadata_are_needed() -> None:
    graph = load(yolox(0, names=False))
    for number, node in enumerate(graph.nodes):
        node.name = f"n{number}"
    profile = find_profile(graph)
    assert profile is not None
    assert profile.classes == ("class_0", "class_1", "class_2")


def test_open_sizes() -> None:
    graph = load(yolox(0))
    graph.inputs[0].shape = ["batch", 3, "height", "width"]
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Variable) and tensor is not graph.inputs[0] and tensor.shape is not None:
            tensor.shape = [None] * len(tensor.shape)
    profile = find_profile(graph)
    assert profile is not None
    assert (profile.family, profile.size, len(profile.classes)) == ("yolox", (640, 640), 3)


def test_with_as_many_classes_as_a_box_has_sides_layers_cannot_be_told_apart() -> None:
    assert found(yolox(0, classes=4)).detection is None


def _without_sigmoid(graph: gs.Graph) -> None:
    for node in [node for node in graph.nodes if node.op == "Sigmoid" and node.outputs[0].outputs[0].op == "Concat"]:
        node.op = "Tanh"


def _shuffled(graph: gs.Graph) -> None:
    for node in graph.nodes:
        if node.op == "Concat" and len(node.inputs) == 3 and node.attrs["axis"] == 1:
            node.inputs = [node.inputs[1], node.inputs[0], node.inputs[2]]


def _coarsest_first(graph: gs.Graph) -> None:
    joined = next(node for node in graph.nodes if node.op == "Concat" and node.attrs["axis"] == 2)
    joined.inputs = list(joined.inputs)[::-1]


def _other_count(graph: gs.Graph) -> None:
    graph.outputs[0].shape = [1, 85, 8]


def _scaled_outside_the_sigmoid(graph: gs.Graph) -> None:
    output = graph.outputs[0]
    inner = gs.Variable("inner", np.float32, output.shape)
    output.inputs[0].outputs = [inner]
    graph.nodes.append(
        gs.Node("Mul", "scale", inputs=[inner, gs.Constant("two", np.array(2, np.float32))], outputs=[output])
    )


@pytest.mark.parametrize(
    "change", [_without_sigmoid, _shuffled, _coarsest_first, _other_count, _scaled_outside_the_sigmoid]
)
def test_other_heads_are_not_recognized(change: Any) -> None:
    graph = load(yolox(0))
    change(graph)
    assert find_profile(graph) is None


def test_decoding_the_raw_form_gives_what_the_graph_itself_decodes() -> None:
    feed = np.random.default_rng(1).uniform(0, 255, (1, 3, 64, 64)).astype(np.float32)
    boxes = []
    for decoded in (False, True):
        model = yolox(5, decoded=decoded)
        profile = found(model)
        output = run(model, feed)["output"][0]
        boxes.append(family_named("yolox").decode([output], profile, 0.0))
    assert len(boxes[0][0]) == 84
    assert np.abs(boxes[0][0]).max() > 10
    for raw, own in zip(*boxes, strict=True):
        np.testing.assert_allclose(raw, own, rtol=0, atol=1e-4)


def test_oblong_grids() -> None:
    profile = found(yolox(0))
    wide = ModelProfile(
        "yolox", OutputLayout.OWN, ("output",), ("a",), (8, 16, 32),
        type(profile.input)("images", (1, 3, 32, 64), np.dtype(np.float32)), profile.preprocess,
    )  # fmt: skip
    rows = np.zeros((4 * 8 + 2 * 4 + 2, 6), np.float32)
    rows[:, 4:] = 1
    boxes, scores = family_named("yolox").decode([rows], wide, 0.5)
    assert boxes[9].tolist() == [8, 8, 8, 8]
    assert boxes[32 + 5].tolist() == [16, 16, 16, 16]
    assert boxes[-1].tolist() == [32, 0, 32, 32]
    assert scores.tolist() == [[1.0]] * 42


def _pictures(folder: Path, count: int = 4) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, (40, 64, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.slow
@both
@pytest.mark.parametrize("options", [{"int8": True}, {"prune": 0.2, "int8": True}], ids=["int8", "prune int8"])
def test_compiled_detectors_stay_detectors(decoded: bool, options: dict[str, Any], tmp_path: Path) -> None:
    onnx.save(yolox(3, decoded=decoded), tmp_path / "model.onnx")
    yocc.compile(
        tmp_path / "model.onnx", out=tmp_path / "out", calibration=_pictures(tmp_path / "pictures"), bench=False,
        **options,
    )  # fmt: skip
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["input"]["origin"] == "family"
    assert (report["input"]["color"], report["input"]["scale"]) == ("bgr", 1)
    assert report["input"]["alignment"] == "top_left"
    assert report["fidelity"]["confident"] is not None
    assert not any("assumed" in text for text in report["warnings"])
    graph = load(tmp_path / "out" / "model.onnx")
    assert found(tmp_path / "out" / "model.onnx").layout is (OutputLayout.ROWS if decoded else OutputLayout.OWN)
    last = final_layers(graph)
    assert len(last) == 9
    assert all(isinstance(node.inputs[1], gs.Constant) for node in last)
    assert any(node.op == "QuantizeLinear" for node in graph.nodes)


class TestPublished:
    """YOLOX-Nano as its authors export it, without grids."""

    @pytest.fixture
    def model(self, shared_data: Path) -> Path:
        return shared_data / "models" / "yolox_nano.onnx"

    def test_it_finds_persons_and_a_bus(self, model: Path, shared_data: Path) -> None:
        profile = found(model)
        assert (profile.family, profile.size, len(profile.classes)) == ("yolox", (416, 416), 80)
        bus = look(model, shared_data / "images" / "bus.jpg", profile)
        assert bus.classes[:4].tolist().count(0) >= 3
        assert 5 in bus.classes
        (edges,) = bus.boxes[bus.classes == 5][:1]
        assert edges == pytest.approx([20, 230, 800, 750], abs=60)
        assert look(model, shared_data / "images" / "zidane.jpg", profile).classes.tolist().count(0) == 2

    @pytest.mark.slow
    def test_int8_finds_what_the_original_is_sure_of_within_one(
        self, model: Path, shared_data: Path, tmp_path: Path
    ) -> None:
        profile = found(model)
        yocc.compile(
            model, out=tmp_path / "out", int8=True, calibration=shared_data / "images" / "calib178", count=32,
            bench=False,
        )  # fmt: skip
        for name in ("bus.jpg", "zidane.jpg"):
            sure = look(model, shared_data / "images" / name, profile).above(0.6)
            after = look(tmp_path / "out" / "model.onnx", shared_data / "images" / name, profile)
            overlaps = intersection_over_union(sure.boxes, after.boxes)
            again = ((overlaps > 0.5) & (sure.classes[:, None] == after.classes[None])).any(axis=1)
            assert len(sure) >= 2
            assert (~again).sum() <= 1


def look(model: Path, picture: Path, profile: ModelProfile) -> Detections:
    array, placement = prepare(read_picture(picture), profile.preprocess, profile.input)
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    outputs = dict(zip(profile.outputs, session.run(None, {profile.input_name: array}), strict=True))
    return detect(outputs, profile, placement, SHOWING)


@pytest.mark.parametrize("classes", [3, 4])
@pytest.mark.slow
def test_as_many_classes_as_box_sides_leave_a_note(classes: int, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(yolox(0, classes=classes), path)
    assert (found(path).detection is None) == (classes == 4)
    yocc.compile(
        path, out=tmp_path / "out", pipeline="simplify,prune{ratio=0.1}", bench=False, fidelity=False, html=False
    )
    assert ("cannot be told apart" in (tmp_path / "out" / "report.json").read_text()) == (classes == 4)
