"""YOLOX: decoupled heads, one candidate for each cell, grids within or outside the graph."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.heads import find_head, output_channels
from yocc.compiler.pipeline.outputs import RawHead, RawHeads
from yocc.compiler.pipeline.passes import Cells, Detection
from yocc.models.families.family import Decoding, Family, NoRawHeadsError
from yocc.models.families.layouts import Channels, Decoded, Floats, cell_grid, sigmoid, split_channels
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.models.families.reading import MOVING, STRIDES, cells, class_names, dimensions, rank, written
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_BOX = 4
_BOX_AND_OBJECTNESS = 5
_CELLS = Cells((0.0,))
"""Offsets are counted from the upper left corner of a cell."""
_UNARY = {"Identity", "Cast", "QuantizeLinear", "DequantizeLinear"}
"""What may stand between a last convolution and its Sigmoid or Concat."""


@dataclass(frozen=True)
class YoloX(Family):
    """YOLOX, exported with or without its decoding (`decode_in_inference`)."""

    name: ClassVar[str] = "yolox"
    summary: ClassVar[str] = "YOLOX: decoupled heads without anchors; grids within or outside the graph."
    feeding: ClassVar[Preprocess] = Preprocess(colors="bgr", scale=1.0, letterbox=True, alignment="top_left")
    priority: ClassVar[int] = 1

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """At each stride box, objectness and classes from convolutions of their own, joined in this order."""
        if len(graph.outputs) != 1 or rank(graph.outputs[0]) != 3:
            return None
        output = graph.outputs[0]
        head = find_head(graph, [output])
        levels = [found for node in head.decode if (found := _level(node)) is not None]
        strides = next((some for some in STRIDES if len(some) == len(levels)), ())
        if not strides or not head.pointwise or len(head.layers) != 3 * len(levels) or len(set(levels)) != 1:
            return None
        count, width = dimensions(output)[1:]
        classes = class_names(metadata, levels[0])
        if classes is None or count not in (None, cells(picture, strides)):
            return None
        if width not in (None, _BOX_AND_OBJECTNESS + levels[0]) or not _finest_first(head.decode):
            return None
        computing = _computing(head.layers)
        if computing and "Exp" not in computing:
            return None
        return ModelProfile(
            family=self.name,
            layout=OutputLayout.ROWS if computing else OutputLayout.OWN,
            outputs=(output.name,),
            classes=classes,
            strides=strides,
            input=picture,
            preprocess=self.feeding,
            protected=written(head),
            detection=_detection(len(classes)),
            cells=_CELLS,
        )

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Decode as YOLOX does (yolox/models/yolo_head.py, `decode_outputs`).

        `xy = (t_xy + cell) * stride`, `wh = exp(t_wh) * stride`.
        """
        if profile.layout is OutputLayout.ROWS:
            return super().decode(outputs, profile, confidence)
        rows = _joined(outputs) if profile.layout is OutputLayout.RAW_HEADS else outputs[0]
        places = np.flatnonzero(rows[:, 4] > confidence)
        rows = rows[places]
        corners, strides = cell_grid(profile.size, profile.strides)
        boxes = np.empty((len(rows), _BOX), np.float32)
        boxes[:, :2] = (rows[:, :2] + corners[places]) * strides[places]
        boxes[:, 2:] = np.exp(rows[:, 2:4]) * strides[places]
        return boxes, rows[:, 5:] * rows[:, 4:5]

    def channels(self, shape: Sequence[int], profile: ModelProfile) -> Channels | None:
        """As for decoded rows with or without decoding in the graph."""
        if profile.layout not in (OutputLayout.ROWS, OutputLayout.OWN):
            return None
        return split_channels(shape[-1], len(profile.classes), len(shape) - 1, objectness=True)

    def raw_heads(
        self,
        profile: ModelProfile,
        sizes: Mapping[str, tuple[int, ...]],
        decoding: Decoding,  # noqa: ARG002 # the sizes say it all
    ) -> Iterator[RawHeads]:
        """Three convolutions for each stride, in each order that is possible."""
        maps = sorted({size[2:] for size in sizes.values()}, key=lambda size: -int(np.prod(size)))
        levels = [sorted(name for name, size in sizes.items() if size[2:] == one) for one in maps]
        wanted = (_BOX, 1, len(profile.classes))
        ways = [
            [way for way in itertools.permutations(level) if tuple(sizes[name][1] for name in way) == wanted]
            for level in levels
        ]
        if len(levels) != len(profile.strides) or not all(ways):
            raise NoRawHeadsError("its last layers are not boxes, objectness and scores for each stride")
        for way in itertools.product(*ways):
            yield RawHeads(
                tuple(
                    RawHead(stride, boxes, scores, objectness=objectness)
                    for (boxes, objectness, scores), stride in zip(way, profile.strides, strict=True)
                )
            )


