"""YOLOv8 and YOLO11: no anchors, distances to the edges of a box as distributions over bins."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.heads import find_head
from yocc.compiler.pipeline.outputs import RawHead, RawHeads
from yocc.compiler.pipeline.passes import Cells, Detection
from yocc.models.families.family import Decoding, Family, NoRawHeadsError
from yocc.models.families.layouts import Channels, Decoded, Floats, mean_distances, sigmoid
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.models.families.reading import (
    OTHER_STRIDES,
    STRIDES,
    YOLO_FEEDING,
    cells,
    class_names,
    dimensions,
    fills,
    literal,
    rank,
    strides_of_convolutions,
    written,
    yolo_preprocess,
)
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_BOX = 4
_SIDES = 4
_ANGLES = "angles"
_FORMS = {"pose": "keypoints", "obb": _ANGLES}
"""What follows the classes, by the task in the metadata."""
_CELLS = Cells((0.5,))
"""Distances are counted from the middle of a cell."""


@dataclass(frozen=True)
class YoloV8(Family):
    """YOLOv8 and what decodes as it does."""

    name: ClassVar[str] = "yolov8"
    summary: ClassVar[str] = "YOLOv8 and YOLO11: no anchors, decoded columns; also with masks, keypoints or angles."
    feeding: ClassVar[Preprocess] = YOLO_FEEDING

    tasks: ClassVar[tuple[str, ...]] = ("detect", "segment", "pose", "obb")

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """One output of columns, a candidate for each cell, and of masks their prototypes."""
        output = graph.outputs[0] if graph.outputs else None
        if output is None or rank(output) != 3 or len(graph.outputs) > 2:
            return None
        head = find_head(graph, [output])
        _, width, count = dimensions(output)
        if width is None:
            return None
        form, behind = _form(graph, metadata, width - _BOX)
        strides: tuple[int, ...] = next(
            (some for some in STRIDES + OTHER_STRIDES if fills(picture, some) and count == cells(picture, some)), ()
        )
        if count is None and head.squashes:
            strides = strides_of_convolutions(head.channels, per_stride=2 if not form else 3)
        classes = class_names(metadata, width - _BOX - behind) if strides and behind >= 0 else None
        if classes is None:
            return None
        return ModelProfile(
            family=self.name,
            layout=OutputLayout.OWN if form else OutputLayout.COLUMNS,
            form=form,
            outputs=(output.name,),
            classes=classes,
            strides=strides,
            input=picture,
            preprocess=yolo_preprocess(picture),
            protected=written(head),
            detection=Detection(len(classes), objectness=False),
            cells=_CELLS,
        )

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Decode raw heads as YOLOv8 does (ultralytics/nn/modules/head.py, `Detect`).

        Distances left, top, right and bottom are counted in cells from the middle of the cell.
        """
        if profile.layout is OutputLayout.OWN:
            return _with_more(outputs[0], profile, confidence)
        if profile.layout is not OutputLayout.RAW_HEADS:
            return super().decode(outputs, profile, confidence)
        parts = [
            _from_raw_head(boxes, scores, stride, confidence)
            for boxes, scores, stride in zip(outputs[::2], outputs[1::2], profile.strides, strict=True)
        ]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def channels(self, shape: Sequence[int], profile: ModelProfile) -> Channels | None:
        """As for columns, with what follows the classes; raw heads are boxes or scores as a whole."""
        if profile.layout is not OutputLayout.OWN:
            return None if profile.layout is OutputLayout.RAW_HEADS else super().channels(shape, profile)
        first = _BOX + len(profile.classes)
        bounds = (("boxes", 0, _BOX), ("classes", _BOX, first), (profile.form, first, shape[1]))
        return Channels(1, tuple((label, tuple(range(low, high))) for label, low, high in bounds))

    def raw_heads(
        self,
        profile: ModelProfile,
        sizes: Mapping[str, tuple[int, ...]],
        decoding: Decoding,  # noqa: ARG002 # the sizes say it all
    ) -> Iterator[RawHeads]:
        """Two convolutions for each stride, in each order that is possible."""
        if profile.layout is OutputLayout.OWN:
            raise NoRawHeadsError(f"its candidates have {profile.form} beside boxes and classes")
        ways = _pair_heads(sizes, profile.strides, len(profile.classes))
        if not ways:
            raise NoRawHeadsError("its last layers are not boxes and scores for each stride")
        for way in ways:
            heads = (RawHead(stride, *pair) for pair, stride in zip(way, profile.strides, strict=True))
            yield RawHeads(tuple(heads), bins=sizes[way[0][0]][1] // _SIDES)


def _form(graph: gs.Graph, metadata: Mapping[str, str], width: int) -> tuple[str, int]:
    """What the columns hold behind the classes, and how many rows it takes; negative where it does not fit.

    Prototypes of masks tell that there are masks. Keypoints and angles take the task and the class names in the
    metadata.
    """
    if len(graph.outputs) == 2:
        prototypes = dimensions(graph.outputs[1])
        return "masks", (prototypes[1] or -1) if len(prototypes) == 4 else -1
    task = metadata.get("task", "detect")
    if task == "detect":
        return "", 0
    named = literal(metadata.get("names", ""))
    behind = width - len(named) if isinstance(named, dict | list | tuple) else -1
    fits = task in _FORMS and behind > 0 and (task != "obb" or behind == 1)
    return _FORMS.get(task, ""), behind if fits else -1


def _with_more(columns: Floats, profile: ModelProfile, confidence: float) -> Decoded:
    """Boxes and classes of columns [4 + C + more, N]; of rotated boxes the upright ones around them."""
    first = _BOX + len(profile.classes)
    columns = columns[:, columns[_BOX:first].max(axis=0) > confidence]
    boxes, scores = columns[:_BOX].T, columns[_BOX:first].T
    if profile.form == _ANGLES:
        cosine, sine = np.abs(np.cos(columns[first])), np.abs(np.sin(columns[first]))
        wide, high = columns[2], columns[3]
        boxes = np.stack([columns[0], columns[1], wide * cosine + high * sine, wide * sine + high * cosine], axis=1)
    return boxes, scores


def _from_raw_head(boxes: Floats, scores: Floats, stride: int, confidence: float) -> Decoded:
    """Candidates of bins [4 * bins, h, w] and logits of classes [C, h, w]."""
    scores = sigmoid(scores)
    row, column = np.nonzero(scores.max(axis=0) > confidence)
    left, top, right, bottom = mean_distances(boxes[:, row, column])
    half = np.float32(0.5)
    centers = [column + half + (right - left) / 2, row + half + (bottom - top) / 2]
    found = np.stack([*centers, left + right, top + bottom], axis=1) * stride
    return found.astype(np.float32), scores[:, row, column].T


def _pair_heads(
    sizes: Mapping[str, tuple[int, ...]], strides: Sequence[int], classes: int
) -> list[list[tuple[str, str]]]:
    """Ways to pair the last convolutions into boxes and scores of each stride.

    There are several where the bins are as many as the classes; none where the convolutions are not two for each
    stride.
    """
    maps = sorted({size[2:] for size in sizes.values()}, key=lambda size: -int(np.prod(size)))
    levels = [sorted(name for name, size in sizes.items() if size[2:] == one) for one in maps]
    if len(levels) != len(strides) or any(len(level) != 2 for level in levels):
        return []
    ways = itertools.product(*([(one, other), (other, one)] for one, other in levels))
    return [list(way) for way in ways if _fits(way, sizes, classes)]


def _fits(way: Sequence[tuple[str, str]], sizes: Mapping[str, tuple[int, ...]], classes: int) -> bool:
    bins = {sizes[boxes][1] for boxes, _ in way}
    return len(bins) == 1 and bins.pop() % _SIDES == 0 and all(sizes[scores][1] == classes for _, scores in way)
