"""Detectors that end in a list of detections [1, K, 6], as YOLOv10 and YOLO26 do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.pipeline.passes import Cells, Detection
from yocc.models.families.family import Family
from yocc.models.families.layouts import Decoded, Floats, boxes_between
from yocc.models.families.profile import ModelProfile, OutputLayout, Suppression
from yocc.models.families.reading import YOLO_FEEDING, class_names, literal, yolo_preprocess
from yocc.models.families.tails import protected_by, tails
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_WIDTH = 6
_CHOOSING = {"TopK", "NonMaxSuppression"}
_CELLS = Cells((0.5,))
"""Distances are counted from the middle of a cell, as in YOLOv8."""
NOTHING_DROPPED = 1.0
"""An overlap that no box exceeds: what the graph gives is final."""
LEAST_CONFIDENCE = 0.001
"""As detectors are scored."""


@dataclass(frozen=True)
class EndToEnd(Family):
    """YOLOv10 (THU-MIG/yolov10) and others of Ultralytics that give detections, with or without suppression.

    Preprocessing is that of YOLOv8.
    """

    name: ClassVar[str] = "end_to_end"
    summary: ClassVar[str] = "YOLOv10 and others that end in detections [1, K, 6]: corners, score, class."
    feeding: ClassVar[Preprocess] = YOLO_FEEDING
    priority: ClassVar[int] = 1

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """Detections [1, K, 6] that TopK or NonMaxSuppression chooses."""
        if len(graph.outputs) != 1 or all(node.op not in _CHOOSING for node in graph.nodes):
            return None
        (found,) = tails(graph, picture)
        if len(found.shape) != 3 or found.width != _WIDTH or not found.count or not found.head.layers:
            return None
        if not _CHOOSING & found.computing:
            return None
        classes = class_names(metadata, named_classes(metadata) or divided_by(found.head.decode))
        if classes is None:
            return None
        return ModelProfile(
            family=self.name,
            layout=OutputLayout.OWN,
            outputs=(found.name,),
            classes=classes,
            strides=(),
            input=picture,
            preprocess=yolo_preprocess(picture),
            protected=protected_by([found]),
            detection=Detection(len(classes), objectness=False) if len(classes) in found.head.channels else None,
            cells=_CELLS,
            suppression=Suppression(LEAST_CONFIDENCE, NOTHING_DROPPED, found.count),
        )

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Rows x1, y1, x2, y2 in pixels, score, class number (ultralytics/nn/modules/head.py, `postprocess`)."""
        rows = outputs[0][outputs[0][:, 4] > confidence]
        return boxes_between(rows), one_class_each(rows[:, 4], rows[:, 5], len(profile.classes))


def one_class_each(scores: Floats, numbers: Floats, classes: int) -> Floats:
    """Class scores [n, C] of detections that have one class each; numbers out of range count as nothing."""
    made = np.zeros((len(scores), classes), np.float32)
    places = np.flatnonzero((numbers >= 0) & (numbers < classes))
    made[places, numbers[places].astype(np.int64)] = scores[places]
    return made


def named_classes(metadata: Mapping[str, str]) -> int:
    """How many classes the metadata name, 0 where they name none."""
    names = literal(metadata.get("names", ""))
    return len(names) if isinstance(names, dict | list | tuple) else 0


def divided_by(decode: Sequence[gs.Node]) -> int:
    """The number of classes by which places among all scores are divided; 0 where there is no such division."""
    divisors = [
        node.inputs[1].values
        for node in decode
        if node.op in ("Mod", "Div") and isinstance(node.inputs[1], gs.Constant) and node.inputs[1].values.size == 1
    ]
    whole = {int(value.item()) for value in divisors if np.issubdtype(value.dtype, np.integer)}
    return whole.pop() if len(whole) == 1 else 0
