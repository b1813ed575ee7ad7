"""What detections the authors of each family make of its outputs, written out cell by cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Outputs = Mapping[str, Array]
Candidate = tuple[float, float, float, float, list[float]]
"""x1, y1, x2, y2 in pixels, a score for each class."""


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
