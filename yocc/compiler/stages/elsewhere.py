"""Whether an original that finds nothing finds something in pictures that are fed in another usual way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from yocc.errors import YoccError
from yocc.models.families.conventions import GENERAL
from yocc.models.families.profile import ModelProfile
from yocc.runtime.backends.backend import Session
from yocc.runtime.data.feeds import Feeds, fed_to
from yocc.runtime.data.letterbox import Placement
from yocc.runtime.detection.boxes import detect, selection_of
from yocc.runtime.detection.metrics import CONFIDENT

PICTURES = 8
"""Pictures that are looked at."""
_MOST = 20
"""Detections for each picture; a detector that is fed with values a hundred times too large sees objects everywhere."""


@dataclass(frozen=True)
class Elsewhere:
    """What an original finds in pictures that are fed in another way.

    Attributes:
        name: of the convention.
        found: confident detections.
        pictures: in how many pictures.
    """

    name: str
    found: int
    pictures: int


def found_elsewhere(original: Session, profile: ModelProfile, feeds: Feeds) -> Elsewhere | None:
    """The usual way to feed pictures in which a detector finds most; None where it finds little in all of them.

    That is no proof: a detector may see in pictures that are fed wrongly what is not there.

    Args:
        original: the detector.
        profile: how it is fed and read.
        feeds: pictures in which it finds nothing as it is fed now.
    """
    if feeds.synthetic or not feeds.are_pictures or np.dtype(profile.input.dtype).kind != "f":
        return None
    few = feeds.spread(PICTURES)
    try:
        counts = {name: _count(original, profile, few, name) for name in GENERAL}
    except YoccError:
        return None
    likely = {name: count for name, count in counts.items() if count <= _MOST * len(few)}
    best = max(likely, key=lambda name: likely[name], default="")
    # One in every other picture is more than chance.
    return Elsewhere(best, likely[best], len(few)) if best and 2 * likely[best] >= max(len(few), 2) else None


def _count(original: Session, profile: ModelProfile, feeds: Feeds, name: str) -> int:
    """Confident detections in pictures that are fed by a convention."""
    said, how = GENERAL[name], profile.preprocess
    other = replace(
        how,
        colors=said.color or how.colors,
        scale=said.scale or how.scale,
        mean=said.mean or how.mean,
        std=said.std or how.std,
    )
    place = Placement(profile.size, (1.0, 1.0), (0, 0))
    return sum(
        len(detect(original.run(feed), profile, place, selection_of(profile)).above(CONFIDENT))
        for feed in fed_to(feeds, profile.input, other)
    )
