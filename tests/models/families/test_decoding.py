"""What each family makes of outputs, against formulas of its authors written out cell by cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tests.networks.heads import HEADS
from yocc.compiler.graph import load
from yocc.models.families.family import family_named, find_profile
from yocc.models.families.profile import ModelProfile
from yocc.runtime.data.letterbox import Placement
from yocc.runtime.detection.boxes import Selection, detect, selection_of

Array = np.ndarray[Any, Any]
Outputs = Mapping[str, Array]
Candidate = tuple[float, float, float, float, list[float]]
"""x1, y1, x2, y2 in pixels, a score for each class."""


def ran(model: onnx.ModelProto, seed: int = 1) -> dict[str, Array]:
    """All outputs for random pixels."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (picture,) = session.get_inputs()
    feed = np.random.default_rng(seed).normal(0, 1, picture.shape).astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {picture.name: feed}), strict=True))


def profile_of(model: onnx.ModelProto) -> ModelProfile:
    profile = find_profile(load(model))
    assert profile is not None
    return profile


def mean_of(logits: Array) -> list[float]:
    """Means of four distributions over bins."""
    made = []
    for side in range(4):
        weights = [math.exp(float(value)) for value in logits[8 * side : 8 * side + 8]]
        made.append(sum(bin_ * weight for bin_, weight in enumerate(weights)) / sum(weights))
    return made


def around(x: float, y: float, sides: list[float], stride: int, scores: list[float]) -> Candidate:
    left, top, right, bottom = (side * stride for side in sides)
    return (x - left, y - top, x + right, y + bottom, scores)


def centered(x: float, y: float, width: float, height: float, scores: list[float]) -> Candidate:
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2, scores)


def cells_of(size: int, strides: tuple[int, ...]) -> Iterator[tuple[int, int, int, int, int]]:
    """Level, place within it, stride, row, column."""
    for level, stride in enumerate(strides):
        across = size // stride
        for place in range(across * across):
            yield level, place, stride, place // across, place % across


def gfl(outputs: Outputs, size: int, strides: tuple[int, ...]) -> list[Candidate]:
    return [
        around(
            (column + 0.5) * stride,
            (row + 0.5) * stride,
            mean_of(outputs[f"distances{level}"][0, place]),
            stride,
            outputs[f"scores{level}"][0, place].tolist(),
        )
        for level, place, stride, row, column in cells_of(size, strides)
    ]


def nanodet_plus(outputs: Outputs) -> list[Candidate]:
    rows = iter(outputs["output"][0])
    made = []
    for _, _, stride, row, column in cells_of(128, (8, 16, 32, 64)):
        values = next(rows)
        made.append(around(column * stride, row * stride, mean_of(values[3:]), stride, values[:3].tolist()))
    return made


def yunet(outputs: Outputs) -> list[Candidate]:
    made = []
    for _, place, stride, row, column in cells_of(64, (8, 16, 32)):
        x, y, width, height = outputs[f"bbox_{stride}"][0, place].tolist()
        first, second = (float(outputs[f"{kind}_{stride}"][0, place, 0]) for kind in ("cls", "obj"))
        made.append(
            centered(
                (column + x) * stride,
                (row + y) * stride,
                math.exp(width) * stride,
                math.exp(height) * stride,
                [math.sqrt(first * second)],
            )
        )
    return made


def scrfd(outputs: Outputs) -> list[Candidate]:
    made = []
    for _, place, stride, row, column in cells_of(64, (8, 16, 32)):
        for each in (2 * place, 2 * place + 1):
            sides = outputs[f"bbox_{stride}"].reshape(-1, 4)[each].tolist()
            score = float(outputs[f"score_{stride}"].reshape(-1)[each])
            made.append(around(column * stride, row * stride, sides, stride, [score]))
    return made


