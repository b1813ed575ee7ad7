from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from yocc.compiler.graph import clone, load, to_proto
from yocc.errors import InternalError, OptionError
from yocc.models.families.family import find_profile
from yocc.models.families.profile import ModelProfile, OutputLayout, Suppression
from yocc.models.families.yolov5 import YOLOV5_ANCHORS
from yocc.runtime.data.letterbox import Placement, read_picture
from yocc.runtime.data.preprocess import InputSpec, Preprocess, prepare
from yocc.runtime.detection.boxes import (
    SCORING,
    SHOWING,
    Detections,
    Selection,
    candidates,
    detect,
    selection_of,
    suppress_candidates,
)

PROFILE = ModelProfile(
    family="yolov5",
    layout=OutputLayout.ROWS,
    outputs=("out",),
    classes=("cat", "dog"),
    strides=(8, 16, 32),
    input=InputSpec("pixels", (1, 3, 64, 64), np.dtype(np.float32)),
    preprocess=Preprocess(letterbox=True),
)
RAW = replace(PROFILE, layout=OutputLayout.RAW_HEADS, outputs=("fine", "middle", "coarse"), anchors=YOLOV5_ANCHORS)
COLUMNS = replace(PROFILE, layout=OutputLayout.COLUMNS)
MULTI = Selection(confidence=0.1, overlap=0.5, multi_label=True)
SINGLE = Selection(confidence=0.1, overlap=0.5, multi_label=False)


def logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


class TestSuppressedInTheGraph:
    profile = replace(
        PROFILE,
        layout=OutputLayout.DETECTIONS,
        outputs=("count", "boxes", "scores", "classes"),
        suppression=Suppression(0.1, 0.3, 4),
    )
    outputs = {  # noqa: RUF012 # read only
        "count": np.array([[3]], np.int32),
        # Two that overlap: what the graph leaves stays.
        "boxes": np.array([[[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 0, 0]]], np.float32),
        "scores": np.array([[0.9, 0.8, 0.2, 0.7]], np.float32),
        "classes": np.array([[1, 1, 0, 0]], np.int32),
    }

    def test_detections_are_taken_as_they_are(self) -> None:
        found = detect(self.outputs, self.profile, Placement((64, 64), (0.5, 0.5), (0, 0)), SCORING)
        assert found.boxes.tolist() == [[0, 0, 20, 20], [0, 0, 20, 20], [40, 40, 60, 60]]
        assert found.scores == pytest.approx([0.9, 0.8, 0.2])
        assert found.classes.tolist() == [1, 1, 0]

    def test_boxes_of_the_picture_stay(self) -> None:
        own = replace(self.profile, suppression=Suppression(0.1, 0.3, 4, boxes="picture"))
        found = detect(self.outputs, own, Placement((64, 64), (0.5, 0.5), (0, 8)), SCORING)
        assert found.boxes.tolist() == [[0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30]]

    def test_fewer_can_be_asked_for(self) -> None:
        assert len(candidates(self.outputs, self.profile, replace(SINGLE, confidence=0.5))) == 2
        assert len(candidates(self.outputs, self.profile, replace(SINGLE, most=1))) == 1

    def test_an_original_is_read_by_the_same_thresholds(self) -> None:
        assert selection_of(self.profile) == Selection(0.1, 0.3, multi_label=False, most=4)
        assert selection_of(PROFILE) == SCORING


class TestRows:
    rows = np.array(
        [[[20, 30, 10, 20, 0.9, 0.5, 0.8], [40, 40, 4, 4, 0.05, 1.0, 1.0], [10, 10, 2, 2, 0.5, 0.1, 0.4]]], np.float32
    )

    def test_several_labels(self) -> None:
        found = candidates({"out": self.rows}, PROFILE, MULTI)
        assert found.scores == pytest.approx([0.72, 0.45, 0.2], abs=1e-6)
        assert found.classes.tolist() == [1, 0, 1]
        assert found.boxes.tolist() == [[15, 20, 25, 40], [15, 20, 25, 40], [9, 9, 11, 11]]

    def test_one_label(self) -> None:
        found = candidates({"out": self.rows}, PROFILE, SINGLE)
        assert found.classes.tolist() == [1, 1]
        assert found.scores == pytest.approx([0.72, 0.2], abs=1e-6)

    def test_half_precision_outputs(self) -> None:
        found = candidates({"out": self.rows.astype(np.float16)}, PROFILE, MULTI)
        assert found.scores.dtype == np.float32
        assert found.scores == pytest.approx([0.72, 0.45, 0.2], abs=1e-3)


class TestColumns:
    columns = np.array([[[20, 40], [30, 40], [10, 4], [20, 4], [0.5, 0.02], [0.8, 0.03]]], np.float32)

    def test_several_labels(self) -> None:
        found = candidates({"out": self.columns}, COLUMNS, MULTI)
        assert found.scores == pytest.approx([0.8, 0.5], abs=1e-6)
        assert found.classes.tolist() == [1, 0]
        assert found.boxes.tolist() == [[15, 20, 25, 40]] * 2

    def test_one_label(self) -> None:
        assert candidates({"out": self.columns}, COLUMNS, SINGLE).classes.tolist() == [1]


