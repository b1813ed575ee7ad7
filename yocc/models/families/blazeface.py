"""BlazeFace: faces with six landmarks, offsets in pixels from the middles of cells, decoded outside the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.models.families.family import Family
from yocc.models.families.layouts import Decoded, Floats, cell_grid, sigmoid
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.models.families.reading import cells
from yocc.models.families.tails import face_names, protected_by, tails
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_WIDTH = 16
"""A box and six landmarks of two coordinates."""
_GRIDS = (((8, 2), (16, 6)), ((16, 2), (32, 6)), ((4, 1),))
"""Strides with candidates of a cell: of the front model, the back model, and those of full range."""
_PROBABILITIES = "probabilities"
"""The form with a Sigmoid in the graph; else logits."""


@dataclass(frozen=True)
class BlazeFace(Family):
    """BlazeFace (google/mediapipe, modules/face_detection) as its weights are exported from TFLite or PyTorch.

    Preprocessing as in its graphs (face_detection_short_range.pbtxt, `ImageToTensorCalculator`): RGB in -1..1, the
    aspect ratio kept, black around the picture.
    """

    name: ClassVar[str] = "blazeface"
    summary: ClassVar[str] = "BlazeFace: faces and landmarks; sixteen offsets and one score of each candidate."
    feeding: ClassVar[Preprocess] = Preprocess("rgb", 1.0, (127.5,), (127.5,), letterbox=True, pad_value=0)
    priority: ClassVar[int] = 1

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """Offsets [1, n, 16] and scores [1, n, 1] of as many candidates as its grids have."""
        if len(graph.outputs) != 2:
            return None
        found = sorted(tails(graph, picture), key=lambda tail: tail.width or 0)
        scores, offsets = found
        if any(len(tail.shape) != 3 for tail in found) or (scores.width, offsets.width) != (1, _WIDTH):
            return None
        grid = next((grid for grid in _GRIDS if _candidates(picture, grid) == scores.count == offsets.count), None)
        # Full-range models have one layer, the others one for each part of their grids.
        if grid is None or len(scores.head.layers) != len(offsets.head.layers):
            return None
        if offsets.computing or not scores.computing <= {"Sigmoid", "Clip"}:
            return None
        classes = face_names(metadata)
        if classes is None:
            return None
        return ModelProfile(
            family=self.name,
            layout=OutputLayout.OWN,
            outputs=(scores.name, offsets.name),
            classes=classes,
            strides=tuple(stride for stride, _ in grid),
            input=picture,
            preprocess=self.feeding,
            protected=protected_by(found),
            form=_PROBABILITIES if "Sigmoid" in scores.computing else "",
        )

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Decode as MediaPipe does (tensors_to_detections_calculator.cc, `DecodeBoxes`), whose anchors are of size 1.

        `xy = t_xy + (cell + 1/2) * stride`, `wh = t_wh`, all in pixels.
        """
        scores = outputs[0].clip(0, 1) if profile.form == _PROBABILITIES else sigmoid(outputs[0])
        grid = next(grid for grid in _GRIDS if tuple(stride for stride, _ in grid) == profile.strides)
        middles = []
        for stride, per_cell in grid:
            corners, strides = cell_grid(profile.size, (stride,), per_cell)
            middles.append((corners + np.float32(0.5)) * strides)
        places = np.flatnonzero(scores[:, 0] > confidence)
        boxes = outputs[1][places, :4]
        made = np.concatenate([boxes[:, :2] + np.concatenate(middles)[places], boxes[:, 2:]], axis=1)
        return made, scores[places]


def _candidates(picture: InputSpec, grid: Sequence[tuple[int, int]]) -> int:
    return sum(per_cell * cells(picture, (stride,)) for stride, per_cell in grid)
