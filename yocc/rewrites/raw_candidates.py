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
from yocc.compiler.pipeline.target import RowsOfCells
from yocc.rewrites.candidates import Candidates, top
from yocc.rewrites.emitting import Emitter, integers
from yocc.rewrites.raw_decoding import BOX, OBJECTNESS, Chosen, from_distances, from_logits, from_offsets

_TO_LAST = [0, 2, 3, 1]
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
    emit: Emitter,
    graph: Graph,
    outputs: DetectorOutputs,
    sizes: Sequence[Grid],
    most: int,
    picture: int = 0,
    *,
    rows: RowsOfCells = "never",
) -> Candidates:
    """The best candidates, by objectness, or by their best class where there is none; decoded.

    Args:
        emit: appends to the graph.
        graph: has the raw heads.
        outputs: where these are.
        sizes: their grids.
        most: how many candidates; all where there are fewer.
        picture: its number in a batch.
        rows: of which layers maps of anchors are read with the values of a cell side by side, as `Target` says.
    """
    heads = outputs.heads
    assert heads is not None
    known = graph.tensors()
    if heads.decoding == "anchors" and _writes_rows([known[head.boxes] for head in heads.heads], rows):
        return _from_rows(
            emit, [known[head.boxes] for head in heads.heads], heads, outputs.classes, sizes, most, picture
        )
    tensors = {name: emit.as_float(known[name]) for name in heads.names}
    count = sum(size.cells * size.anchors for size in sizes)
    ranks = [
        emit.reshape(_rank(emit, heads, tensors, place, outputs.classes, picture), -1) for place in range(len(sizes))
    ]
    best = top(emit, emit("Concat", *ranks, axis=0), most, count)
    chosen = _locate(emit, best, sizes)

    def values(names: Sequence[str], channels: int) -> gs.Variable:
        maps = [tensors[name] for name in names]
        return _gather(emit, maps, chosen, sizes, channels, picture)

    first = [head.boxes for head in heads.heads]
    if heads.decoding == "anchors":
        return from_logits(emit, values(first, BOX + 1 + outputs.classes), chosen, heads, outputs.classes)
    scores = emit("Sigmoid", values([head.scores for head in heads.heads], outputs.classes))
    if heads.decoding == "distances":
        return Candidates(from_distances(emit, values(first, BOX * heads.bins), chosen, heads.bins), scores, None)
    objectness = emit("Sigmoid", values([head.objectness for head in heads.heads], 1))
    return Candidates(from_offsets(emit, values(first, BOX), chosen), scores, objectness)


def _writes_rows(maps: Sequence[gs.Tensor], rows: RowsOfCells) -> bool:
    """Whether layers write the values of a cell side by side, so that nothing is moved for it."""
    if rows == "never" or not all(each.inputs and each.inputs[0].op == "Conv" for each in maps):
        return rows == "always"
    return rows == "always" or all(_has_codes(each.inputs[0].inputs[1]) for each in maps)


def _has_codes(weight: gs.Tensor) -> bool:
    return bool(weight.inputs) and weight.inputs[0].op == "DequantizeLinear"


def _from_rows(
    emit: Emitter,
    maps: Sequence[gs.Variable],
    heads: RawHeads,
    classes: int,
    sizes: Sequence[Grid],
    most: int,
    picture: int,
) -> Candidates:
    """The best candidates of maps of anchors, as rows that are gathered whole."""
    width = BOX + 1 + classes
    tables = [emit.reshape(_channels_last(emit, each), -1, width) for each in maps]
    ranks = []
    for table, size, each in zip(tables, sizes, maps, strict=True):
        logits = emit.reshape(emit.slice(table, 1, OBJECTNESS, OBJECTNESS + 1), -1, size.cells, size.anchors)
        if each.shape[0] > 1:
            logits = emit.slice(logits, 0, picture, picture + 1)
        ranks.append(emit.reshape(emit("Transpose", logits, perm=[0, 2, 1]), -1))
    best = top(emit, emit("Concat", *ranks, axis=0), most, sum(size.cells * size.anchors for size in sizes))
    chosen = _locate(emit, best, sizes)
    values: gs.Variable | None = None
    for place, (size, table) in enumerate(zip(sizes, tables, strict=True)):
        here = emit("Equal", chosen.level, integers(place), dtype=np.bool_)
        row = emit("Mul", chosen.cell, integers(size.anchors), dtype=np.int64)
        row = emit("Add", emit("Add", row, chosen.anchor, dtype=np.int64),
                   integers(picture * size.cells * size.anchors), dtype=np.int64)  # fmt: skip
        own = emit("Gather", table, emit("Where", here, row, integers(0), dtype=np.int64), axis=0)
        values = own if values is None else emit("Where", emit.reshape(here, -1, 1, dtype=np.bool_), own, values)
    assert values is not None
    return from_logits(emit, values, chosen, heads, classes)


def _channels_last(emit: Emitter, tensor: gs.Variable) -> gs.Variable:
    """A map [batch, h, w, channels], made once for all pictures."""
    for reader in tensor.outputs:
        if reader.op == "Transpose" and list(reader.attrs.get("perm", ())) == _TO_LAST:
            return reader.outputs[0]
    return emit("Transpose", emit.as_float(tensor), perm=_TO_LAST)


def _rank(emit: Emitter, heads: RawHeads, tensors: Any, place: int, classes: int, picture: int) -> gs.Variable:
    """The logits of one stride that candidates are ranked by, anchor by anchor."""
    head = heads.heads[place]
    if heads.decoding == "anchors":
        found = emit.slice(tensors[head.boxes], 1, OBJECTNESS, _FAR, step=BOX + 1 + classes)
    elif heads.decoding == "offsets":
        found = tensors[head.objectness]
    else:
        found = emit.largest(tensors[head.scores], 1, keep=True)
    batch = tensors[head.boxes].shape[0]
    return found if batch == 1 else emit.slice(found, 0, picture, picture + 1)


def _locate(emit: Emitter, best: gs.Variable, sizes: Sequence[Grid]) -> Chosen:
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
    return Chosen(level, anchor, cell, place, emit("Gather", strides, level, axis=0))


def _gather(
    emit: Emitter, maps: Sequence[gs.Variable], chosen: Chosen, sizes: Sequence[Grid], channels: int, picture: int
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
