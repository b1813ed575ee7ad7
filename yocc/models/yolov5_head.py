"""The anchor-based detection head of YOLOv5 and the decoding of its logits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from yocc.models.graph_writer import Value
from yocc.models.layers import LayerWriter

STRIDES = (8, 16, 32)
ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
"""Width and height in input pixels of the three anchors of each stride (models/yolov5s.yaml of the reference)."""


@dataclass(frozen=True)
class DetectHead:
    """The anchor-based head: one 1x1 convolution per level and the decoding of its logits."""

    writer: LayerWriter
    classes: int

    @property
    def width(self) -> int:
        """Numbers per anchor: box, objectness, classes."""
        return 5 + self.classes

    def raw(self, levels: tuple[Value, ...]) -> None:
        """Writes one output of logits per level."""
        self.writer.output(*(self._logits(x, i, output=f"output{i}") for i, x in enumerate(levels)))

    def decoded(self, levels: tuple[Value, ...]) -> None:
        """Writes the one output of boxes in pixels and scores in 0..1."""
        two = self._number(np.float32(2), "Constant_1")
        sizes = self.writer.constant([2, 2, self.width - 4])
        rows = [self._decode(self._logits(x, i), i, two, sizes) for i, x in enumerate(levels)]
        self.writer.output(self.writer.concat(rows, 1, name="/model.24/Concat_3", output="output0"))

    def _logits(self, x: Value, level: int, output: str = "") -> Value:
        """The level's logits, [1, anchors, h, w, width]."""
        writer = self.writer
        height, width = x.spatial
        anchors = len(ANCHORS[level])
        name = f"/model.24/m.{level}/Conv"
        bias = self._bias(level)
        x = writer.conv(x, anchors * self.width, bias=bias, name=name, parameters=f"model.24.m.{level}")
        x = writer.reshape(x, (1, anchors, self.width, height, width), name=_numbered("Reshape", 2 * level))
        return writer.transpose(x, (0, 1, 3, 4, 2), name=_numbered("Transpose", level), output=output)

    def _bias(self, level: int) -> NDArray[np.float32]:
        """Prior of 8 objects per 640-pixel image and of the classes (Lin et al. 2017, section 3.3)."""
        bias = self.writer.draw_bias(3 * self.width).reshape(3, self.width)
        bias[:, 4] += math.log(8 / (640 / STRIDES[level]) ** 2)
        bias[:, 5:] += math.log(0.6 / (self.classes - 0.99999))
        return bias.reshape(-1)

    def _decode(self, logits: Value, level: int, two: Value, sizes: str) -> Value:
        """Boxes in pixels: centre (2 s - 0.5 + cell) * stride, size (2 s)^2 * anchor, for s the sigmoid."""
        writer = self.writer
        _, anchors, height, width, _ = logits.shape
        y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        cells = np.stack([x, y], axis=-1).astype(np.float32) - np.float32(0.5)
        shape = (1, anchors, height, width, 2)
        boxes = np.array(ANCHORS[level], np.float32).reshape(1, anchors, 1, 1, 2)
        grid = self._number(np.broadcast_to(cells, shape), f"Constant_{2 + 8 * level}")
        stride = self._number(np.float32(STRIDES[level]), f"Constant_{3 + 8 * level}")
        anchor = self._number(np.broadcast_to(boxes, shape), f"Constant_{6 + 8 * level}")

        scores = writer.activation("Sigmoid", logits, name=_numbered("Sigmoid", level))
        centre, extent, rest = writer.split(
            scores, (2, 2, self.width - 4), 4, name=_numbered("Split", level), shared=sizes
        )
        centre = writer.mul(centre, two, name=_numbered("Mul", 4 * level))
        centre = writer.add(centre, grid, name=_numbered("Add", level))
        centre = writer.mul(centre, stride, name=_numbered("Mul", 4 * level + 1))
        extent = writer.mul(extent, two, name=_numbered("Mul", 4 * level + 2))
        extent = writer.node("Pow", [extent, two], extent.shape, name=_numbered("Pow", level))
        extent = writer.mul(extent, anchor, name=_numbered("Mul", 4 * level + 3))
        rows = writer.concat([centre, extent, rest], 4, name=_numbered("Concat", level))
        shape_out = (1, anchors * height * width, self.width)
        return writer.reshape(rows, shape_out, name=_numbered("Reshape", 2 * level + 1))

    def _number(self, value: np.float32 | NDArray[np.float32], name: str) -> Value:
        """A Constant node, which is what the export has for everything that is no weight and no shape."""
        tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)))
        return self.writer.node("Constant", [], np.shape(value), attributes={"value": tensor}, name=f"/model.24/{name}")


def _numbered(op: str, index: int) -> str:
    """The exporter numbers equal ops of a scope from the second on."""
    return f"/model.24/{op}_{index}" if index else f"/model.24/{op}"