def _joined(heads: Sequence[Floats]) -> Floats:
    """Rows [N, 5+C] as a graph without grids gives them, from box, objectness and classes [c, h, w] of each level."""
    levels = [
        np.concatenate([box, sigmoid(there), sigmoid(scores)]).reshape(len(box) + len(there) + len(scores), -1).T
        for box, there, scores in zip(heads[::3], heads[1::3], heads[2::3], strict=True)
    ]
    return np.concatenate(levels)


def _detection(classes: int) -> Detection | None:
    """None for as many classes as a box has sides: layers are told apart by their channels."""
    return None if classes == _BOX else Detection(classes, objectness=True, decoupled=True)


def _level(node: gs.Node) -> int | None:
    """Number of classes where a node joins box, objectness and classes of a stride, None where it does not."""
    if node.op != "Concat" or len(node.inputs) != 3 or node.attrs.get("axis") not in (1, -3):
        return None
    sources = [_source(tensor) for tensor in node.inputs]
    if [squashed for _, squashed in sources] != [False, True, True]:
        return None
    box, there, classes = (0 if conv is None else output_channels(conv) for conv, _ in sources)
    return classes if (box, there) == (_BOX, 1) and classes else None


def _source(tensor: gs.Variable) -> tuple[gs.Node | None, bool]:
    """The convolution a tensor comes from, and whether through a Sigmoid."""
    squashed = False
    while tensor.inputs:
        node = tensor.inputs[0]
        if node.op == "Conv":
            return node, squashed
        if node.op == "Sigmoid" and not squashed:
            squashed = True
        elif node.op not in _UNARY:
            break
        tensor = node.inputs[0]
    return None, squashed


def _finest_first(decode: Sequence[gs.Node]) -> bool:
    """Whether the levels are joined, and where their sizes are known the finest comes first."""
    for node in decode:
        levels = [_level_behind(tensor) for tensor in node.inputs] if node.op == "Concat" else []
        if len(levels) > 1 and all(level is not None for level in levels):
            sizes = [dimensions(level.outputs[0])[2:] for level in levels if level is not None]
            known = [height * width for height, width in sizes if height and width]
            return known == sorted(known, reverse=True)
    return False


def _level_behind(tensor: gs.Variable) -> gs.Node | None:
    """The node that joins a level, where a tensor holds nothing else."""
    while tensor.inputs:
        node = tensor.inputs[0]
        if _level(node) is not None:
            return node
        if node.op not in MOVING or node.op == "Concat":
            break
        tensor = node.inputs[0]
    return None


def _computing(layers: Sequence[gs.Node]) -> set[str]:
    """Operators that compute with what the layers give, apart from Sigmoid."""
    found: set[str] = set()
    seen: set[int] = set()
    pending = [tensor for node in layers for tensor in node.outputs]
    while pending:
        for node in pending.pop().outputs:
            if id(node) in seen or node.op == "Shape":
                continue
            seen.add(id(node))
            found.add(node.op)
            pending += node.outputs
    return found - MOVING - {"Sigmoid"}
