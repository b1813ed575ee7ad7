"""Non-maximum suppression as nodes of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.rewrites.candidates import Candidates
from yocc.rewrites.emitting import Emitter, integers, number

OUTPUTS = ("num_dets", "det_boxes", "det_scores", "det_classes")
"""As exporters for TensorRT name them: [B, 1] int32, [B, K, 4], [B, K] and [B, K] int32."""
BOXES = OUTPUTS[1]


@dataclass(frozen=True)
class Limits:
    """What is kept.

    Attributes:
        confidence: least score.
        overlap: intersection over union with a better box of its class from which a box is dropped.
        most: detections per picture.
    """

    confidence: float
    overlap: float
    most: int


def standard(emit: Emitter, pictures: Sequence[Candidates], limits: Limits, classes: int) -> list[gs.Variable]:
    """Suppress with ONNX's own NonMaxSuppression, and return the four outputs.

    Boxes of each class are moved to a place of their own, so that one suppression does for all classes.

    Args:
        emit: appends to the graph.
        pictures: the candidates of each.
        limits: what is kept.
        classes: number of classes.
    """
    found = [_picture(emit, each, limits, classes) for each in pictures]
    counts, kept = ([pair[place] for pair in found] for place in (0, 1))
    batch, most = len(pictures), limits.most
    rows = kept[0] if batch == 1 else emit("Concat", *kept, axis=0)
    count = counts[0] if batch == 1 else emit("Concat", *counts, axis=0, dtype=np.int64)
    number_of = emit("Cast", emit.reshape(count, batch, 1, dtype=np.int64), dtype=np.int32, to=6, name=OUTPUTS[0])
    boxes = emit.reshape(emit.slice(rows, 1, 0, 4), batch, most, 4, name=OUTPUTS[1])
    scores = emit.reshape(emit.slice(rows, 1, 4, 5), batch, most, name=OUTPUTS[2])
    kinds = emit.reshape(emit.slice(rows, 1, 5, 6), batch, most)
    numbers = emit("Cast", kinds, dtype=np.int32, to=6, name=OUTPUTS[3])
    return [
        _typed(number_of, [batch, 1]),
        _typed(boxes, [batch, most, 4]),
        _typed(scores, [batch, most]),
        _typed(numbers, [batch, most]),
    ]


def plugin(emit: Emitter, pictures: Sequence[Candidates], limits: Limits, classes: int) -> list[gs.Variable]:
    """Suppress with TensorRT's plugin EfficientNMS_TRT, and return the four outputs.

    The plugin gives a box once for each class above the confidence, so that all scores but the best become zero.

    Args:
        emit: appends to the graph.
        pictures: the candidates of each.
        limits: what is kept.
        classes: number of classes.
    """
    batch, most = len(pictures), limits.most
    boxes, scores = [], []
    for each in pictures:
        own = each.confidences(emit)
        best = emit("Equal", own, emit.largest(own, 1, keep=True), dtype=np.bool_)
        boxes.append(emit.reshape(_corners(emit, each.boxes), 1, -1, 4))
        scores.append(emit.reshape(emit("Where", best, own, number(0)), 1, -1, classes))
    made = emit.many(
        "EfficientNMS_TRT",
        boxes[0] if batch == 1 else emit("Concat", *boxes, axis=0),
        scores[0] if batch == 1 else emit("Concat", *scores, axis=0),
        outputs=dict(zip(OUTPUTS, (np.int32, np.float32, np.float32, np.int32), strict=True)),
        plugin_version="1",
        background_class=-1,
        box_coding=0,
        class_agnostic=0,
        max_output_boxes=most,
        score_activation=0,
        score_threshold=limits.confidence,
        iou_threshold=limits.overlap,
    )
    shapes = ([batch, 1], [batch, most, 4], [batch, most], [batch, most])
    return [_typed(tensor, shape) for tensor, shape in zip(made, shapes, strict=True)]


def detection_output(
    emit: Emitter, corners: gs.Variable, scores: gs.Variable, limits: Limits, most_of_a_class: int
) -> list[gs.Variable]:
    """Suppress with ncnn's layer DetectionOutput, and return the four outputs.

    It stands in the graph as one node `DetectionOutput` of the domain `ncnn`, which the backend for ncnn lowers.

    Args:
        emit: appends to the graph.
        corners: [1, N, 4] of all candidates.
        scores: [1, C, N] of them, with objectness.
        limits: what is kept.
        most_of_a_class: candidates of a class that are looked at, the best.
    """
    made = emit.many(
        "DetectionOutput",
        corners,
        scores,
        outputs=dict(zip(OUTPUTS, (np.int32, np.float32, np.float32, np.int32), strict=True)),
        confidence_threshold=limits.confidence,
        nms_threshold=limits.overlap,
        nms_top_k=most_of_a_class,
        keep_top_k=limits.most,
    )
    made[0].inputs[0].domain = "ncnn"
    shapes = ([1, 1], [1, limits.most, 4], [1, limits.most], [1, limits.most])
    return [_typed(tensor, shape) for tensor, shape in zip(made, shapes, strict=True)]


def _picture(emit: Emitter, found: Candidates, limits: Limits, classes: int) -> tuple[gs.Variable, gs.Variable]:
    """Number of detections [1], and detections [most, 6] of corners, score and class, zeros behind the last."""
    scores = found.confidences(emit)
    best = emit.largest(scores, 1, keep=True)
    kind = emit("ArgMax", scores, dtype=np.int64, axis=1, keepdims=1)
    corners = _corners(emit, found.boxes)
    # What is not confident may lie anywhere, and would push the classes far apart.
    sure = emit("Greater", best, number(limits.confidence), dtype=np.bool_)
    sane = emit("Where", sure, corners, number(0))
    reach = emit("Add", emit("Mul", emit.largest(emit("Abs", sane), None, keep=False), number(2)), number(1))
    places = emit("Gather", _places(classes), emit.reshape(kind, -1, dtype=np.int64), axis=0)
    apart = emit("Add", sane, emit("Mul", places, reach))
    selected = emit(
        "NonMaxSuppression",
        emit("Unsqueeze", apart, integers(0)),
        emit.reshape(best, 1, 1, -1),
        integers(limits.most),
        np.array([limits.overlap], np.float32),
        np.array([limits.confidence], np.float32),
        dtype=np.int64,
    )
    kept = emit.reshape(emit.slice(selected, 1, 2, 3, dtype=np.int64), -1, dtype=np.int64)
    rows = emit("Concat", corners, best, emit("Cast", kind, to=1), axis=1)
    # The row behind the last is zeros: what the list of kept rows is filled up with.
    behind = emit("Concat", rows, np.zeros((1, 6), np.float32), axis=0)
    last = emit.slice(emit("Shape", rows, dtype=np.int64), 0, 0, 1, dtype=np.int64)
    filler = emit("Expand", last, integers(limits.most), dtype=np.int64)
    filled = emit.slice(emit("Concat", kept, filler, dtype=np.int64, axis=0), 0, 0, limits.most, dtype=np.int64)
    return emit("Shape", kept, dtype=np.int64), emit("Gather", behind, filled, axis=0)


def _corners(emit: Emitter, boxes: gs.Variable) -> gs.Variable:
    """cx, cy, w, h to x1, y1, x2, y2."""
    center = emit.slice(boxes, 1, 0, 2)
    half = emit("Mul", emit.slice(boxes, 1, 2, 4), number(0.5))
    return emit("Concat", emit("Sub", center, half), emit("Add", center, half), axis=1)


def _places(classes: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A place [classes, 4] on a square grid for each class, in units of the space one needs, for both corners.

    A grid keeps coordinates small, and with them the error of rounding.
    """
    side = int(np.ceil(np.sqrt(classes)))
    rows, columns = np.divmod(np.arange(classes), side)
    places: np.ndarray[tuple[int, int], np.dtype[np.float32]] = np.stack([columns, rows, columns, rows], axis=1).astype(
        np.float32
    )
    return places


def _typed(tensor: gs.Variable, shape: list[int]) -> gs.Variable:
    tensor.shape = shape
    return tensor
