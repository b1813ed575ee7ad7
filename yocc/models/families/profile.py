"""What is special about a detector: how to feed it, what must not be touched, how its outputs are laid out.

A profile is made by the detector's family (`yocc.models.families.family`) from structure, shapes and metadata, never
from node names. Everything works without one, except what needs to know what a detection is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from yocc.compiler.pipeline.passes import Cells, Detection
from yocc.runtime.data.preprocess import InputSpec, Preprocess

__all__ = ["Anchors", "ModelProfile", "OutputLayout", "Preprocess", "Suppression"]

Anchors = tuple[tuple[tuple[float, float], ...], ...]
"""Width and height in input pixels, per head and anchor."""


class OutputLayout(Enum):
    """How a detector lays out what it found; N candidates, C classes, A anchors per cell."""

    ROWS = "decoded rows [1, N, 5+C]: cx, cy, w, h, objectness, classes"
    RAW_HEADS = "raw heads of each stride: in YOLOv5 one, [1, A*(5+C), h, w] or [1, A, h, w, 5+C]; in others several"
    COLUMNS = "decoded columns [1, 4+C, N]: cx, cy, w, h, classes"
    DETECTIONS = "detections [1, K] that are already suppressed: number, boxes x1, y1, x2, y2, scores, class numbers"
    OWN = "a layout that only the family knows"


@dataclass(frozen=True)
class Suppression:
    """Non-maximum suppression within the graph.

    Attributes:
        confidence: least score of a detection.
        overlap: intersection over union with a better box of its class from which a box is dropped.
        most: detections per picture.
        boxes: whether boxes are in pixels of the network's input or of the picture.
    """

    confidence: float
    overlap: float
    most: int
    boxes: Literal["input", "picture"] = "input"


@dataclass(frozen=True)
class ModelProfile:
    """A recognized detector.

    Attributes:
        family: the registered name of its family, such as "yolov5", whatever the exact version.
        layout: how the outputs are laid out.
        outputs: names of the outputs to decode; raw heads in the order of `strides`.
        classes: class names by class number.
        strides: input pixels per cell of each head, ascending.
        input: the picture input, with the default size where the model leaves it open.
        preprocess: how pictures become that input.
        protected: names of the tensors the head's last convolutions write; their channels and float type must stay.
        anchors: per head, only for raw heads.
        squashed: whether raw heads have gone through their Sigmoid already.
        detection: what passes need to know of the last layers' channels; None where only the outputs are known.
        cells: how constants of the decoding count cells; None where that is not known.
        suppression: what the graph itself drops; None where outputs are candidates.
        unbatched: names of those outputs to decode that have no batch axis.
        form: which of its family's forms the outputs have, where the layout does not say; else empty.
        fed_unknown: whether the structure does not tell how pictures are fed, so that `preprocess` is an assumption.
    """

    family: str
    layout: OutputLayout
    outputs: tuple[str, ...]
    classes: tuple[str, ...]
    strides: tuple[int, ...]
    input: InputSpec
    preprocess: Preprocess
    protected: frozenset[str] = frozenset()
    anchors: Anchors = field(default=())
    squashed: bool = False
    detection: Detection | None = None
    cells: Cells | None = None
    suppression: Suppression | None = None
    unbatched: frozenset[str] = frozenset()
    form: str = ""
    fed_unknown: bool = False

    @property
    def input_name(self) -> str:
        """Name of the picture input."""
        return self.input.name

    @property
    def finds_in_picture(self) -> bool:
        """Whether the graph itself gives boxes in pixels of the picture."""
        return self.suppression is not None and self.suppression.boxes == "picture"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        return self.input.size
