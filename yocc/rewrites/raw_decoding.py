"""Decoding the chosen candidates of a detector's raw heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.pipeline.outputs import RawHeads
from yocc.rewrites.candidates import Candidates
from yocc.rewrites.emitting import Emitter, integers, number

BOX = 4
OBJECTNESS = 4


@dataclass(frozen=True)
class Chosen:
    """The chosen candidates, each array of K.

    Attributes:
        level: number of the stride.
        anchor: number of the anchor in the cell.
        cell: number of the cell in its map.
        place: column and row [K, 2], float.
        stride: input pixels per cell [K, 1], float.
    """

    level: gs.Variable
    anchor: gs.Variable
    cell: gs.Variable
    place: gs.Variable
    stride: gs.Variable


def from_logits(emit: Emitter, logits: gs.Variable, chosen: Chosen, heads: RawHeads, classes: int) -> Candidates:
    """Candidates of anchors from their logits [K, 5 + classes]."""
    values = emit("Sigmoid", logits)
    boxes = _from_anchors(emit, values, chosen, heads)
    objectness = emit.slice(values, 1, OBJECTNESS, OBJECTNESS + 1)
    return Candidates(boxes, emit.slice(values, 1, OBJECTNESS + 1, BOX + 1 + classes), objectness)


def _from_anchors(emit: Emitter, values: gs.Variable, chosen: Chosen, heads: RawHeads) -> gs.Variable:
    """`xy = (2 s - 0.5 + cell) * stride`, `wh = (2 s)^2 * anchor` (YOLOv5, models/yolo.py, `Detect.forward`)."""
    anchors = np.array([pair for head in heads.heads for pair in head.anchors], np.float32)
    firsts = np.cumsum([0, *(len(head.anchors) for head in heads.heads)])[:-1]
    start = emit("Gather", integers(*map(int, firsts)), chosen.level, dtype=np.int64, axis=0)
    own = emit("Gather", anchors, emit("Add", start, chosen.anchor, dtype=np.int64), axis=0)
    doubled = emit("Mul", emit.slice(values, 1, 0, BOX), number(2))
    center = emit("Add", emit("Sub", emit.slice(doubled, 1, 0, 2), number(0.5)), chosen.place)
    extent = emit.slice(doubled, 1, 2, BOX)
    return emit("Concat", emit("Mul", center, chosen.stride), emit("Mul", emit("Mul", extent, extent), own), axis=1)


def from_offsets(emit: Emitter, values: gs.Variable, chosen: Chosen) -> gs.Variable:
    """`xy = (t + cell) * stride`, `wh = exp(t) * stride` (YOLOX, yolox/models/yolo_head.py, `decode_outputs`)."""
    center = emit("Add", emit.slice(values, 1, 0, 2), chosen.place)
    extent = emit("Exp", emit.slice(values, 1, 2, BOX))
    return emit("Mul", emit("Concat", center, extent, axis=1), chosen.stride)


def from_distances(emit: Emitter, values: gs.Variable, chosen: Chosen, bins: int) -> gs.Variable:
    """Means of distributions as distances from the middle of a cell (Li et al. 2020, equation 5)."""
    weights = emit("Softmax", emit.reshape(values, -1, BOX, bins), axis=2)
    means = emit.reshape(emit("MatMul", weights, np.arange(bins, dtype=np.float32)[:, None]), -1, BOX)
    near, far = emit.slice(means, 1, 0, 2), emit.slice(means, 1, 2, BOX)
    middle = emit("Add", chosen.place, number(0.5))
    center = emit("Add", middle, emit("Mul", emit("Sub", far, near), number(0.5)))
    return emit("Mul", emit("Concat", center, emit("Add", near, far), axis=1), chosen.stride)
