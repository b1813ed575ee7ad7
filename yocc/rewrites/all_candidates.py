"""All candidates of a detector, decoded, for runtimes that choose among them themselves.

Coordinates and scores are rows here: [1, channels, N].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.outputs import DetectorOutputs, RawHead, RawHeads
from yocc.rewrites.emitting import Emitter, integers, number
from yocc.rewrites.raw_candidates import Grid

_BOX = 4
Pair = tuple[gs.Variable, gs.Variable]


def all_decoded(emit: Emitter, graph: Graph, outputs: DetectorOutputs) -> Pair:
    """Corners [1, N, 4] and scores [1, C, N] of one picture, from the decoded output.

    Args:
        emit: appends to the graph.
        graph: has the decoded output.
        outputs: where that is, of layout `rows` or `columns`.
    """
    found = emit.as_float(graph.tensors()[outputs.output])
    rows = outputs.layout == "rows"
    if rows:
        found = emit("Transpose", found, perm=[0, 2, 1])
    first = _BOX + rows
    scores = emit.slice(found, 1, first, first + outputs.classes)
    if rows:
        scores = emit("Mul", scores, emit.slice(found, 1, _BOX, first))
    center, extent = emit.slice(found, 1, 0, 2), emit.slice(found, 1, 2, _BOX)
    return _upright(emit, _corners(emit, center, extent)), scores


def all_from_heads(emit: Emitter, graph: Graph, outputs: DetectorOutputs, sizes: Sequence[Grid]) -> Pair:
    """The same from the raw heads.

    Args:
        emit: appends to the graph.
        graph: has the raw heads.
        outputs: where these are.
        sizes: their grids.
    """
    heads = outputs.heads
    assert heads is not None
    known = graph.tensors()
    tensors = {name: emit.as_float(known[name]) for name in heads.names}
    pairs = [
        _decoded(emit, heads, head, tensors, size, outputs.classes)
        for head, size in zip(heads.heads, sizes, strict=True)
    ]
    corners, scores = (
        parts[0] if len(parts) == 1 else emit("Concat", *parts, axis=2) for parts in zip(*pairs, strict=True)
    )
    return _upright(emit, corners), scores


def _decoded(emit: Emitter, heads: RawHeads, head: RawHead, tensors: Any, size: Grid, classes: int) -> Pair:
    """Corners [1, 4, n] and scores [1, C, n] of one stride."""
    if heads.decoding == "anchors":
        return _from_anchors(emit, head, tensors[head.boxes], size, classes)
    scores = emit("Sigmoid", emit.reshape(tensors[head.scores], 1, classes, size.cells))
    if heads.decoding == "distances":
        return _from_distances(emit, tensors[head.boxes], size, heads.bins), scores
    scores = emit("Mul", scores, emit("Sigmoid", emit.reshape(tensors[head.objectness], 1, 1, size.cells)))
    values = emit.reshape(tensors[head.boxes], 1, _BOX, size.cells)
    center = emit("Mul", emit("Add", emit.slice(values, 1, 0, 2), _cells(size)), number(size.stride))
    extent = emit("Mul", emit("Exp", emit.slice(values, 1, 2, _BOX)), number(size.stride))
    return _corners(emit, center, extent), scores


def _from_anchors(emit: Emitter, head: RawHead, tensor: gs.Variable, size: Grid, classes: int) -> Pair:
    """`xy = (2 s - 0.5 + cell) * stride`, `wh = (2 s)^2 * anchor` (YOLOv5, models/yolo.py, `Detect.forward`)."""
    width = _BOX + 1 + classes
    values = emit("Sigmoid", emit.reshape(tensor, 1, size.anchors, width, size.cells))
    doubled = emit("Mul", emit.slice(values, 2, 0, _BOX), number(2))
    shifted = emit("Add", emit.slice(doubled, 2, 0, 2), (_cells(size) - np.float32(0.5))[None])
    center = emit("Mul", shifted, number(size.stride))
    extent = emit.slice(doubled, 2, 2, _BOX)
    anchors = np.array(head.anchors, np.float32)[None, :, :, None]
    extent = emit("Mul", emit("Mul", extent, extent), anchors)
    scores = emit("Mul", emit.slice(values, 2, _BOX + 1, width), emit.slice(values, 2, _BOX, _BOX + 1))

    def joined(each: gs.Variable, channels: int) -> gs.Variable:
        return emit.reshape(emit("Transpose", each, perm=[0, 2, 1, 3]), 1, channels, size.anchors * size.cells)

    return joined(_corners(emit, center, extent, axis=2), _BOX), joined(scores, classes)


def _from_distances(emit: Emitter, tensor: gs.Variable, size: Grid, bins: int) -> gs.Variable:
    """Means of distributions as distances from the middle of a cell (Li et al. 2020, equation 5)."""
    weights = emit("Softmax", emit.reshape(tensor, 1, _BOX, bins, size.cells), axis=2)
    steps = np.arange(bins, dtype=np.float32).reshape(1, 1, bins, 1)
    means = emit("ReduceSum", emit("Mul", weights, steps), integers(2), keepdims=0)
    middle = _cells(size) + np.float32(0.5)
    low = emit("Sub", middle, emit.slice(means, 1, 0, 2))
    high = emit("Add", emit.slice(means, 1, 2, _BOX), middle)
    return emit("Mul", emit("Concat", low, high, axis=1), number(size.stride))


def _cells(size: Grid) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Column and row [1, 2, cells] of each cell."""
    rows, columns = np.divmod(np.arange(size.cells), size.width)
    return np.stack([columns, rows])[None].astype(np.float32)


def _corners(emit: Emitter, center: gs.Variable, extent: gs.Variable, axis: int = 1) -> gs.Variable:
    half = emit("Mul", extent, number(0.5))
    return emit("Concat", emit("Sub", center, half), emit("Add", center, half), axis=axis)


def _upright(emit: Emitter, corners: gs.Variable) -> gs.Variable:
    return emit("Transpose", corners, perm=[0, 2, 1])
