"""RT-DETR and D-FINE: transformers that give a fixed number of detections without suppression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.models.families.end_to_end import (
    LEAST_CONFIDENCE,
    NOTHING_DROPPED,
    divided_by,
    named_classes,
    one_class_each,
)
from yocc.models.families.family import Family
from yocc.models.families.layouts import Channels, Decoded, Floats, boxes_between, pixels_of, to_pixels
from yocc.models.families.profile import ModelProfile, OutputLayout, Suppression
from yocc.models.families.reading import cells, class_names
from yocc.models.families.tails import Tail, of_width, protected_by, tails
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_BOX = 4


@dataclass(frozen=True)
class RtDetr(Family):
    """RT-DETR as Ultralytics exports it, and RT-DETR or D-FINE with labels, boxes and scores.

    Preprocessing as in their demos (Peterande/D-FINE, tools/inference/onnx_inf.py): RGB in 0..1, stretched.
    """

    name: ClassVar[str] = "rtdetr"
    summary: ClassVar[str] = "RT-DETR and D-FINE: boxes and classes of queries, or labels, boxes and scores."
    feeding: ClassVar[Preprocess] = Preprocess("rgb")
    priority: ClassVar[int] = 1

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """Queries [1, K, 4 + C], or labels [1, K], boxes [1, K, 4] and scores [1, K] chosen by TopK."""
        if len(graph.outputs) not in (1, 3) or all(node.op != "TopK" for node in graph.nodes):
            return None
        found = tails(graph, picture)
        outputs, count = (
            _queries(graph, found[0], picture) if len(found) == 1 else _labels_boxes_scores(graph, found, metadata)
        )
        classes = class_names(metadata, count)
        if not outputs or classes is None:
            return None
        return ModelProfile(
            family=self.name,
            layout=OutputLayout.OWN,
            outputs=tuple(tail.name for tail in outputs),
            classes=classes,
            strides=(),
            input=picture,
            preprocess=self.feeding,
            protected=protected_by(found),
            suppression=Suppression(LEAST_CONFIDENCE, NOTHING_DROPPED, outputs[0].shape[1] or 1),
        )

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Boxes of queries are center and sides in 0..1; those with labels are corners in 0..1 or in pixels."""
        if len(outputs) == 1:
            rows = outputs[0][outputs[0][:, _BOX:].max(axis=1) > confidence]
            return to_pixels(rows[:, :_BOX], profile.size), rows[:, _BOX:]
        labels, corners, scores = outputs
        corners = pixels_of(corners, profile.size)
        places = np.flatnonzero(scores > confidence)
        return boxes_between(corners[places]), one_class_each(scores[places], labels[places], len(profile.classes))

    def channels(self, shape: Sequence[int], profile: ModelProfile) -> Channels | None:
        """Boxes before classes where one output has both."""
        if len(profile.outputs) > 1:
            return None
        groups = (("boxes", tuple(range(_BOX))), ("classes", tuple(range(_BOX, shape[-1]))))
        return Channels(len(shape) - 1, groups)


def _queries(graph: gs.Graph, tail: Tail, picture: InputSpec) -> tuple[list[Tail], int]:
    """The output of boxes and classes, and how many classes; nothing where it is another."""
    joins = graph.outputs[0].inputs
    if len(tail.shape) != 3 or not tail.count or not tail.width or len(joins) != 1 or joins[0].op != "Concat":
        return [], 0
    parts = joins[0].inputs
    squashed = [bool(part.inputs) and part.inputs[0].op == "Sigmoid" for part in parts]
    chosen = any(
        isinstance(node.inputs[1], gs.Constant) and node.inputs[1].values.reshape(-1).tolist() == [tail.count]
        for node in graph.nodes
        if node.op == "TopK"
    )
    whole = tail.count != cells(picture, (8, 16, 32))
    return ([tail], tail.width - _BOX) if len(parts) == 2 and squashed[1] and chosen and whole else ([], 0)


def _labels_boxes_scores(graph: gs.Graph, found: Sequence[Tail], metadata: Mapping[str, str]) -> tuple[list[Tail], int]:
    """The outputs in this order, and how many classes; nothing where they are others."""
    kinds = {tensor.name: np.dtype(tensor.dtype).kind for tensor in graph.outputs if tensor.dtype is not None}
    flat = [tail for tail in found if len(tail.shape) == 2]
    labels = [tail for tail in flat if kinds.get(tail.name) == "i"]
    scores = [tail for tail in flat if kinds.get(tail.name) == "f" and "TopK" in tail.computing]
    boxes = [tail for tail in of_width(found, _BOX) if len(tail.shape) == 3]
    if not len(labels) == len(scores) == len(boxes) == 1:
        return [], 0
    return [labels[0], boxes[0], scores[0]], named_classes(metadata) or divided_by(labels[0].head.decode)