def retinaface(outputs: Outputs) -> list[Candidate]:
    made = []
    rows = iter(zip(outputs["loc"][0].tolist(), outputs["conf"][0].tolist(), strict=True))
    for level, _, stride, row, column in cells_of(64, (8, 16, 32)):
        for side in ((16, 32), (64, 128), (256, 512))[level]:
            (x, y, width, height), (_, score) = next(rows)
            made.append(
                centered(
                    (column + 0.5) * stride + 0.1 * x * side,
                    (row + 0.5) * stride + 0.1 * y * side,
                    side * math.exp(0.2 * width),
                    side * math.exp(0.2 * height),
                    [score],
                )
            )
    return made


def ssd(outputs: Outputs) -> list[Candidate]:
    pairs = zip(outputs["boxes"][0].tolist(), outputs["scores"][0].tolist(), strict=True)
    return [(64 * x1, 64 * y1, 64 * x2, 64 * y2, scores[1:]) for (x1, y1, x2, y2), scores in pairs]


def yolo_fastestv2(outputs: Outputs) -> list[Candidate]:
    anchors = (
        ((12.64, 19.39), (37.88, 51.48), (55.71, 138.31)),
        ((126.91, 78.23), (131.57, 214.55), (279.92, 258.87)),
    )
    made = []
    for level, _, stride, row, column in cells_of(64, (16, 32)):
        values = outputs[f"grid_{stride}"][0, row, column].tolist()
        for number, (wide, high) in enumerate(anchors[level]):
            x, y, width, height = values[4 * number : 4 * number + 4]
            made.append(
                centered(
                    (2 * x - 0.5 + column) * stride,
                    (2 * y - 0.5 + row) * stride,
                    (2 * width) ** 2 * wide,
                    (2 * height) ** 2 * high,
                    [values[12 + number] * one for one in values[15:]],
                )
            )
    return made


def end_to_end(outputs: Outputs) -> list[Candidate]:
    return [
        (x1, y1, x2, y2, [score if number == kind else 0.0 for number in range(3)])
        for x1, y1, x2, y2, score, kind in outputs["output0"][0].tolist()
    ]


def queries(outputs: Outputs) -> list[Candidate]:
    return [
        centered(*(64 * one for one in values[:4]), values[4:])  # type: ignore[misc]
        for values in outputs["output0"][0].tolist()
    ]


def labels_boxes_scores(outputs: Outputs) -> list[Candidate]:
    triples = zip(*(outputs[name][0].tolist() for name in ("labels", "boxes", "scores")), strict=True)
    return [(*box, [score if number == kind else 0.0 for number in range(3)]) for kind, box, score in triples]


def selected(outputs: Outputs, *, centers: bool = False) -> list[Candidate]:
    indices, boxes, scores = (
        next(array for array in outputs.values() if wanted(array))
        for wanted in (
            lambda array: array.dtype == np.int64,
            lambda array: array.ndim == 3 and array.shape[2] == 4,
            lambda array: array.ndim == 3 and array.shape[1] == 3,
        )
    )
    made: list[Candidate] = []
    for _, kind, place in indices.tolist():
        score = [float(scores[0, kind, place]) if number == kind else 0.0 for number in range(3)]
        box = boxes[0, place].tolist()
        made.append(centered(*box, score) if centers else (*box, score))
    return made


WANTED: dict[str, Callable[[Outputs], list[Candidate]]] = {
    "nanodet": lambda outputs: gfl(outputs, 64, (8, 16, 32)),
    "nanodet apart": lambda outputs: gfl(outputs, 64, (8, 16, 32)),
    "nanodet plus": nanodet_plus,
    "picodet": lambda outputs: gfl(outputs, 128, (8, 16, 32, 64)),
    "picodet apart": lambda outputs: gfl(outputs, 128, (8, 16, 32, 64)),
    "yunet": yunet,
    "scrfd": scrfd,
    "scrfd without landmarks": scrfd,
    "scrfd without batch": scrfd,
    "retinaface": retinaface,
    "ultraface": ssd,
    "ssd": ssd,
    "yolo_fastestv2": yolo_fastestv2,
    "end_to_end": end_to_end,
    "queries": queries,
    "labels, boxes, scores": labels_boxes_scores,
    "selected": selected,
    "selected centers": lambda outputs: selected(outputs, centers=True),
}


