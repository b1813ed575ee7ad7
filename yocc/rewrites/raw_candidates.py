"""The best candidates of a detector's raw heads: chosen by their scores before anything is decoded.

Raw heads are maps [batch, channels, h, w]. Only the logits that candidates are ranked by are read in full; of all other
channels only those of the chosen cells are gathered, and only these are decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.outputs import DetectorOutputs, RawHeads
from yocc.rewrites.candidates import Candidates, top
from yocc.rewrites.emitting import Emitter, integers, number

_BOX = 4
_OBJECTNESS = 4
_FAR = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Grid:
    """The cells of one stride.

    Attributes:
        height: rows.
        width: columns.
        stride: input pixels per cell.
        anchors: candidates per cell.
    """

    height: int
    width: int
    stride: int
    anchors: int

    @property
    def cells(self) -> int:
        """Cells."""
        return self.height * self.width


@dataclass(frozen=True)
class _Chosen:
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


def grids(graph: Graph, outputs: DetectorOutputs) -> list[Grid] | None:
    """The grids of the raw heads; None where these are not known or their sizes are open."""
    if outputs.heads is None:
        return None
    tensors = graph.tensors()
    found = []
    for head in outputs.heads.heads:
        shapes = [tensors[name].shape for name in head.names if name in tensors]
        if len(shapes) < len(head.names) or not all(
            shape is not None and all(isinstance(size, int) for size in shape) for shape in shapes
        ):
            return None
        found.append(Grid(shapes[0][2], shapes[0][3], head.stride, max(1, len(head.anchors))))
    return found


def from_heads(
    emit: Emitter, graph: Graph, outputs: DetectorOutputs, sizes: Sequence[Grid], most: int, picture: int = 0
) -> Candidates:
    """The best candidates, by objectness, or by their best class where there is none; decoded.

    Args:
        emit: appends to the graph.
        graph: has the raw heads.
        outputs: where these are.
        sizes: their grids.
        most: how many candidates; all where there are fewer.
        picture: its number in a batch.
    """
    heads = outputs.heads
    assert heads is not None
    known = graph.tensors()
    tensors = {name: emit.as_float(known[name]) for name in heads.names}
    count = sum(size.cells * size.anchors for size in sizes)
    ranks = [
        emit.reshape(_rank(emit, heads, tensors, place, outputs.classes, picture), -1) for place in range(len(sizes))
    ]
    best = top(emit, emit("Concat", *ranks, axis=0), most, count)
    chosen = _locate(emit, best, sizes)

    def rows(names: Sequence[str], channels: int) -> gs.Variable:
        maps = [tensors[name] for name in names]
        return _gather(emit, maps, chosen, sizes, channels, picture)

    first = [head.boxes for head in heads.heads]
    if heads.decoding == "anchors":
        width = _BOX + 1 + outputs.classes
        values = emit("Sigmoid", rows(first, width))
        boxes = _from_anchors(emit, values, chosen, heads)
        objectness = emit.slice(values, 1, _OBJECTNESS, _OBJECTNESS + 1)
        return Candidates(boxes, emit.slice(values, 1, _OBJECTNESS + 1, width), objectness)
    scores = emit("Sigmoid", rows([head.scores for head in heads.heads], outputs.classes))
    if heads.decoding == "distances":
        return Candidates(_from_distances(emit, rows(first, _BOX * heads.bins), chosen, heads.bins), scores, None)
    objectness = emit("Sigmoid", rows([head.objectness for head in heads.heads], 1))
    return Candidates(_from_offsets(emit, rows(first, _BOX), chosen), scores, objectness)


def _rank(emit: Emitter, heads: RawHeads, tensors: Any, place: int, classes: int, picture: int) -> gs.Variable:
    """The logits of one stride that candidates are ranked by, anchor by anchor."""
    head = heads.heads[place]
    if heads.decoding == "anchors":
        found = emit.slice(tensors[head.boxes], 1, _OBJECTNESS, _FAR, step=_BOX + 1 + classes)
    elif heads.decoding == "offsets":
        found = tensors[head.objectness]
    else:
        found = emit.largest(tensors[head.scores], 1, keep=True)
    batch = tensors[head.boxes].shape[0]
    return found if batch == 1 else emit.slice(found, 0, picture, picture + 1)


def _locate(emit: Emitter, best: gs.Variable, sizes: Sequence[Grid]) -> _Chosen:
    """Where candidates lie, from their numbers among those of all strides."""
    counts = [size.cells * size.anchors for size in sizes]
    starts = np.concatenate([[0], np.cumsum(counts)])[:-1]

    def ints(op: str, *operands: Any, **options: Any) -> gs.Variable:
        return emit(op, *operands, dtype=np.int64, **options)

    above = [ints("Cast", emit("Less", integers(int(start) - 1), best, dtype=np.bool_), to=7) for start in starts[1:]]
    level = reduce(lambda one, other: ints("Add", one, other), above)

    def own(values: Sequence[int]) -> gs.Variable:
        return ints("Gather", integers(*values), level, axis=0)

    local = ints("Sub", best, own([int(start) for start in starts]))
    cells, width = own([size.cells for size in sizes]), own([size.width for size in sizes])
    anchor = ints("Div", local, cells)
    cell = ints("Sub", local, ints("Mul", anchor, cells))
    row = ints("Div", cell, width)
    column = ints("Sub", cell, ints("Mul", row, width))
    pairs = [emit.reshape(each, -1, 1, dtype=np.int64) for each in (column, row)]
    place = emit("Cast", ints("Concat", *pairs, axis=1), to=1)
    strides = np.array([[size.stride] for size in sizes], np.float32)
    return _Chosen(level, anchor, cell, place, emit("Gather", strides, level, axis=0))


def _gather(
    emit: Emitter, maps: Sequence[gs.Variable], chosen: _Chosen, sizes: Sequence[Grid], channels: int, picture: int
) -> gs.Variable:
    """The chosen candidates' values [K, channels] of one kind, from the maps of all strides.

    Each map is read at the cells chosen in it, and at its first cell in place of those chosen elsewhere, so that no map
    is copied.
    """
    rows: gs.Variable | None = None
    for place, (size, tensor) in enumerate(zip(sizes, maps, strict=True)):
        here = emit("Equal", chosen.level, integers(place), dtype=np.bool_)
        first = chosen.cell
        if size.anchors > 1:
            skipped = emit("Mul", chosen.anchor, integers(channels * size.cells), dtype=np.int64)
            first = emit("Add", first, skipped, dtype=np.int64)
        column = emit.reshape(emit("Where", here, first, integers(0), dtype=np.int64), -1, 1, dtype=np.int64)
        start = picture * size.anchors * channels * size.cells
        apart = start + np.arange(channels, dtype=np.int64)[None] * size.cells
        values = emit("Gather", emit.reshape(tensor, -1), emit("Add", column, apart, dtype=np.int64), axis=0)
        mine = emit.reshape(here, -1, 1, dtype=np.bool_)
        rows = values if rows is None else emit("Where", mine, values, rows)
    assert rows is not None
    return rows


def _from_anchors(emit: Emitter, values: gs.Variable, chosen: _Chosen, heads: RawHeads) -> gs.Variable:
    """`xy = (2 s - 0.5 + cell) * stride`, `wh = (2 s)^2 * anchor` (YOLOv5, models/yolo.py, `Detect.forward`)."""
    anchors = np.array([pair for head in heads.heads for pair in head.anchors], np.float32)
    firsts = np.cumsum([0, *(len(head.anchors) for head in heads.heads)])[:-1]
    start = emit("Gather", integers(*map(int, firsts)), chosen.level, dtype=np.int64, axis=0)
    own = emit("Gather", anchors, emit("Add", start, chosen.anchor, dtype=np.int64), axis=0)
    doubled = emit("Mul", emit.slice(values, 1, 0, _BOX), number(2))
    center = emit("Add", emit("Sub", emit.slice(doubled, 1, 0, 2), number(0.5)), chosen.place)
    extent = emit.slice(doubled, 1, 2, _BOX)
    return emit("Concat", emit("Mul", center, chosen.stride), emit("Mul", emit("Mul", extent, extent), own), axis=1)


def _from_offsets(emit: Emitter, values: gs.Variable, chosen: _Chosen) -> gs.Variable:
    """`xy = (t + cell) * stride`, `wh = exp(t) * stride` (YOLOX, yolox/models/yolo_head.py, `decode_outputs`)."""
    center = emit("Add", emit.slice(values, 1, 0, 2), chosen.place)
    extent = emit("Exp", emit.slice(values, 1, 2, _BOX))
    return emit("Mul", emit("Concat", center, extent, axis=1), chosen.stride)


def _from_distances(emit: Emitter, values: gs.Variable, chosen: _Chosen, bins: int) -> gs.Variable:
    """Means of distributions as distances from the middle of a cell (Li et al. 2020, equation 5)."""
    weights = emit("Softmax", emit.reshape(values, -1, _BOX, bins), axis=2)
    means = emit.reshape(emit("MatMul", weights, np.arange(bins, dtype=np.float32)[:, None]), -1, _BOX)
    near, far = emit.slice(means, 1, 0, 2), emit.slice(means, 1, 2, _BOX)
    middle = emit("Add", chosen.place, number(0.5))
    center = emit("Add", middle, emit("Mul", emit("Sub", far, near), number(0.5)))
    return emit("Mul", emit("Concat", center, emit("Add", near, far), axis=1), chosen.stride)
