"""SCRFD: faces with or without landmarks, distances from the corners of cells, decoded outside the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.pipeline.passes import Detection
from yocc.models.families.family import Family
from yocc.models.families.layouts import Decoded, Floats, boxes_around, cell_grid
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.models.families.tails import by_stride, face_names, of_width, protected_by, tails
from yocc.runtime.data.preprocess import InputSpec, Preprocess

_BOX, _LANDMARKS = 4, 10
_FORMS = {6: ((8, 16, 32), 2), 9: ((8, 16, 32), 2), 10: ((8, 16, 32, 64, 128), 1), 15: ((8, 16, 32, 64, 128), 1)}
"""Strides and candidates of a cell by the number of outputs."""


@dataclass(frozen=True)
class Scrfd(Family):
    """SCRFD (deepinsight/insightface) with an output of scores, boxes and perhaps landmarks for each stride.

    Preprocessing as in its demo (detection/scrfd/tools/scrfd.py, `detect` and `forward`): RGB,
    `(pixel - 127.5) / 128`, the aspect ratio kept, the picture at the top left of black.
    """

    name: ClassVar[str] = "scrfd"
    summary: ClassVar[str] = "SCRFD: faces with or without landmarks; score and distances for each stride."
    feeding: ClassVar[Preprocess] = Preprocess(
        "rgb", 1.0, (127.5,), (128.0,), letterbox=True, pad_value=0, alignment="top_left"
    )
    priority: ClassVar[int] = 1

    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """Scores behind a Sigmoid, distances to four sides and perhaps ten coordinates, with or without a batch."""
        form = _FORMS.get(len(graph.outputs))
        if form is None:
            return None
        strides, per_cell = form
        found = tails(graph, picture)
        if any(
            len(tail.shape) not in (2, 3) or tail.head.channels != (per_cell * (tail.width or 0),) for tail in found
        ):
            return None
        widths = (1, _BOX) if len(found) == 2 * len(strides) else (1, _BOX, _LANDMARKS)
        groups = [by_stride(of_width(found, width), picture, strides, per_cell) for width in widths]
        if any(group is None for group in groups) or any(
            ("Sigmoid" in tail.computing) != (tail.width == 1) or not tail.computing <= {"Sigmoid", "Mul"}
            for tail in found
        ):
            return None
        classes = face_names(metadata)
        if classes is None:
            return None
        outputs = [tail for group in groups[:2] for tail in group or ()]
        return ModelProfile(
            family=self.name,
            layout=OutputLayout.OWN,
            outputs=tuple(tail.name for tail in outputs),
            classes=classes,
            strides=strides,
            input=picture,
            preprocess=self.feeding,
            protected=protected_by(found),
            # The scores of a cell's candidates are independent, as those of classes are.
            detection=Detection(per_cell, objectness=False),
            unbatched=frozenset(tail.name for tail in outputs if len(tail.shape) == 2),
        )

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Decode as its demo does (detection/scrfd/tools/scrfd.py, `forward`).

        Distances are counted in cells from the upper left corner of a cell.
        """
        levels = len(profile.strides)
        scores, distances = (np.concatenate(outputs[place : place + levels]) for place in (0, levels))
        per_cell = _per_cell(levels)
        corners, strides = cell_grid(profile.size, profile.strides, per_cell)
        places = np.flatnonzero(scores[:, 0] > confidence)
        return boxes_around(corners[places], distances[places].T) * strides[places], scores[places]


def _per_cell(levels: int) -> int:
    return next(count for strides, count in _FORMS.values() if len(strides) == levels)
