"""YOLOv5: anchors and objectness, decoded rows or one raw head for each stride."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.heads import find_head
from yocc.compiler.pipeline.outputs import RawHead, RawHeads
from yocc.compiler.pipeline.passes import Cells, Detection
from yocc.models.families.family import Decoding, Family, NoRawHeadsError
from yocc.models.families.layouts import Channels, Decoded, Floats, sigmoid, split_channels
from yocc.models.families.profile import Anchors, ModelProfile, OutputLayout
from yocc.models.families.reading import (
    OTHER_STRIDES,
    STRIDES,
    YOLO_FEEDING,
    cells,
    class_names,
    dimensions,
    fills,
    rank,
    stated_anchors,
    strides_of_convolutions,
    written,
    yolo_preprocess,
)
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_BOX_AND_OBJECTNESS = 5
_CELLS = Cells((0.0, -0.5))
"""`(2 s - 0.5 + cell) * stride` with the half in the grid or apart from it."""
Array = np.ndarray[Any, Any]

# Published with YOLOv5: models/yolov5s.yaml and models/hub/yolov5s6.yaml.
YOLOV5_ANCHORS: Anchors = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
YOLOV5_P6_ANCHORS: Anchors = (
    ((19, 27), (44, 40), (38, 94)),
    ((96, 68), (86, 152), (180, 137)),
    ((140, 301), (303, 264), (238, 542)),
    ((436, 615), (739, 380), (925, 792)),
)


@dataclass(frozen=True)
class YoloV5(Family):
    """YOLOv5 and what decodes as it does."""

    name: ClassVar[str] = "yolov5"
    summary: ClassVar[str] = "YOLOv5: anchors and objectness; decoded rows, or one raw head for each stride."
    feeding: ClassVar[Preprocess] = YOLO_FEEDING

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """Several anchors in each cell, in one output of rows or in an output for each stride."""
        return _rows(graph, picture, metadata) or _raw_heads(graph, picture, metadata)

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Decode as YOLOv5 does (models/yolo.py, `Detect.forward`).

        `xy = (2 s(t_xy) - 0.5 + cell) * stride`, `wh = (2 s(t_wh))^2 * anchor`, with the sigmoid `s`.
        """
        if profile.layout is not OutputLayout.RAW_HEADS:
            return super().decode(outputs, profile, confidence)
        parts = [
            _from_raw_head(head, stride, np.asarray(anchors, np.float32), profile.squashed, confidence)
            for head, stride, anchors in zip(outputs, profile.strides, profile.anchors, strict=True)
        ]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def channels(self, shape: Sequence[int], profile: ModelProfile) -> Channels | None:
        """As for rows, repeated for each anchor."""
        if profile.layout is not OutputLayout.RAW_HEADS:
            return super().channels(shape, profile)
        axis = 1 if len(shape) == 4 else len(shape) - 1
        return split_channels(shape[axis], len(profile.classes), axis, objectness=True)

    def raw_heads(
        self, profile: ModelProfile, sizes: Mapping[str, tuple[int, ...]], decoding: Decoding
    ) -> Iterator[RawHeads]:
        """One convolution for each stride.

        Where the graph decodes, the anchors are what its own decoding makes of heads of zeros
        (`(2 * sigmoid(0))^2 * anchor = anchor`).
        """
        names = sorted(sizes, key=lambda name: -int(np.prod(sizes[name])))
        per_cell = len(profile.classes) + _BOX_AND_OBJECTNESS
        if len(names) != len(profile.strides) or any(size[1] % per_cell for size in sizes.values()):
            raise NoRawHeadsError("its last layers are not one for each stride")
        shapes = [sizes[name] for name in names]
        anchors = profile.anchors
        if profile.layout is not OutputLayout.RAW_HEADS:
            zeros = [np.zeros(size, np.float32) for size in shapes]
            anchors = _own_anchors(decoding(names)(zeros), shapes, per_cell)
        yield RawHeads(
            tuple(
                RawHead(stride, name, anchors=each)
                for name, stride, each in zip(names, profile.strides, anchors, strict=True)
            )
        )


