"""From network outputs to detections: candidates, non-maximum suppression, boxes in picture pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yocc.errors import InternalError, OptionError
from yocc.models.families.family import family_named
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.runtime.data.letterbox import Placement
from yocc.runtime.detection.suppression import suppress

Floats = NDArray[np.float32]

_MOST_CANDIDATES = 30_000
"""As in YOLOv5 (utils/general.py, `max_nms`)."""


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, the most confident first.

    Attributes:
        boxes: `[n, 4]` x1, y1, x2, y2 in pixels, of the network input or of the picture.
        scores: `[n]` confidences, 0..1.
        classes: `[n]` class numbers.
    """

    boxes: NDArray[np.floating[Any]]
    scores: Floats
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, confidence: float) -> Detections:
        """Those with at least this confidence."""
        kept = self.scores >= confidence
        return Detections(self.boxes[kept], self.scores[kept], self.classes[kept])


@dataclass(frozen=True)
class Selection:
    """Which candidates become detections.

    Args:
        confidence: least score, 0..1.
        overlap: intersection over union with a better box of the same class from which a box is dropped, 0..1.
        multi_label: whether a box may carry several classes; otherwise it carries its best.
        most: how many detections a picture may have.
    """

    confidence: float
    overlap: float
    multi_label: bool
    most: int = 300

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1 or not 0 <= self.overlap <= 1:
            raise OptionError(
                f"Confidence {self.confidence} or overlap {self.overlap} is out of range.", "Use numbers from 0 to 1."
            )
        if self.most < 1:
            raise OptionError(f"{self.most} detections were asked for.", "Ask for at least one.")


SCORING = Selection(confidence=0.001, overlap=0.6, multi_label=True)
"""As YOLOv5 measures mAP."""
SHOWING = Selection(confidence=0.25, overlap=0.45, multi_label=False)
"""As YOLOv5 shows detections."""


def selection_of(profile: ModelProfile) -> Selection:
    """How the original of a detector is to be read, so that both can be compared.

    That is `SCORING`, or what the detector does itself where it suppresses within the graph.
    """
    own = profile.suppression
    return SCORING if own is None else Selection(own.confidence, own.overlap, multi_label=False, most=own.most)


def detect(
    outputs: Mapping[str, NDArray[Any]], profile: ModelProfile, placement: Placement, selection: Selection = SCORING
) -> Detections:
    """Decode the outputs for one picture.

    Args:
        outputs: the network's outputs by name; only the first sample of a batch is looked at.
        profile: how they are laid out.
        placement: where in the network input the picture lies; of no account where the graph itself gives boxes in
            picture pixels.
        selection: which candidates to keep.

    Returns:
        Detections with boxes in picture pixels.
    """
    found = candidates(outputs, profile, selection)
    if profile.layout is not OutputLayout.DETECTIONS:
        found = suppress_candidates(found, selection)
    if profile.finds_in_picture:
        return found
    return Detections(placement.to_picture(found.boxes), found.scores, found.classes)


def candidates(outputs: Mapping[str, NDArray[Any]], profile: ModelProfile, selection: Selection) -> Detections:
    """Decode every candidate of sufficient confidence, boxes in network input pixels, best first.

    NaN scores and boxes that are not finite, as an overflowing network gives, never pass. The number is limited to
    30000, as in YOLOv5. Of a graph that suppresses itself, these are its detections above the confidence, with boxes in
    the pixels it gives.
    """
    arrays = [_output(outputs, name, batched=name not in profile.unbatched) for name in profile.outputs]
    if profile.layout is OutputLayout.DETECTIONS:
        return _suppressed(arrays, selection)
    with np.errstate(invalid="ignore", over="ignore"):
        centres, scores = family_named(profile.family).decode(arrays, profile, selection.confidence)
    sound = np.isfinite(centres).all(axis=1)
    centres, scores = centres[sound], scores[sound]
    if selection.multi_label:
        rows, classes = np.nonzero(scores > selection.confidence)
    else:
        classes = scores.argmax(axis=1)
        rows = np.flatnonzero(scores[np.arange(len(scores)), classes] > selection.confidence)
        classes = classes[rows]
    values = scores[rows, classes]
    best = np.argsort(-values, kind="stable")[:_MOST_CANDIDATES]
    boxes = _corners(centres[rows[best]])
    return Detections(boxes, values[best], classes[best].astype(np.int64))


def suppress_candidates(found: Detections, selection: Selection) -> Detections:
    """Greedy non-maximum suppression within each class, best first."""
    kept = suppress(found.boxes, found.classes, selection.overlap, selection.most)
    return Detections(found.boxes[kept], found.scores[kept], found.classes[kept])


def _suppressed(arrays: Sequence[Floats], selection: Selection) -> Detections:
    """Detections as the graph gives them: how many, corners, scores, class numbers."""
    count, boxes, scores, classes = arrays
    found = min(int(count[0]), selection.most)
    kept = np.flatnonzero(scores[:found] > selection.confidence)
    return Detections(boxes[kept], scores[kept], classes[kept].astype(np.int64))


def _output(outputs: Mapping[str, NDArray[Any]], name: str, *, batched: bool) -> Floats:
    if name not in outputs:
        raise InternalError(f"The session gave {sorted(outputs)} and not the output {name!r} the profile decodes.")
    return np.asarray(outputs[name][0] if batched else outputs[name], np.float32)


def _corners(centres: Floats) -> Floats:
    """cx, cy, w, h to x1, y1, x2, y2."""
    half = centres[:, 2:] / 2
    return np.concatenate([centres[:, :2] - half, centres[:, :2] + half], axis=1)
