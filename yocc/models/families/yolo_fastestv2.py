"""YOLO-Fastest V2: three anchors a cell that share their class scores, at strides 16 and 32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.heads import output_channels
from yocc.compiler.pipeline.passes import Detection
from yocc.models.families.family import Family
from yocc.models.families.layouts import Channels, Decoded, Floats
from yocc.models.families.profile import Anchors, ModelProfile, OutputLayout
from yocc.models.families.reading import MOVING, class_names, stated_anchors
from yocc.models.families.tails import Tail, protected_by, tails
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_STRIDES = (16, 32)
_ANCHORS: Anchors = (
    ((12.64, 19.39), (37.88, 51.48), (55.71, 138.31)),
    ((126.91, 78.23), (131.57, 214.55), (279.92, 258.87)),
)
"""Published in data/coco.data."""
_PER_CELL = 3
_BOX = 4


@dataclass(frozen=True)
class YoloFastestV2(Family):
    """YOLO-Fastest V2 (dog-qiuqiu/Yolo-FastestV2), exported with `export_onnx`.

    Preprocessing as in its demo (sample/ncnn/src/yolo-fastestv2.cpp): BGR in 0..1, stretched. Anchors of one's own
    are read from an entry `anchors` of the metadata, in pixels.
    """

    name: ClassVar[str] = "yolo_fastestv2"
    summary: ClassVar[str] = "YOLO-Fastest V2: anchors that share class scores, a grid for each of two strides."
    feeding: ClassVar[Preprocess] = Preprocess("bgr")
    priority: ClassVar[int] = 1

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """Two grids [1, h, w, 15 + C] of boxes, objectness and classes from convolutions of their own."""
        if len(graph.outputs) != len(_STRIDES):
            return None
        found = sorted(tails(graph, picture), key=lambda tail: -(tail.shape[1] or 0) if len(tail.shape) == 4 else 0)
        channels = {_classes(tail) for tail in found}
        count = channels.pop() or 0
        if channels or [tail.shape[1:3] for tail in found] != [_grid(picture, stride) for stride in _STRIDES]:
            return None
        classes = class_names(metadata, count)
        if classes is None:
            return None
        return ModelProfile(
            family=self.name,
            layout=OutputLayout.OWN,
            outputs=tuple(tail.name for tail in found),
            classes=classes,
            strides=_STRIDES,
            input=picture,
            preprocess=self.feeding,
            protected=protected_by(found),
            detection=_detection(len(classes)),
            anchors=stated_anchors(metadata, _ANCHORS),
        )

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Decode as YOLO-Fastest V2 does (sample/ncnn/src/yolo-fastestv2.cpp, `predHandle`).

        `xy = (2 t_xy - 0.5 + cell) * stride`, `wh = (2 t_wh)^2 * anchor`; a score is objectness times class.
        """
        parts = [
            _from_grid(grid, stride, np.asarray(anchors, np.float32), confidence)
            for grid, stride, anchors in zip(outputs, profile.strides, profile.anchors, strict=True)
        ]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def channels(self, shape: Sequence[int], profile: ModelProfile) -> Channels:  # noqa: ARG002 # one layout
        """Boxes of all anchors, their objectness, classes."""
        bounds = (0, _PER_CELL * _BOX, _PER_CELL * (_BOX + 1), shape[-1])
        labels = ("boxes", "objectness", "classes")
        groups = tuple(
            (label, tuple(range(low, high))) for label, low, high in zip(labels, bounds, bounds[1:], strict=False)
        )
        return Channels(len(shape) - 1, groups)


def _detection(classes: int) -> Detection | None:
    """None where classes are as many as another layer's channels: layers are told apart by their channels."""
    if classes in (_PER_CELL, _PER_CELL * _BOX):
        return None
    return Detection(classes, objectness=True, decoupled=True, candidates=_PER_CELL, competing=True)


def _from_grid(grid: Floats, stride: int, anchors: Floats, confidence: float) -> Decoded:
    """Candidates of a grid [h, w, A * 4 + A + C]."""
    count = len(anchors)
    boxes = grid[..., : _BOX * count].reshape(*grid.shape[:2], count, _BOX)
    there = grid[..., _BOX * count : (_BOX + 1) * count]
    row, column, anchor = np.nonzero(there > confidence)
    values = boxes[row, column, anchor]
    cell = np.stack([column, row], axis=1).astype(np.float32)
    centers = (values[:, :2] * 2 - np.float32(0.5) + cell) * stride
    sides = (values[:, 2:] * 2) ** 2 * anchors[anchor]
    scores = grid[row, column, (_BOX + 1) * count :] * there[row, column, anchor][:, None]
    return np.concatenate([centers, sides], axis=1), scores


def _classes(tail: Tail) -> int | None:
    """Number of classes of a grid of boxes, objectness and classes, in this order; None where it is none."""
    joins = [node for node in tail.head.decode if node.op == "Concat" and len(node.inputs) == 3]
    if len(tail.shape) != 4 or tail.computing != {"Sigmoid", "Softmax"} or len(joins) != 1:
        return None
    sources = [_source(tensor) for tensor in joins[0].inputs]
    if [ops for _, ops in sources] != [{"Sigmoid"}, {"Sigmoid"}, {"Softmax"}]:
        return None
    boxes, there, classes = (0 if conv is None else output_channels(conv) for conv, _ in sources)
    fits = (boxes, there) == (_PER_CELL * _BOX, _PER_CELL) and tail.width == boxes + there + classes
    return classes if fits and classes else None


def _source(tensor: gs.Variable) -> tuple[gs.Node | None, set[str]]:
    """The convolution a tensor comes from, and what is computed on the way."""
    computing: set[str] = set()
    while tensor.inputs:
        node = tensor.inputs[0]
        if node.op == "Conv":
            return node, computing
        if node.op not in MOVING:
            computing.add(node.op)
        if node.op == "Concat" or not node.inputs:
            break
        tensor = node.inputs[0]
    return None, computing


def _grid(picture: InputSpec, stride: int) -> tuple[int, int]:
    height, width = picture.size
    return -(-height // stride), -(-width // stride)
