from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from tests.models.detectors import Writer, columns, raw, rows, shaped
from yocc.compiler.graph import load
from yocc.models.families.family import find_profile
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.models.families.yolov5 import YOLOV5_ANCHORS, YOLOV5_P6_ANCHORS
from yocc.models.yolov5 import build_yolov5

RAW = [[1, 21, 8, 8], [1, 21, 4, 4], [1, 21, 2, 2]]
OPEN = ("batch", 3, "height", "width")


def found(graph: gs.Graph) -> ModelProfile:
    profile = find_profile(graph)
    assert profile is not None
    return profile


class TestRows:
    def test_static_shapes(self) -> None:
        profile = found(rows([1, 252, 7]))
        assert (profile.family, profile.layout) == ("yolov5", OutputLayout.ROWS)
        assert profile.classes == ("cat", "dog")
        assert profile.strides == (8, 16, 32)
        assert profile.size == (64, 64)
        assert profile.input_name == "pixels"
        assert len(profile.protected) == 3
        assert profile.preprocess.letterbox
        assert profile.preprocess.scale == 1 / 255

    def test_four_scales(self) -> None:
        assert found(rows([1, 255, 7])).strides == (8, 16, 32, 64)

    def test_oblong_input(self) -> None:
        assert found(rows([1, 3 * (64 + 16 + 4), 7], size=(1, 3, 32, 128))).size == (32, 128)

    def test_the_head_is_protected_by_what_it_writes(self) -> None:
        graph = rows([1, 252, 7])
        heads = {node.outputs[0].name for node in graph.nodes if node.op == "Conv" and node.inputs[1].shape[0] == 21}
        assert found(graph).protected == heads

    @pytest.mark.parametrize("shape", [["b", "n", "c"], ["b", "n", 7]])
    def test_open_shapes_are_read_from_the_convolutions(self, shape: list[int | str]) -> None:
        profile = found(rows(shape, size=OPEN))
        assert profile.layout is OutputLayout.ROWS
        assert profile.classes == ("cat", "dog")
        assert profile.input.shape == (1, 3, 640, 640)

    def test_open_size_from_metadata(self) -> None:
        names = {"names": "['cat', 'dog']"}
        assert found(rows(["b", "n", 7], names | {"imgsz": "[320, 416]"}, OPEN)).size == (320, 416)
        assert found(rows(["b", "n", 7], names | {"imgsz": "320"}, OPEN)).size == (320, 320)
        for odd in ("'large'", "True", "[True, 320]", "[320]", "0", str(10**9)):
            assert found(rows(["b", "n", 7], names | {"imgsz": odd}, OPEN)).size == (640, 640)

    def test_raw_heads_beside_the_rows_are_allowed(self) -> None:
        graph = rows([1, 252, 7])
        convolutions = [node for node in graph.nodes if node.op == "Conv" and node.inputs[1].shape[0] == 21]
        for node, side in zip(convolutions, (8, 4, 2), strict=True):
            graph.outputs.append(shaped(node.outputs[0], [1, 3, side, side, 7]))
        assert found(graph).outputs == (graph.outputs[0].name,)

    def test_mask_prototypes_beside_the_rows_are_not(self) -> None:
        graph = rows([1, 252, 39], metadata={})
        prototype = gs.Variable("prototype", np.float32, [1, 32, 16, 16])
        graph.outputs.append(prototype)
        assert find_profile(graph) is None

    @pytest.mark.parametrize("shape", [[1, 251, 7], [1, 84, 7], [1, 252, 5], [1, 252], [1, 252, 8], None])
    def test_other_shapes_are_not_recognized(self, shape: list[int | str] | None) -> None:
        assert find_profile(rows(shape)) is None

    @pytest.mark.parametrize("channels", [(21, 21, 24), (21, 21), (22, 22, 22)])
    def test_other_heads_with_open_shapes_are_not_recognized(self, channels: tuple[int, ...]) -> None:
        assert find_profile(rows(["b", "n", "c"], size=OPEN, channels=channels)) is None


class TestRawHeads:
    @pytest.mark.parametrize(
        "shapes", [RAW, [[1, 3, 8, 8, 7], [1, 3, 4, 4, 7], [1, 3, 2, 2, 7]]], ids=["four axes", "five axes"]
    )
    def test_both_forms(self, shapes: list[list[int | str]]) -> None:
        profile = found(raw(shapes))
        assert profile.layout is OutputLayout.RAW_HEADS
        assert profile.strides == (8, 16, 32)
        assert profile.anchors == YOLOV5_ANCHORS
        assert not profile.squashed

    def test_outputs_are_ordered_by_stride(self) -> None:
        graph = raw(RAW[::-1])
        assert found(graph).outputs == tuple(output.name for output in reversed(graph.outputs))

    def test_sigmoid_in_the_graph(self) -> None:
        assert found(raw(RAW, sigmoid=True)).squashed

    def test_four_heads_have_their_own_anchors(self) -> None:
        profile = found(raw([*RAW, [1, 21, 1, 1]]))
        assert profile.strides == (8, 16, 32, 64)
        assert profile.anchors == YOLOV5_P6_ANCHORS

    def test_anchors_from_metadata(self) -> None:
        stated = {"names": "['cat', 'dog']", "anchors": str([[[1, 2], [3, 4], [5, 6]]] * 3)}
        assert found(raw(RAW, stated)).anchors == (((1.0, 2.0), (3.0, 4.0), (5.0, 6.0)),) * 3

    def test_open_shapes(self) -> None:
        shapes: list[list[int | str]] = [["b", 21, "h", "w"]] * 3
        assert found(raw(shapes, size=OPEN)).strides == (8, 16, 32)

    def test_features_are_not_heads(self) -> None:
        assert find_profile(raw(RAW, kernel=3)) is None
        assert find_profile(raw(RAW[:2])) is None
        assert find_profile(raw(RAW, channels=24)) is None
        assert find_profile(raw([RAW[0]] * 3)) is None


