"""What two detectors find in the same few pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yocc.models.families.profile import ModelProfile
from yocc.runtime.data.letterbox import Alignment
from yocc.runtime.data.pictures import PictureRef
from yocc.runtime.detection.boxes import Detections

EXAMPLES = 6
"""Pictures shown."""
MOST_BOXES = 50
"""Detections shown in a picture, the most confident first."""


@dataclass(frozen=True)
class Found:
    """One detection.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the network's input.
        score: its confidence.
        label: name of its class.
    """

    box: tuple[float, float, float, float]
    score: float
    label: str


@dataclass(frozen=True)
class Example:
    """A picture and what both models find in it.

    Attributes:
        picture: where to have it again.
        size: height and width of the network's input.
        letterbox: whether the picture keeps its aspect ratio in it.
        original: what the original finds.
        compiled: what the compiled model finds.
        alignment: where in the input a picture lies that keeps its aspect ratio.
        crop: whether it is cut to the input size.
    """

    picture: PictureRef
    size: tuple[int, int]
    letterbox: bool
    original: tuple[Found, ...]
    compiled: tuple[Found, ...]
    alignment: Alignment = "centered"
    crop: bool = False


def choose_examples(
    pictures: Sequence[PictureRef | None],
    profile: ModelProfile,
    original: Sequence[Detections],
    compiled: Sequence[Detections],
    confidence: float,
) -> tuple[Example, ...]:
    """The first few pictures in which either model finds something, filled up with others, in their order.

    Args:
        pictures: where to have them again, None for inputs that are none; may be shorter than the detections.
        profile: the detector.
        original: what the original found in each, boxes in pixels of the network's input.
        compiled: what the compiled model found.
        confidence: least confidence to be shown.
    """
    shown = [
        Example(
            picture,
            profile.size,
            profile.preprocess.letterbox,
            _shown(first, profile, confidence),
            _shown(second, profile, confidence),
            profile.preprocess.alignment,
            profile.preprocess.crop,
        )
        for picture, first, second in zip(pictures, original, compiled, strict=False)
        if picture is not None
    ]
    lively = sorted(range(len(shown)), key=lambda place: not (shown[place].original or shown[place].compiled))
    return tuple(shown[place] for place in sorted(lively[:EXAMPLES]))


def _shown(found: Detections, profile: ModelProfile, confidence: float) -> tuple[Found, ...]:
    confident = found.above(confidence)
    return tuple(
        Found(_box(box), round(float(score), 3), profile.classes[int(number)])
        for box, score, number in zip(
            confident.boxes[:MOST_BOXES], confident.scores[:MOST_BOXES], confident.classes[:MOST_BOXES], strict=True
        )
    )


def _box(corners: Sequence[float]) -> tuple[float, float, float, float]:
    left, upper, right, lower = (round(float(corner), 1) for corner in corners)
    return left, upper, right, lower