def test_every_form_that_runs_is_decoded_here() -> None:
    assert set(HEADS) - set(WANTED) == {"efficient_nms"}


@pytest.mark.parametrize("name", sorted(WANTED))
def test_decoding_is_that_of_the_authors(name: str) -> None:
    family, build = HEADS[name]
    model = build()
    profile, outputs = profile_of(model), ran(build())
    wanted = WANTED[name](outputs)
    assert len(wanted) > 3
    arrays = [outputs[each] if each in profile.unbatched else outputs[each][0] for each in profile.outputs]
    boxes, scores = family_named(family).decode(arrays, profile, -1.0)
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    np.testing.assert_allclose(corners, np.array([each[:4] for each in wanted]), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(scores, np.array([each[4] for each in wanted]), rtol=0, atol=1e-5)
    assert scores.shape[1] == len(profile.classes)


@pytest.mark.parametrize("name", sorted(WANTED))
def test_only_the_confident_are_decoded(name: str) -> None:
    family, build = HEADS[name]
    model = build()
    profile, outputs = profile_of(model), ran(model)
    arrays = [outputs[each] if each in profile.unbatched else outputs[each][0] for each in profile.outputs]
    everything = family_named(family).decode(arrays, profile, -1.0)[1].max(axis=1)
    limit = float(np.sort(everything)[-2])
    boxes, scores = family_named(family).decode(arrays, profile, limit)
    assert (scores.max(axis=1) > limit).sum() == (everything > limit).sum()
    assert len(boxes) < len(everything)
    boxes, scores = family_named(family).decode(arrays, profile, 1.5)
    assert (boxes.shape, scores.shape) == ((0, 4), (0, len(profile.classes)))


@pytest.mark.parametrize("name", ["end_to_end", "labels, boxes, scores", "queries"])
def test_what_the_graph_chose_is_not_suppressed_again(name: str) -> None:
    model = HEADS[name][1]()
    profile, outputs = profile_of(model), ran(model)
    selection = selection_of(profile)
    found = detect(outputs, profile, Placement(profile.size, (1.0, 1.0), (0, 0)), selection)
    assert selection == Selection(0.001, 1.0, multi_label=False, most=20)
    assert len(found) == sum(max(scores) > 0.001 for *_, scores in WANTED[name](outputs))


def test_detections_of_a_suppressing_graph() -> None:
    model = HEADS["selected"][1]()
    profile, outputs = profile_of(model), ran(model)
    found = detect(outputs, profile, Placement(profile.size, (1.0, 1.0), (0, 0)), selection_of(profile))
    assert len(found) == len(selected(outputs))
    assert profile.fed_unknown
    assert (profile.suppression.confidence, profile.suppression.most) == (pytest.approx(0.05), 300)  # type: ignore[union-attr]


def test_detections_of_the_plugin_of_tensorrt() -> None:
    profile = profile_of(HEADS["efficient_nms"][1]())
    assert profile.outputs == ("num_dets", "det_boxes", "det_scores", "det_classes")
    outputs = {
        "num_dets": np.array([[2]], np.int32),
        "det_boxes": np.array([[[1, 2, 30, 40], [5, 6, 50, 60], [0, 0, 0, 0]]], np.float32),
        "det_scores": np.array([[0.9, 0.5, 0.0]], np.float32),
        "det_classes": np.array([[1, 0, 0]], np.int32),
    }
    found = detect(outputs, profile, Placement(profile.size, (1.0, 1.0), (0, 0)), selection_of(profile))
    assert found.boxes.tolist() == [[1, 2, 30, 40], [5, 6, 50, 60]]
    assert found.classes.tolist() == [1, 0]
