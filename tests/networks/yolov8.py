"""A small anchor-free detector in the manner of YOLOv8: C2f backbone, decoupled head, decoding of box bins."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx

from tests.networks.blocks import c2f_block, conv_norm_act
from yocc.models.graph_writer import Value
from yocc.models.layers import LayerWriter, Window

_BINS = 16
_DOWN = Window(3, 2, pads=1)


def yolov8(
    seed: int,
    classes: int = 3,
    size: int = 32,
    strides: Sequence[int] = (4, 8),
    *,
    task: str = "detect",
    more: int = 0,
) -> onnx.ModelProto:
    """Builds the detector.

    Args:
        seed: of the weights.
        classes: number of classes.
        size: input height and width in pixels, a multiple of the last stride.
        strides: input pixels per cell of each level, doubling, from 4 on.
        task: "segment" adds the output `output1`, prototypes [1, more, h, w] of the finest level.
        more: rows behind the classes, such as coefficients of masks, keypoints or angles.

    Returns:
        A model from `images` [1, 3, size, size] to `output0` [1, 4 + classes, cells]: centre x and y, width and height
        in pixels, class scores in 0..1.
    """
    writer = LayerWriter(seed)
    x = conv_norm_act(writer, writer.input("images", (1, 3, size, size), power=1 / 3), 8, _DOWN, act="Silu")
    levels: list[Value] = []
    for stride in (2**power for power in range(2, strides[-1].bit_length())):
        x = c2f_block(writer, conv_norm_act(writer, x, 16, _DOWN, act="Silu"), 16, count=1)
        levels += [x] if stride in strides else []
    for finer in reversed(range(len(levels) - 1)):
        joined = writer.concat([levels[finer], writer.upsample(levels[finer + 1])])
        levels[finer] = c2f_block(writer, joined, 16, count=1, shortcut=False)
    rows = writer.concat([_head(writer, x, classes) for x in levels], axis=2)
    box, scores = writer.split(rows, (4 * _BINS, classes))
    decoded = _decode(writer, _expected_distance(writer, box), levels, size)
    parts = [decoded, writer.activation("Sigmoid", scores)]
    if more:
        rows = [writer.conv(conv_norm_act(writer, x, 8, Window(3), act="Silu"), more) for x in levels]
        parts.append(writer.concat([writer.reshape(x, (1, more, x.spatial[0] * x.spatial[1])) for x in rows], axis=2))
    writer.output(writer.concat(parts, output="output0"))
    if task == "segment":
        prototypes = conv_norm_act(writer, levels[0], more, Window(3), act="Silu")
        writer.output(writer.node("Identity", [prototypes], prototypes.shape, output="output1"))
    return writer.model({"stride": "8", "names": str({i: str(i) for i in range(classes)}), "task": task})


def _head(writer: LayerWriter, x: Value, classes: int) -> Value:
    """Box bins and class logits of one level, [1, 64 + classes, cells]."""
    box = writer.conv(conv_norm_act(writer, x, 16, Window(3), act="Silu"), 4 * _BINS)
    bias = (writer.draw_bias(classes) + math.log(0.05)).astype(np.float32)
    scores = writer.conv(conv_norm_act(writer, x, 8, Window(3), act="Silu"), classes, bias=bias)
    joined = writer.concat([box, scores])
    return writer.reshape(joined, (1, joined.channels, x.spatial[0] * x.spatial[1]))


def _expected_distance(writer: LayerWriter, box: Value) -> Value:
    """Mean of each distribution over 16 bins (Li et al. 2020, equation 5), by a 1x1 convolution of arange."""
    cells = box.shape[2]
    bins = writer.transpose(writer.reshape(box, (1, 4, _BINS, cells)), (0, 2, 1, 3))
    bins = writer.node("Softmax", [bins], bins.shape, attributes={"axis": 1})
    weight = writer.constant(np.arange(_BINS, dtype=np.float32).reshape(1, _BINS, 1, 1), "dfl.conv.weight")
    return writer.reshape(writer.conv(bins, 1, bias=False, filters=weight), (1, 4, cells))


def _decode(writer: LayerWriter, distance: Value, levels: Sequence[Value], size: int) -> Value:
    """Distances left, top, right, bottom in cells to centre, width and height in pixels."""
    points, strides = [], []
    for level in levels:
        height, width = level.spatial
        y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
        points.append(np.stack([x.reshape(-1), y.reshape(-1)]))
        strides.append(np.full((1, height * width), size / height))
    anchors = writer.constant(np.concatenate(points, axis=1)[None].astype(np.float32))
    shape = (1, 2, distance.shape[2])
    near, far = writer.slice(distance, 1, 0, 2), writer.slice(distance, 1, 2, 4)
    low = writer.node("Sub", [anchors, near], shape)
    high = writer.node("Add", [anchors, far], shape)
    centre = writer.node("Div", [writer.add(low, high), writer.constant(np.array(2, np.float32))], shape)
    extent = writer.node("Sub", [high, low], shape)
    boxes = writer.concat([centre, extent])
    return writer.node("Mul", [boxes, writer.constant(np.concatenate(strides, axis=1).astype(np.float32))], boxes.shape)
