"""RetinaFace: faces with landmarks, relative to priors that are outside the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.pipeline.passes import Detection
from yocc.models.families.family import Family
from yocc.models.families.layouts import Decoded, Floats, cell_grid
from yocc.models.families.profile import Anchors, ModelProfile, OutputLayout
from yocc.models.families.reading import cells, rank
from yocc.models.families.tails import face_names, of_width, protected_by, tails
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_STRIDES = (8, 16, 32)
_PRIORS: Anchors = (((16, 16), (32, 32)), ((64, 64), (128, 128)), ((256, 256), (512, 512)))
"""Published in data/config.py, `min_sizes`."""
_PER_CELL = 2
_BOX, _SCORES, _LANDMARKS = 4, 2, 10
_CENTER_VARIANCE, _SIZE_VARIANCE = np.float32(0.1), np.float32(0.2)


@dataclass(frozen=True)
class RetinaFace(Family):
    """RetinaFace (biubug6/Pytorch_Retinaface) with the outputs boxes, probabilities and landmarks.

    Preprocessing as in its demo (detect.py): BGR less (104, 117, 123). The demo feeds pictures at their own size; a
    fixed input takes them at the top left, the aspect ratio kept.
    """

    name: ClassVar[str] = "retinaface"
    summary: ClassVar[str] = "RetinaFace: faces and landmarks relative to priors outside the graph."
    feeding: ClassVar[Preprocess] = Preprocess(
        "bgr", 1.0, (104.0, 117.0, 123.0), (1.0,), letterbox=True, pad_value=0, alignment="top_left"
    )
    priority: ClassVar[int] = 1

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """Two candidates of each cell: box, probabilities of background and face, landmarks."""
        if len(graph.outputs) != 3 or any(rank(output) not in (3, -1) for output in graph.outputs):
            return None
        found = tails(graph, picture)
        groups = [of_width(found, width) for width in (_BOX, _SCORES, _LANDMARKS)]
        if any(len(group) != 1 for group in groups) or any(len(tail.shape) != 3 for tail in found):
            return None
        (boxes,), (scores,), (landmarks,) = groups
        if boxes.computing or landmarks.computing or scores.computing != {"Softmax"}:
            return None
        if any(tail.count not in (None, _PER_CELL * cells(picture, _STRIDES)) for tail in found) or any(
            tail.head.channels != (_PER_CELL * (tail.width or 0),) * len(_STRIDES) for tail in found
        ):
            return None
        classes = face_names(metadata)
        if classes is None:
            return None
        return ModelProfile(
            family=self.name,
            layout=OutputLayout.OWN,
            outputs=(boxes.name, scores.name),
            classes=classes,
            strides=_STRIDES,
            input=picture,
            preprocess=self.feeding,
            protected=protected_by(found),
            detection=Detection(1, objectness=False, background=frozenset({_PER_CELL * _SCORES})),
            anchors=_PRIORS,
        )

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Decode as RetinaFace does (utils/box_utils.py, `decode`, and layers/functions/prior_box.py).

        `xy = prior_xy + 0.1 t_xy * prior_wh`, `wh = prior_wh * exp(0.2 t_wh)`.
        """
        boxes, scores = outputs[0], outputs[1][:, 1:]
        corners, strides = cell_grid(profile.size, profile.strides, _PER_CELL)
        sides = np.concatenate(
            [
                np.tile(np.asarray(priors, np.float32), (cells(profile.input, (stride,)), 1))
                for priors, stride in zip(profile.anchors, profile.strides, strict=True)
            ]
        )
        places = np.flatnonzero(scores[:, 0] > confidence)
        middle = (corners[places] + np.float32(0.5)) * strides[places]
        centers = middle + boxes[places, :2] * _CENTER_VARIANCE * sides[places]
        extents = sides[places] * np.exp(boxes[places, 2:] * _SIZE_VARIANCE)
        return np.concatenate([centers, extents], axis=1), scores[places]