def _rows(graph: gs.Graph, spec: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
    candidates = [output for output in graph.outputs if rank(output) == 3]
    if len(candidates) != 1:
        return None
    output = candidates[0]
    head = find_head(graph, [output])
    _, count, width = dimensions(output)
    strides: tuple[int, ...] = strides_of_convolutions(head.channels, per_stride=1)
    if count is not None and width is not None:
        strides = _strides_of_rows(spec, count, len(head.channels) if len(set(head.channels)) == 1 else 0)
        anchors = count // cells(spec, strides) if strides else 0
    else:
        # The published number of anchors; a graph with open shapes states it nowhere apart from the class count.
        anchors = 3
        width = head.channels[0] // anchors if strides and head.squashes and not head.channels[0] % anchors else 0
    # One candidate per cell would be YOLOX, which decodes differently.
    if not strides or anchors < 2:
        return None
    classes = class_names(metadata, width - _BOX_AND_OBJECTNESS)
    others = [other for other in graph.outputs if other is not output]
    if classes is None or any(_grid(other, len(classes)) is None for other in others):
        return None
    return ModelProfile(
        family=YoloV5.name,
        layout=OutputLayout.ROWS,
        outputs=(output.name,),
        classes=classes,
        strides=strides,
        input=spec,
        preprocess=yolo_preprocess(spec),
        protected=written(head),
        detection=Detection(len(classes), objectness=True),
        cells=_CELLS,
    )


def _strides_of_rows(spec: InputSpec, count: int, grids: int) -> tuple[int, ...]:
    """Strides of so many candidates, several a cell; empty where none fit.

    Variants must have as many grids as there are last layers. Of what fits so, that with most cells is it: the cells
    of strides 4 to 32 are four times those of 8 to 64.
    """
    fitting = [
        some
        for some in STRIDES + OTHER_STRIDES
        if fills(spec, some) and count % cells(spec, some) == 0 and count // cells(spec, some) > 1
    ]
    alike = [some for some in fitting if len(some) == grids]
    if alike:
        return max(alike, key=lambda some: cells(spec, some))
    return next((some for some in fitting if some in STRIDES), ())


def _raw_heads(graph: gs.Graph, spec: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
    heads = [find_head(graph, [output]) for output in graph.outputs]
    if len(heads) not in {len(some) for some in STRIDES + OTHER_STRIDES} or any(
        len(head.layers) != 1 or not head.pointwise for head in heads
    ):
        return None
    channels = {head.channels[0] for head in heads}
    if len(channels) != 1:
        return None
    total = channels.pop()
    published = YOLOV5_P6_ANCHORS if len(heads) == len(YOLOV5_P6_ANCHORS) else YOLOV5_ANCHORS[-len(heads) :]
    anchors = stated_anchors(metadata, published)
    per_cell = len(anchors[0])
    classes = class_names(metadata, total // per_cell - _BOX_AND_OBJECTNESS)
    if total % per_cell or classes is None or len({len(some) for some in anchors}) != 1:
        return None
    grids = [_grid(output, len(classes)) for output in graph.outputs]
    if any(grid is None for grid in grids):
        return None
    strides = [_stride(spec, grid) for grid in grids if grid is not None]
    if 0 in strides:
        # Open shapes: exporters write the finest head first.
        strides = list(next((some for some in STRIDES if len(some) == len(heads)), ()))
    # Of variants no anchors are published.
    known = STRIDES if anchors is published else STRIDES + OTHER_STRIDES
    if tuple(sorted(strides)) not in known or len({head.squashes for head in heads}) != 1:
        return None
    order = np.argsort(strides)
    return ModelProfile(
        family=YoloV5.name,
        layout=OutputLayout.RAW_HEADS,
        outputs=tuple(graph.outputs[place].name for place in order),
        classes=classes,
        strides=tuple(sorted(strides)),
        input=spec,
        preprocess=yolo_preprocess(spec),
        protected=frozenset().union(*(written(head) for head in heads)),
        anchors=anchors,
        squashed=heads[0].squashes,
        detection=Detection(len(classes), objectness=True),
        cells=_CELLS,
    )


def _grid(output: gs.Variable, classes: int) -> tuple[int | None, int | None] | None:
    """Height and width of a raw head's grid, None in place of an open one; None when it is no raw head."""
    sizes = dimensions(output)
    width = classes + _BOX_AND_OBJECTNESS
    if len(sizes) == 5 and sizes[4] in (width, None):
        return sizes[2], sizes[3]
    if len(sizes) == 4 and (sizes[1] is None or (sizes[1] >= width and sizes[1] % width == 0)):
        return sizes[2], sizes[3]
    return None


def _stride(spec: InputSpec, grid: tuple[int | None, int | None]) -> int:
    height, width = grid
    if not height or not width or spec.size[0] % height or spec.size[0] // height * width != spec.size[1]:
        return 0
    return spec.size[0] // height


def _from_raw_head(head: Floats, stride: int, anchors: Floats, squashed: bool, confidence: float) -> Decoded:
    if head.ndim == 3:
        # [A*(5+C), h, w] to [A, h, w, 5+C]
        head = head.reshape(len(anchors), -1, *head.shape[1:]).transpose(0, 2, 3, 1)
    objectness = head[..., 4] if squashed else sigmoid(head[..., 4])
    anchor, row, column = np.nonzero(objectness > confidence)
    values = head[anchor, row, column]
    if not squashed:
        values = sigmoid(values)
    where = np.stack([column, row], axis=1).astype(np.float32)
    centres = np.empty((len(values), 4), np.float32)
    centres[:, :2] = (values[:, :2] * 2 - 0.5 + where) * stride
    centres[:, 2:] = (values[:, 2:4] * 2) ** 2 * anchors[anchor]
    return centres, values[:, 5:] * values[:, 4:5]


def _own_anchors(rows: Array, sizes: Sequence[tuple[int, ...]], per_cell: int) -> Anchors:
    anchors = []
    start = 0
    for _, channels, height, width in sizes:
        count = channels // per_cell
        grid = height * width
        picked = rows[0, start : start + count * grid : grid, 2:4]
        anchors.append(tuple((round(float(wide), 4), round(float(high), 4)) for wide, high in picked))
        start += count * grid
    return tuple(anchors)
