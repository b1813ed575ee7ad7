"""Heads of Generalized Focal Loss, as NanoDet and PicoDet have them: class scores and distributions of distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.pipeline.passes import Detection
from yocc.models.families.layouts import Decoded, Floats, boxes_around, cell_grid, mean_distances
from yocc.models.families.profile import ModelProfile
from yocc.models.families.tails import Tail, by_stride, protected_by, tails
from yocc.runtime.data.preprocess import InputSpec

_SIDES = 4


@dataclass(frozen=True)
class GflHead:
    """Scores [1, n, C] and logits of distances [1, n, 4 * bins], an output each for every stride.

    Attributes:
        outputs: their names, scores and distances of the finest grid first.
        classes: number of classes.
        protected: names of the tensors that the last convolutions write.
        behind: number of logits of distances that follow the scores in one convolution; 0 where they have their own.
    """

    outputs: tuple[str, ...]
    classes: int
    protected: frozenset[str]
    behind: int

    @property
    def detection(self) -> Detection:
        """What the last layers' channels mean."""
        return Detection(self.classes, objectness=False, behind=self.behind)


def find_gfl_head(graph: gs.Graph, picture: InputSpec, strides: Sequence[int]) -> GflHead | None:
    """The head of a detector with two outputs for each stride; None where it is no such detector."""
    if len(graph.outputs) != 2 * len(strides):
        return None
    found = tails(graph, picture)
    if any(len(tail.shape) != 3 or len(tail.head.layers) != 1 or not tail.head.pointwise for tail in found):
        return None
    scores = [tail for tail in found if tail.computing == {"Sigmoid"}]
    distances = [tail for tail in found if not tail.computing]
    scored, sided = by_stride(scores, picture, strides), by_stride(distances, picture, strides)
    if scored is None or sided is None:
        return None
    pairs = list(zip(scored, sided, strict=True))
    widths = {(one.width or 0, other.width or 0) for one, other in pairs}
    classes, width = widths.pop()
    if widths or not classes or width % _SIDES or width <= _SIDES:
        return None
    if not all(_of_one_level(one, other) for one, other in pairs):
        return None
    return GflHead(
        tuple(tail.name for pair in pairs for tail in pair),
        classes,
        protected_by(found),
        width if pairs[0][0].head.layers[0] is pairs[0][1].head.layers[0] else 0,
    )


def decode_gfl(
    rows: Sequence[tuple[Floats, Floats]], profile: ModelProfile, offset: float, confidence: float
) -> Decoded:
    """Candidates of scores [n, C] and logits of distances [n, 4 * bins] of each stride.

    Distances are counted in cells from `(column + offset, row + offset)`.
    """
    scores = np.concatenate([each for each, _ in rows])
    logits = np.concatenate([each for _, each in rows])
    points, strides = cell_grid(profile.size, profile.strides)
    places = np.flatnonzero(scores.max(axis=1) > confidence)
    distances = mean_distances(np.ascontiguousarray(logits[places].T))
    return boxes_around(points[places] + np.float32(offset), distances) * strides[places], scores[places]


def _of_one_level(scores: Tail, distances: Tail) -> bool:
    """Whether a convolution each gives them, or one gives both."""
    (one,), (other,) = scores.head.channels, distances.head.channels
    wide, high = scores.width or 0, distances.width or 0
    shared = scores.head.layers[0] is distances.head.layers[0]
    return one == wide + high if shared else (one, other) == (wide, high)