class TestRawHeads:
    def heads(self) -> dict[str, np.ndarray]:
        """One object in the second anchor of the middle head, at row 2, column 1."""
        shapes = {"fine": (1, 21, 8, 8), "middle": (1, 21, 4, 4), "coarse": (1, 21, 2, 2)}
        outputs = {name: np.full(shape, -200.0, np.float32) for name, shape in shapes.items()}
        values = [0.5, 0.75, 0.5, 0.25, 0.9, 0.3, 0.8]
        outputs["middle"][0, 7:14, 2, 1] = [logit(value) for value in values]
        return outputs

    def check(self, found: Detections) -> None:
        assert found.scores == pytest.approx([0.72, 0.27], abs=1e-6)
        assert found.classes.tolist() == [1, 0]
        # cx = (2*0.5-0.5+1)*16, cy = (2*0.75-0.5+2)*16, w = 62*(2*0.5)^2, h = 45*(2*0.25)^2
        cx, cy, w, h = 24.0, 48.0, 62.0, 11.25
        assert found.boxes[0] == pytest.approx([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], abs=1e-4)

    def test_four_axes(self) -> None:
        self.check(candidates(self.heads(), RAW, MULTI))

    def test_five_axes(self) -> None:
        outputs = {
            name: head.reshape(1, 3, 7, *head.shape[2:]).transpose(0, 1, 3, 4, 2) for name, head in self.heads().items()
        }
        self.check(candidates(outputs, RAW, MULTI))

    def test_already_squashed(self) -> None:
        outputs = {name: 1 / (1 + np.exp(-head.astype(np.float64))) for name, head in self.heads().items()}
        self.check(candidates(outputs, replace(RAW, squashed=True), MULTI))


@pytest.mark.parametrize(
    ("profile", "outputs"),
    [
        (PROFILE, {"out": np.zeros((1, 252, 7))}),
        (COLUMNS, {"out": np.zeros((1, 6, 84))}),
        (
            RAW,
            {
                "fine": np.full((1, 21, 8, 8), -99),
                "middle": np.full((1, 21, 4, 4), -99),
                "coarse": np.full((1, 21, 2, 2), -99),
            },
        ),
        (PROFILE, {"out": np.full((1, 252, 7), np.nan)}),
        (COLUMNS, {"out": np.full((1, 6, 84), np.nan)}),
        (PROFILE, {"out": np.full((1, 252, 7), np.inf)}),
    ],
    ids=["zero rows", "zero columns", "low heads", "nan rows", "nan columns", "infinite rows"],
)
@pytest.mark.parametrize("selection", [SCORING, SHOWING], ids=["scoring", "showing"])
def test_nothing_to_find(profile: ModelProfile, outputs: dict[str, np.ndarray], selection: Selection) -> None:
    found = detect(outputs, profile, Placement((64, 64), (1.0, 1.0), (0, 0)), selection)
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_the_best_come_first_and_the_rest_is_cut() -> None:
    random = np.random.default_rng(0)
    rows = np.zeros((1, 500, 7), np.float32)
    rows[0, :, :2] = random.uniform(0, 6400, (500, 2))
    rows[..., 2:4] = 1
    rows[0, :, 4] = random.uniform(0.5, 1, 500)
    rows[..., 5] = 1
    found = suppress_candidates(candidates({"out": rows}, PROFILE, SCORING), SCORING)
    assert len(found) == 300
    assert found.scores.tolist() == sorted(rows[0, :, 4].tolist(), reverse=True)[:300]


def test_boxes_come_in_picture_pixels() -> None:
    rows = np.array([[[32, 32, 16, 8, 1, 1, 0]]], np.float32)
    placement = Placement(picture=(100, 200), scale=(0.32, 0.32), offset=(16, 0))
    assert detect({"out": rows}, PROFILE, placement).boxes == pytest.approx(np.array([[75, 37.5, 125, 62.5]]), abs=1e-9)


def test_above_keeps_the_confident() -> None:
    found = Detections(np.zeros((3, 4)), np.array([0.9, 0.25, 0.2], np.float32), np.arange(3))
    assert found.above(0.25).classes.tolist() == [0, 1]


def test_a_missing_output_is_our_fault() -> None:
    with pytest.raises(InternalError, match="'out'"):
        candidates({"other": np.zeros((1, 252, 7))}, PROFILE, SCORING)


@pytest.mark.parametrize(("confidence", "overlap", "most"), [(-0.1, 0.5, 1), (0.1, 1.5, 1), (0.1, 0.5, 0)])
def test_selections_are_checked(confidence: float, overlap: float, most: int) -> None:
    with pytest.raises(OptionError):
        Selection(confidence, overlap, True, most)


@pytest.mark.slow
def test_raw_heads_of_a_published_detector_decode_to_its_rows(shared_data: Path) -> None:
    import onnxruntime

    graph = load(shared_data / "models" / "yolov5n.onnx")
    profile = find_profile(graph)
    assert profile is not None
    cut = clone(graph)
    heads = [node.outputs[0] for node in cut.nodes if node.outputs[0].name in profile.protected]
    cut.outputs = [gs_typed(head) for head in heads]
    cut.cleanup(remove_unused_graph_inputs=False)
    raw_profile = find_profile(cut)
    assert raw_profile is not None
    assert raw_profile.layout is OutputLayout.RAW_HEADS
    picture = read_picture(shared_data / "images" / "zidane.jpg")
    array, placement = prepare(picture, profile.preprocess, profile.input)
    found = []
    for some, its in ((graph, profile), (cut, raw_profile)):
        session = onnxruntime.InferenceSession(to_proto(some).SerializeToString())
        names = [output.name for output in session.get_outputs()]
        outputs = dict(zip(names, session.run(None, {its.input_name: array}), strict=True))
        found.append(detect(outputs, its, placement, SHOWING))
    rows, raw = found
    assert rows.classes.tolist() == raw.classes.tolist()
    assert rows.scores == pytest.approx(raw.scores, abs=1e-4)
    assert rows.boxes == pytest.approx(raw.boxes, abs=0.05)
    assert [profile.classes[number] for number in rows.classes].count("person") == 2


def gs_typed(tensor: gs.Variable) -> gs.Variable:
    tensor.dtype = np.float32
    return tensor
