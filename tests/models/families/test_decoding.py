"""What each family makes of outputs, against formulas of its authors written out cell by cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from PIL import Image

from tests.networks.heads import HEADS
from yocc.compiler.graph import load
from yocc.models.families.family import family_named, find_profile
from yocc.models.families.profile import ModelProfile
from yocc.runtime.data.letterbox import Placement, read_picture
from yocc.runtime.data.preprocess import prepare
from yocc.runtime.detection.boxes import SHOWING, Selection, detect, selection_of

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


def yunet(outputs: Outputs, size: int = 64) -> list[Candidate]:
    made = []
    for _, place, stride, row, column in cells_of(size, (8, 16, 32)):
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


def blazeface(outputs: Outputs, grid: tuple[tuple[int, int], ...], *, logits: bool = True) -> list[Candidate]:
    made = []
    rows = iter(zip(outputs["offsets"][0].tolist(), outputs["scores"][0, :, 0].tolist(), strict=True))
    for stride, per_cell in grid:
        for _, _, _, row, column in cells_of(64, (stride,)):
            for _ in range(per_cell):
                (x, y, width, height, *_), score = next(rows)
                score = 1 / (1 + math.exp(-score)) if logits else score
                made.append(centered((column + 0.5) * stride + x, (row + 0.5) * stride + y, width, height, [score]))
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


def ssd(outputs: Outputs, width: int = 64, height: int = 64) -> list[Candidate]:
    pairs = zip(outputs["boxes"][0].tolist(), outputs["scores"][0].tolist(), strict=True)
    return [(width * x1, height * y1, width * x2, height * y2, scores[1:]) for (x1, y1, x2, y2), scores in pairs]


def yolo_fastestv2(outputs: Outputs, size: int = 64) -> list[Candidate]:
    anchors = (
        ((12.64, 19.39), (37.88, 51.48), (55.71, 138.31)),
        ((126.91, 78.23), (131.57, 214.55), (279.92, 258.87)),
    )
    made = []
    for level, _, stride, row, column in cells_of(size, (16, 32)):
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
    return [centered(*(64 * one for one in values[:4]), values[4:]) for values in outputs["output0"][0].tolist()]


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


def listed(outputs: Outputs) -> list[Candidate]:
    if "output" in outputs:
        rows = [row[1:] for row in outputs["output"].tolist()]
    else:
        parts = (outputs[name].tolist() for name in ("boxes", "labels", "scores"))
        rows = [[*box, kind, score] for box, kind, score in zip(*parts, strict=True)]
    return [(*box, [score if number == kind else 0.0 for number in range(3)]) for *box, kind, score in rows]


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
    "blazeface": lambda outputs: blazeface(outputs, ((8, 2), (16, 6))),
    "blazeface back": lambda outputs: blazeface(outputs, ((16, 2), (32, 6))),
    "blazeface whole": lambda outputs: blazeface(outputs, ((4, 1),), logits=False),
    "ultraface": ssd,
    "ssd": ssd,
    "yolo_fastestv2": yolo_fastestv2,
    "end_to_end": end_to_end,
    "queries": queries,
    "labels, boxes, scores": labels_boxes_scores,
    "selected": selected,
    "listed": listed,
    "listed rows": listed,
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
    assert (profile.suppression.confidence, profile.suppression.most) == (pytest.approx(0.05), 300)


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


def plainly_suppressed(
    candidates: list[Candidate], confidence: float, overlap: float
) -> list[tuple[int, float, Array]]:
    """Class, score and box of what greedy suppression within each class leaves, best first."""
    ranked = sorted(
        ((max(scores), scores.index(max(scores)), box) for *box, scores in candidates if max(scores) > confidence),
        key=lambda each: -each[0],
    )
    kept: list[tuple[int, float, Array]] = []
    for score, kind, box in ranked:
        if all(kind != other or _overlap(box, one) <= overlap for other, _, one in kept):
            kept.append((kind, score, np.array(box)))
    return kept


def _overlap(one: Array, other: Array) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(each[2] - each[0]) * (each[3] - each[1]) for each in (one, other)]
    return float(shared / (sum(areas) - shared))


def fed(path: Path, size: tuple[int, int], resize: str) -> tuple[Array, Callable[[Array], Array]]:
    """Pixels [h, w, 3] as red, green, blue, 0..255, and the way from boxes in the input back to the picture."""
    picture = Image.open(path).convert("RGB")
    width, height = size
    if resize == "stretch":
        ratios = np.array([width / picture.width, height / picture.height] * 2)
        return np.asarray(picture.resize(size, Image.Resampling.BILINEAR), np.float64), lambda box: box / ratios
    ratio = min(width / picture.width, height / picture.height)
    inner = (round(picture.width * ratio), round(picture.height * ratio))
    corner = (0, 0) if resize == "top left" else ((width - inner[0]) // 2, (height - inner[1]) // 2)
    ground = Image.new("RGB", size)
    ground.paste(picture.resize(inner, Image.Resampling.BILINEAR), corner)
    return np.asarray(ground, np.float64), lambda box: (box - np.array([*corner, *corner])) / ratio


NANODET = {f"{kind}{level}": name for kind, names in (
    ("scores", ("792", "814", "836")), ("distances", ("795", "817", "839"))
) for level, name in enumerate(names)}  # fmt: skip
REAL: dict[str, tuple[tuple[int, int], str, Callable[[Array], Array], Callable[[Outputs], list[Candidate]]]] = {
    "nanodet_m": (
        (416, 416),
        "middle",
        lambda rgb: (rgb[..., ::-1] - [103.53, 116.28, 123.675]) / [57.375, 57.12, 58.395],
        lambda found: gfl({name: found[source] for name, source in NANODET.items()}, 416, (8, 16, 32)),
    ),
    "fastestv2": (
        (352, 352),
        "stretch",
        lambda rgb: rgb[..., ::-1] / 255,
        lambda found: yolo_fastestv2({"grid_16": found["794"], "grid_32": found["796"]}, 352),
    ),
    "yunet": ((640, 640), "top left", lambda rgb: rgb[..., ::-1], lambda found: yunet(found, 640)),
    "ultraface_rfb320_op9": (
        (320, 240), "stretch", lambda rgb: (rgb - 127) / 128, lambda found: ssd(found, 320, 240),
    ),
}  # fmt: skip
"""Size, placing, arithmetic and decoding of published detectors, as their authors do it."""


@pytest.mark.slow
@pytest.mark.parametrize("picture", ["bus.jpg", "zidane.jpg"])
@pytest.mark.parametrize("name", sorted(REAL))
def test_published_detectors_find_what_their_authors_find(name: str, picture: str, shared_data: Path) -> None:
    size, resize, arithmetic, decode = REAL[name]
    path, model = shared_data / "images" / picture, shared_data / "models" / f"{name}.onnx"
    pixels, back = fed(path, size, resize)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def outputs(array: Array) -> dict[str, Array]:
        return dict(zip(names, session.run(names, {session.get_inputs()[0].name: array}), strict=True))

    array = arithmetic(pixels).transpose(2, 0, 1)[None].astype(np.float32)
    wanted = plainly_suppressed(decode(outputs(array)), 0.25, 0.45)
    profile = find_profile(load(model))
    assert profile is not None
    made, placement = prepare(read_picture(path), profile.preprocess, profile.input)
    found = detect(outputs(np.asarray(made)), profile, placement, SHOWING)
    assert len(wanted) >= 2
    assert found.classes.tolist() == [kind for kind, _, _ in wanted]
    np.testing.assert_allclose(found.scores, [score for _, score, _ in wanted], atol=1e-3)
    with Image.open(path) as shown:
        limits = np.array([shown.width, shown.height] * 2)
    boxes = [np.clip(back(box), 0, limits) for _, _, box in wanted]
    np.testing.assert_allclose(found.boxes, boxes, atol=1.0)
