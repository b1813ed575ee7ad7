"""A small detector in the manner of YOLOX: decoupled heads, one candidate for each cell, no anchors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx

from tests.networks.blocks import conv_norm_act
from yocc.models.graph_writer import Value
from yocc.models.layers import Filters, LayerWriter, Window

_DOWN = Window(3, 2, pads=1)


def yolox(
    seed: int,
    classes: int = 3,
    size: int = 64,
    strides: Sequence[int] = (8, 16, 32),
    *,
    decoded: bool = False,
    names: bool = True,
) -> onnx.ModelProto:
    """Builds the detector.

    Args:
        seed: of the weights, which are those of both forms.
        classes: number of classes.
        size: input height and width in pixels, a multiple of the last stride.
        strides: input pixels per cell of each level, doubling, from 8 on.
        decoded: whether the grids are in the graph.
        names: whether the metadata name the classes.

    Returns:
        A model from `images` [1, 3, size, size] to `output` [1, cells, 5 + classes]: center x and y, width and height,
        in pixels where decoded, else as offsets in cells and logarithms of sizes in cells; objectness and class scores
        in 0..1.
    """
    writer = LayerWriter(seed)
    x = writer.input("images", (1, 3, size, size), power=128.0**2)
    for _ in range(2):
        x = conv_norm_act(writer, x, 16, _DOWN, act="Silu")
    levels = []
    for _ in strides:
        x = conv_norm_act(writer, x, 16, _DOWN, act="Silu")
        levels.append(_head(writer, x, classes))
    rows = writer.transpose(
        writer.concat([writer.reshape(one, (1, 5 + classes, one.spatial[0] * one.spatial[1])) for one in levels], 2),
        (0, 2, 1),
        output="" if decoded else "output",
    )
    writer.output(_decode(writer, rows, levels, strides, classes) if decoded else rows)
    return writer.model({"names": str({i: str(i) for i in range(classes)})} if names else {})


def _head(writer: LayerWriter, x: Value, classes: int) -> Value:
    """Box, objectness and classes of one level, each behind layers of its own, [1, 5 + classes, h, w]."""
    stem = conv_norm_act(writer, x, 16, Window(), act="Silu")
    for_classes = conv_norm_act(writer, stem, 16, Window(3), act="Silu")
    for_boxes = conv_norm_act(writer, stem, 16, Window(3), act="Silu")
    rare = np.full(1, math.log(0.2), np.float32)
    scores = writer.conv(for_classes, classes)
    box = writer.conv(for_boxes, 4, filters=Filters(variance=0.25))
    there = writer.conv(for_boxes, 1, bias=rare)
    return writer.concat([box, writer.activation("Sigmoid", there), writer.activation("Sigmoid", scores)])


def _decode(writer: LayerWriter, rows: Value, levels: Sequence[Value], strides: Sequence[int], classes: int) -> Value:
    """Offsets to pixels: `xy = (t + cell) * stride`, `wh = exp(t) * stride` (YOLOX, `decode_outputs`)."""
    grids, scales = [], []
    for level, stride in zip(levels, strides, strict=True):
        height, width = level.spatial
        y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        grids.append(np.stack([x.reshape(-1), y.reshape(-1)], axis=1))
        scales.append(np.full((height * width, 1), stride))
    grid = writer.constant(np.concatenate(grids)[None].astype(np.float32))
    scale = writer.constant(np.concatenate(scales)[None].astype(np.float32))
    shape = (*rows.shape[:2], 2)
    moved = writer.node("Add", [writer.slice(rows, 2, 0, 2), grid], shape)
    grown = writer.node("Exp", [writer.slice(rows, 2, 2, 4)], shape)
    center, extent = (writer.node("Mul", [part, scale], shape) for part in (moved, grown))
    return writer.concat([center, extent, writer.slice(rows, 2, 4, 5 + classes)], 2, output="output")
