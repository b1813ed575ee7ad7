"""SSD with priors in the graph, as pytorch-ssd and UltraFace export it: class probabilities and corners of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.pipeline.passes import Detection
from yocc.models.families.family import Family
from yocc.models.families.layouts import Decoded, Floats, boxes_between, to_pixels
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.models.families.reading import class_names
from yocc.models.families.tails import Tail, face_names, protected_by, tails
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_BOX = 4


@dataclass(frozen=True)
class Ssd(Family):
    """SSD (qfgaohao/pytorch-ssd) and UltraFace (Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB).

    Preprocessing as in its demo (detect_imgs_onnx.py): RGB, `(pixel - 127) / 128`, stretched.
    """

    name: ClassVar[str] = "ssd"
    summary: ClassVar[str] = "SSD and UltraFace: probabilities with a background class, corners of boxes in 0..1."
    feeding: ClassVar[Preprocess] = Preprocess("rgb", 1.0, (127.0,), (128.0,))
    priority: ClassVar[int] = 1

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """Scores [1, n, 1 + C] behind a Softmax and boxes [1, n, 4] that are decoded with priors."""
        if len(graph.outputs) != 2:
            return None
        found = tails(graph, picture)
        scores = [tail for tail in found if tail.computing == {"Softmax"}]
        boxes = [tail for tail in found if tail.width == _BOX and {"Exp", "Mul", "Add", "Sub"} <= tail.computing]
        if len(scores) != 1 or len(boxes) != 1 or not _fit(scores[0], boxes[0]):
            return None
        count = (scores[0].width or 0) - 1
        classes = face_names(metadata) if count == 1 else class_names(metadata, count)
        if classes is None:
            return None
        return ModelProfile(
            family=self.name,
            layout=OutputLayout.OWN,
            outputs=(scores[0].name, boxes[0].name),
            classes=classes,
            strides=(),
            input=picture,
            preprocess=self.feeding,
            protected=protected_by(found),
            detection=_detection(scores[0], boxes[0], len(classes)),
        )

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Decode as its demo does (detect_imgs_onnx.py, `predict`): class 0 is the background."""
        scores, corners = outputs[0][:, 1:], outputs[1]
        places = np.flatnonzero(scores.max(axis=1) > confidence)
        return boxes_between(to_pixels(corners[places], profile.size)), scores[places]


def _detection(scores: Tail, boxes: Tail, classes: int) -> Detection | None:
    """None where a layer of scores has as many channels as one of boxes: they are told apart by their channels."""
    channels = frozenset(scores.head.channels)
    return None if channels & set(boxes.head.channels) else Detection(classes, objectness=False, background=channels)


def _fit(scores: Tail, boxes: Tail) -> bool:
    """Whether convolutions of both give as many candidates in each cell, and one class more than one."""
    width, pairs = scores.width or 0, list(zip(scores.head.channels, boxes.head.channels, strict=False))
    return (
        scores.count == boxes.count is not None
        and width > 1
        and len(scores.head.layers) == len(boxes.head.layers) > 1
        and all(one and one % width == 0 and other == one // width * _BOX for one, other in pairs)
    )
