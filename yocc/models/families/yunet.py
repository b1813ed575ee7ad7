"""YuNet: faces with five landmarks, decoded outside the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.pipeline.passes import Detection
from yocc.models.families.family import Family
from yocc.models.families.layouts import Decoded, Floats, cell_grid
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.models.families.tails import by_stride, face_names, of_width, protected_by, tails
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_STRIDES = (8, 16, 32)
_BOX, _LANDMARKS = 4, 10


@dataclass(frozen=True)
class YuNet(Family):
    """YuNet (ShiqiYu/libfacedetection.train, opencv_zoo) with four outputs for each stride.

    Preprocessing as in OpenCV (modules/objdetect/src/face_detect.cpp, `padWithDivisor` and `blobFromImage`): BGR,
    0..255, padded with black on the right and below.
    """

    name: ClassVar[str] = "yunet"
    summary: ClassVar[str] = "YuNet: faces and landmarks; class, objectness, box and landmarks at three strides."
    feeding: ClassVar[Preprocess] = Preprocess("bgr", 1.0, letterbox=True, pad_value=0, alignment="top_left")
    priority: ClassVar[int] = 1

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """Two scores behind a Sigmoid, a box and ten coordinates of each cell, each from a convolution of its own."""
        if len(graph.outputs) != 4 * len(_STRIDES):
            return None
        found = tails(graph, picture)
        if any(len(tail.shape) != 3 or tail.head.channels != (tail.width,) for tail in found):
            return None
        scores = of_width(found, 1)
        first, second = scores[: len(_STRIDES)], scores[len(_STRIDES) :]
        if scores and scores[0].count is not None:
            # However they are ordered: two for each stride.
            scores.sort(key=lambda tail: -(tail.count or 0))
            first, second = scores[::2], scores[1::2]
        groups = [
            by_stride(some, picture, _STRIDES)
            for some in (first, second, of_width(found, _BOX), of_width(found, _LANDMARKS))
        ]
        if any(group is None for group in groups) or any(
            tail.computing != ({"Sigmoid"} if tail.width == 1 else set()) for tail in found
        ):
            return None
        classes = face_names(metadata)
        if classes is None:
            return None
        return ModelProfile(
            family=self.name,
            layout=OutputLayout.OWN,
            outputs=tuple(tail.name for group in groups[:3] for tail in group or ()),
            classes=classes,
            strides=_STRIDES,
            input=picture,
            preprocess=self.feeding,
            protected=protected_by(found),
            detection=Detection(1, objectness=True, decoupled=True),
        )

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Decode as OpenCV does (face_detect.cpp, `postProcess`).

        `xy = (t_xy + cell) * stride`, `wh = exp(t_wh) * stride`; the score is the geometric mean of both scores.
        """
        levels = len(profile.strides)
        first, second, boxes = (
            np.concatenate(outputs[place : place + levels]) for place in range(0, 3 * levels, levels)
        )
        scores = np.sqrt(first.clip(0, 1) * second.clip(0, 1))
        corners, strides = cell_grid(profile.size, profile.strides)
        places = np.flatnonzero(scores[:, 0] > confidence)
        boxes = boxes[places]
        made = np.concatenate([boxes[:, :2] + corners[places], np.exp(boxes[:, 2:])], axis=1)
        return made * strides[places], scores[places]
