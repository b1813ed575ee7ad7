"""How a detector's outputs come about, as facts that passes read: decoded tensors and the raw heads before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RawHead:
    """The last convolutions of one stride; each writes a tensor [batch, channels, h, w].

    Attributes:
        stride: input pixels per cell.
        boxes: name of the tensor with boxes, and with all else that has no tensor of its own.
        scores: name of the tensor with class scores where they are apart, else empty.
        anchors: width and height of each anchor in input pixels, where there are anchors.
        objectness: name of the tensor with objectness where it is apart, else empty.
    """

    stride: int
    boxes: str
    scores: str = ""
    anchors: tuple[tuple[float, float], ...] = ()
    objectness: str = ""

    @property
    def names(self) -> list[str]:
        """Its tensors: boxes, objectness, scores."""
        return [name for name in (self.boxes, self.objectness, self.scores) if name]


@dataclass(frozen=True)
class RawHeads:
    """Where a detector can be cut, and how what is cut off decodes.

    Attributes:
        heads: finest first.
        bins: number of bins of each distance in YOLOv8, else 0.
    """

    heads: tuple[RawHead, ...]
    bins: int = 0

    @property
    def names(self) -> list[str]:
        """The tensors to cut at, in order."""
        return [name for head in self.heads for name in head.names]

    @property
    def decoding(self) -> Literal["anchors", "distances", "offsets"]:
        """How boxes are decoded: as in YOLOv5, in YOLOv8 or in YOLOX."""
        if self.bins:
            return "distances"
        return "offsets" if self.heads[0].objectness else "anchors"


@dataclass(frozen=True)
class DetectorOutputs:
    """What a pass needs to know to put something else in place of a detector's outputs.

    Attributes:
        layout: `rows` [batch, N, 5+C] of cx, cy, w, h, objectness, classes; `columns` [batch, 4+C, N] of cx, cy, w, h,
            classes; `other` where only the raw heads can be used.
        output: name of the decoded output; empty where the layout is `other`.
        classes: number of classes.
        heads: the raw heads, None where they are not known.
        obstacle: why they are not known, in words that follow "because"; else empty.
    """

    layout: Literal["rows", "columns", "other"]
    output: str
    classes: int
    heads: RawHeads | None = None
    obstacle: str = ""
