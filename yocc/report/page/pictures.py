"""Example pictures, small and within the page, with what both models find in them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
from PIL import Image

from yocc.errors import CalibrationError
from yocc.runtime.data.letterbox import Placement
from yocc.runtime.data.pictures import PictureRef
from yocc.runtime.data.preprocess import Preprocess, fit

_SIDE = 448
"""Longer side of an embedded picture in pixels."""
_QUALITY = 70
_OVERLAP = 0.5
"""Intersection over union from which two boxes of one class are the same object."""

Fate = Literal["both", "missed", "new"]


@dataclass(frozen=True)
class Box:
    """A detection in pixels of the embedded picture."""

    x: float
    y: float
    width: float
    height: float
    text: str
    fate: Fate


@dataclass(frozen=True)
class Shown:
    """A picture and the boxes of both models.

    Attributes:
        number: used in ids.
        name: of the file, or how it was generated.
        data: the picture as a data URI; empty when it cannot be had.
        missing: why not.
        width: in pixels.
        height: in pixels.
        original: what the original finds.
        compiled: what the compiled model finds.
        verdict: how they compare, in words.
    """

    number: int
    name: str
    data: str
    missing: str
    width: int
    height: int
    original: tuple[Box, ...]
    compiled: tuple[Box, ...]
    verdict: str


def shown_pictures(content: Mapping[str, Any]) -> tuple[Shown, ...]:
    """The examples of a report, loaded again."""
    examples = (content.get("fidelity") or {}).get("examples") or ()
    return tuple(_shown(number, example) for number, example in enumerate(examples))


def _shown(number: int, example: Mapping[str, Any]) -> Shown:
    where = example["picture"]
    ref = PictureRef(where["file"], where["seed"], where["index"], tuple(where["size"]))
    name = PurePath(ref.file).name if ref.file else f"synthetic, seed {ref.seed}, number {ref.index}"
    same = _matches(example["original"], example["compiled"])
    verdict = _verdict(len(example["original"]), len(example["compiled"]), len(same))
    try:
        picture = ref.open()
    except CalibrationError as error:
        return Shown(number, name, "", str(error), 0, 0, (), (), verdict)
    size = (int(example["size"][0]), int(example["size"][1]))
    how = Preprocess(
        letterbox=example["letterbox"],
        alignment=example.get("alignment", "centered"),
        crop=example.get("crop", False),
    )
    placement = fit(picture, size, how)[1]
    small = picture.copy()
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    found, again = {pair[0] for pair in same}, {pair[1] for pair in same}
    return Shown(
        number,
        name,
        data_uri(small),
        "",
        small.width,
        small.height,
        tuple(
            _box(one, placement, small, "both" if place in found else "missed")
            for place, one in enumerate(example["original"])
        ),
        tuple(
            _box(one, placement, small, "both" if place in again else "new")
            for place, one in enumerate(example["compiled"])
        ),
        verdict,
    )


def _box(found: Mapping[str, Any], placement: Placement, small: Image.Image, fate: Fate) -> Box:
    corners = placement.to_picture(np.array([found["box"]], np.float64))[0]
    across, down = small.width / placement.picture[1], small.height / placement.picture[0]
    left, upper, right, lower = (
        round(float(value), 1) for value in corners * np.array([across, down, across, down], np.float64)
    )
    text = f"{found['label']} {found['score']:.2f}"
    return Box(left, upper, round(right - left, 1), round(lower - upper, 1), text, fate)


def _matches(original: Sequence[Mapping[str, Any]], compiled: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Pairs of detections of the same object, the most confident of the original choosing first."""
    left = list(range(len(compiled)))
    pairs = []
    for place, one in enumerate(original):
        rivals = [other for other in left if compiled[other]["label"] == one["label"]]
        best = max(rivals, key=lambda other: _overlap(one["box"], compiled[other]["box"]), default=None)
        if best is not None and _overlap(one["box"], compiled[best]["box"]) >= _OVERLAP:
            pairs.append((place, best))
            left.remove(best)
    return pairs


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (areas - width * height)


def _verdict(original: int, compiled: int, same: int) -> str:
    if not original and not compiled:
        return "Neither model finds anything."
    new = compiled - same
    again = f"{same} of {original} found again" if original else "The original finds nothing"
    return again + (f", {new} new." if new else ".")


def data_uri(picture: Image.Image) -> str:
    """A picture within a page."""
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