class TestColumns:
    def test_static_shapes(self) -> None:
        profile = found(columns([1, 6, 84]))
        assert (profile.family, profile.layout) == ("yolov8", OutputLayout.COLUMNS)
        assert profile.classes == ("cat", "dog")
        assert len(profile.protected) == 6

    def test_open_shapes(self) -> None:
        profile = found(columns(["b", 6, "n"], size=OPEN))
        assert profile.layout is OutputLayout.COLUMNS
        assert profile.strides == (8, 16, 32)

    def test_keypoints_and_other_tasks_are_not_recognized(self) -> None:
        assert find_profile(columns([1, 57, 84])) is None
        assert find_profile(columns([1, 6, 84], {"names": "['cat', 'dog']", "task": "segment"})) is None

    def test_finished_detections_are_not_recognized(self) -> None:
        assert find_profile(columns([1, 300, 6])) is None


class TestNames:
    @pytest.mark.parametrize("names", ["['cat', 'dog']", "('cat', 'dog')", "{1: 'dog', 0: 'cat'}"])
    def test_as_printed(self, names: str) -> None:
        assert found(rows([1, 252, 7], {"names": names})).classes == ("cat", "dog")

    @pytest.mark.parametrize("names", ["", "cat, dog", "__import__('os')", "[", "[]", "3", "{'a': 'cat', 2: 'dog'}"])
    def test_unreadable_names_are_numbered(self, names: str) -> None:
        assert found(rows([1, 252, 7], {"names": names})).classes == ("class_0", "class_1")

    def test_absent_metadata(self) -> None:
        assert found(rows([1, 252, 7], {})).classes == ("class_0", "class_1")


@pytest.mark.parametrize("shape", [(1, 3, 64), (1, 4, 64, 64)])
def test_other_inputs_are_not_recognized(shape: tuple[int, ...]) -> None:
    assert find_profile(rows([1, 252, 7], size=shape)) is None


def test_pictures_smaller_than_a_cell_have_no_grid_that_tells() -> None:
    assert find_profile(rows([1, 12, 12], size=(1, 3, 12, 12))) is None


def test_two_inputs_are_not_recognized() -> None:
    graph = rows([1, 252, 7])
    graph.inputs.append(gs.Variable("scale", np.float32, [1]))
    assert find_profile(graph) is None


def test_channels_last_input() -> None:
    profile = found(rows([1, 252, 7], size=(1, 64, 64, 3)))
    assert profile.size == (64, 64)
    assert not profile.input.channels_first


def test_integer_input_takes_raw_pixels() -> None:
    graph = rows([1, 252, 7])
    graph.inputs[0].dtype = np.uint8
    assert found(graph).preprocess.scale == 1.0


def test_a_classifier_is_not_recognized() -> None:
    write = Writer()
    scores = write.add("Flatten", [write.conv(write.input, 10)])[0]
    assert find_profile(write.graph([shaped(scores, [1, 10])])) is None


@pytest.mark.parametrize(
    "name",
    ["yolov5n.onnx", "yolov5n_bn.onnx", "yolov5n_raw_op12.onnx", "yolov5n_dynamic.onnx", "yolov5n_fp16cast_op12.onnx"],
)
@pytest.mark.slow
def test_published_detectors(shared_data: Path, name: str) -> None:
    profile = found(load(shared_data / "models" / name))
    assert profile.family == "yolov5"
    assert profile.layout is OutputLayout.ROWS
    assert (len(profile.classes), profile.classes[0], profile.classes[79]) == (80, "person", "toothbrush")
    assert profile.input.shape == (1, 3, 640, 640)
    assert len(profile.protected) == 3


@pytest.mark.parametrize("name", ["squeezenet11.onnx"])
def test_other_networks(shared_data: Path, name: str) -> None:
    assert find_profile(load(shared_data / "models" / name)) is None


@pytest.mark.parametrize("decoded", [True, False])
@pytest.mark.parametrize(("classes", "size"), [(1, 64), (3, (96, 160))])
def test_built_detectors(decoded: bool, classes: int, size: int | tuple[int, int]) -> None:
    profile = found(load(build_yolov5("n", classes=classes, size=size, decoded=decoded)))
    assert profile.layout is (OutputLayout.ROWS if decoded else OutputLayout.RAW_HEADS)
    assert len(profile.classes) == classes
    assert profile.strides == (8, 16, 32)
    assert profile.size == (size if isinstance(size, tuple) else (size, size))
    assert len(profile.protected) == 3
