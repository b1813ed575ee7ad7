"""What is special about a detector: how to feed it, what must not be touched, how to decode it.

A profile is read from structure, shapes and metadata, never from node names. Everything works without one, except
what needs to know what a detection is.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph.types import numpy_type
from yocc.compiler.pipeline.passes import Detection
from yocc.models.families.heads import Head, find_head
from yocc.runtime.data.preprocess import InputSpec, Preprocess

__all__ = ["ModelProfile", "OutputLayout", "Preprocess", "find_profile"]

DEFAULT_SIZE = 640
_LARGEST_SIDE = 2**16
"""Pixels; metadata that say more mean something else."""
_STRIDES = ((8, 16, 32), (8, 16, 32, 64))
_BOX = 4
_BOX_AND_OBJECTNESS = 5

Anchors = tuple[tuple[tuple[float, float], ...], ...]
"""Width and height in input pixels, per head and anchor."""

# Published with YOLOv5: models/yolov5s.yaml and models/hub/yolov5s6.yaml.
YOLOV5_ANCHORS: Anchors = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
YOLOV5_P6_ANCHORS: Anchors = (
    ((19, 27), (44, 40), (38, 94)),
    ((96, 68), (86, 152), (180, 137)),
    ((140, 301), (303, 264), (238, 542)),
    ((436, 615), (739, 380), (925, 792)),
)


class OutputLayout(Enum):
    """How a detector lays out what it found; N candidates, C classes, A anchors per cell."""

    ROWS = "decoded rows [1, N, 5+C]: cx, cy, w, h, objectness, classes"
    RAW_HEADS = "one raw head per stride, [1, A*(5+C), h, w] or [1, A, h, w, 5+C]"
    COLUMNS = "decoded columns [1, 4+C, N]: cx, cy, w, h, classes"


@dataclass(frozen=True)
class ModelProfile:
    """A recognised detector.

    Attributes:
        family: "yolov5" (anchors and objectness) or "yolov8" (anchor-free), whatever the exact version.
        layout: how the outputs are laid out.
        outputs: names of the outputs to decode; raw heads in the order of `strides`.
        classes: class names by class number.
        strides: input pixels per cell of each head, ascending.
        input: the picture input, with the default size where the model leaves it open.
        preprocess: how pictures become that input.
        protected: names of the tensors the head's last convolutions write; their channels and float type must stay.
        anchors: per head, only for raw heads.
        squashed: whether raw heads have gone through their Sigmoid already.
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

    @property
    def input_name(self) -> str:
        """Name of the picture input."""
        return self.input.name

    @property
    def detection(self) -> Detection:
        """What passes need to know of the outputs."""
        return Detection(len(self.classes), objectness=self.family == "yolov5")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        return self.input.size


def find_profile(graph: gs.Graph) -> ModelProfile | None:
    """Recognise a YOLO detector.

    Args:
        graph: a `yocc.compiler.graph.Graph`; its `metadata` entries `names`, `imgsz`, `task` and `anchors` are used
            where present.

    Returns:
        The profile, or None when the graph is not a detector of a known layout.
    """
    metadata: Mapping[str, str] = getattr(graph, "metadata", {})
    if metadata.get("task", "detect") != "detect":
        return None
    spec = _picture_input(graph, metadata)
    if spec is None:
        return None
    for recognise in (_rows, _raw_heads, _columns):
        profile = recognise(graph, spec, metadata)
        if profile is not None:
            return profile
    return None


def _rows(graph: gs.Graph, spec: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
    candidates = [output for output in graph.outputs if _rank(output) == 3]
    if len(candidates) != 1:
        return None
    output = candidates[0]
    head = find_head(graph, [output])
    _, count, width = _dimensions(output)
    strides: tuple[int, ...] = _strides_of_convolutions(head.channels, per_stride=1)
    if count is not None and width is not None:
        strides = next((some for some in _STRIDES if count % _cells(spec, some) == 0), ())
        anchors = count // _cells(spec, strides) if strides else 0
    else:
        # The published number of anchors; a graph with open shapes states it nowhere apart from the class count.
        anchors = 3
        width = head.channels[0] // anchors if strides and head.squashes and not head.channels[0] % anchors else 0
    # One candidate per cell would be YOLOX, which decodes differently.
    if not strides or anchors < 2:
        return None
    classes = _class_names(metadata, width - _BOX_AND_OBJECTNESS)
    others = [other for other in graph.outputs if other is not output]
    if classes is None or any(_raw_head(other, len(classes)) is None for other in others):
        return None
    return _decoded("yolov5", OutputLayout.ROWS, output, head, classes, strides, spec)


def _raw_heads(graph: gs.Graph, spec: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
    heads = [find_head(graph, [output]) for output in graph.outputs]
    if len(heads) not in {len(some) for some in _STRIDES} or any(
        len(head.layers) != 1 or not head.pointwise for head in heads
    ):
        return None
    channels = {head.channels[0] for head in heads}
    if len(channels) != 1:
        return None
    total = channels.pop()
    anchors = _anchors(metadata, len(heads))
    per_cell = len(anchors[0])
    classes = _class_names(metadata, total // per_cell - _BOX_AND_OBJECTNESS)
    if total % per_cell or classes is None or len({len(some) for some in anchors}) != 1:
        return None
    grids = [_raw_head(output, len(classes)) for output in graph.outputs]
    if any(grid is None for grid in grids):
        return None
    strides = [_stride(spec, grid) for grid in grids if grid is not None]
    if 0 in strides:
        # Open shapes: exporters write the finest head first.
        strides = list(next(some for some in _STRIDES if len(some) == len(heads)))
    if tuple(sorted(strides)) not in _STRIDES or len({head.squashes for head in heads}) != 1:
        return None
    order = np.argsort(strides)
    return ModelProfile(
        family="yolov5",
        layout=OutputLayout.RAW_HEADS,
        outputs=tuple(graph.outputs[place].name for place in order),
        classes=classes,
        strides=tuple(sorted(strides)),
        input=spec,
        preprocess=_yolo_preprocess(spec),
        protected=frozenset().union(*(_written(head) for head in heads)),
        anchors=anchors,
        squashed=heads[0].squashes,
    )


def _columns(graph: gs.Graph, spec: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
    if len(graph.outputs) != 1 or _rank(graph.outputs[0]) != 3:
        return None
    output = graph.outputs[0]
    head = find_head(graph, [output])
    _, width, count = _dimensions(output)
    if width is None:
        return None
    strides: tuple[int, ...] = next((some for some in _STRIDES if count == _cells(spec, some)), ())
    if count is None and head.squashes:
        strides = _strides_of_convolutions(head.channels, per_stride=2)
    if not strides:
        return None
    classes = _class_names(metadata, width - _BOX)
    if classes is None:
        return None
    return _decoded("yolov8", OutputLayout.COLUMNS, output, head, classes, strides, spec)


def _decoded(
    family: str,
    layout: OutputLayout,
    output: gs.Tensor,
    head: Head,
    classes: tuple[str, ...],
    strides: tuple[int, ...],
    spec: InputSpec,
) -> ModelProfile:
    """A detector with one output that holds boxes and scores."""
    return ModelProfile(
        family=family,
        layout=layout,
        outputs=(output.name,),
        classes=classes,
        strides=strides,
        input=spec,
        preprocess=_yolo_preprocess(spec),
        protected=_written(head),
    )


def _picture_input(graph: gs.Graph, metadata: Mapping[str, str]) -> InputSpec | None:
    inputs = [tensor for tensor in graph.inputs if isinstance(tensor, gs.Variable)]
    if len(inputs) != 1 or _rank(inputs[0]) != 4 or inputs[0].dtype is None:
        return None
    batch, *rest = _dimensions(inputs[0])
    height, width = _picture_size(metadata)
    # Channels last where the last axis says so.
    defaults = (height, width, 3) if rest[2] == 3 else (3, height, width)
    shape = tuple(known or default for known, default in zip(rest, defaults, strict=True))
    spec = InputSpec(inputs[0].name, (batch or 1, *shape), numpy_type(inputs[0].dtype))
    return spec if spec.takes_pictures and spec.channels == 3 else None


def _picture_size(metadata: Mapping[str, str]) -> tuple[int, int]:
    size = _literal(metadata.get("imgsz", ""))
    pair = size if isinstance(size, list | tuple) else [size, size]
    sides = [one for one in pair if isinstance(one, int) and not isinstance(one, bool) and 0 < one <= _LARGEST_SIDE]
    return (sides[0], sides[1]) if len(sides) == len(pair) == 2 else (DEFAULT_SIZE, DEFAULT_SIZE)


def _yolo_preprocess(spec: InputSpec) -> Preprocess:
    return Preprocess(scale=1.0 if np.issubdtype(spec.dtype, np.integer) else 1.0 / 255.0, letterbox=True)


def _class_names(metadata: Mapping[str, str], count: int) -> tuple[str, ...] | None:
    """Names of `count` classes; None when there can be no such detector, as when the metadata name another number."""
    if count < 1:
        return None
    names = _literal(metadata.get("names", ""))
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names)] if all(isinstance(key, int) for key in names) else None
    if not isinstance(names, list | tuple) or not names:
        return tuple(f"class_{number}" for number in range(count))
    return tuple(str(name) for name in names) if len(names) == count else None


def _anchors(metadata: Mapping[str, str], heads: int) -> Anchors:
    published = YOLOV5_ANCHORS if heads == len(YOLOV5_ANCHORS) else YOLOV5_P6_ANCHORS
    try:
        stated = np.asarray(_literal(metadata.get("anchors", "")), np.float64).reshape(heads, -1, 2)
    except (TypeError, ValueError, OverflowError):
        return published
    if not stated.size or not (stated > 0).all() or not np.isfinite(stated).all():
        return published
    return tuple(tuple((float(width), float(height)) for width, height in head) for head in stated)


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _strides_of_convolutions(channels: Sequence[int], per_stride: int) -> tuple[int, ...]:
    """Strides of a head with equal convolutions at each scale, counting them; empty when they are not equal."""
    for strides in _STRIDES:
        if len(channels) != per_stride * len(strides) or 0 in channels:
            continue
        if all(channels.count(one) % len(strides) == 0 for one in channels):
            return strides
    return ()


def _raw_head(output: gs.Variable, classes: int) -> tuple[int | None, int | None] | None:
    """Height and width of a raw head's grid, None in place of an open one; None when it is no raw head."""
    sizes = _dimensions(output)
    width = classes + _BOX_AND_OBJECTNESS
    if len(sizes) == 5 and sizes[4] in (width, None):
        return sizes[2], sizes[3]
    if len(sizes) == 4 and (sizes[1] is None or (sizes[1] >= width and sizes[1] % width == 0)):
        return sizes[2], sizes[3]
    return None


def _stride(spec: InputSpec, grid: tuple[int | None, int | None]) -> int:
    height, width = grid
    if not height or not width or spec.size[0] % height or spec.size[0] // height * width != spec.size[1]:
        return 0
    return spec.size[0] // height


def _cells(spec: InputSpec, strides: Sequence[int]) -> int:
    return sum(-(-spec.size[0] // stride) * -(-spec.size[1] // stride) for stride in strides)


def _written(head: Head) -> frozenset[str]:
    return frozenset(tensor.name for node in head.layers for tensor in node.outputs)


def _rank(tensor: gs.Variable) -> int:
    return -1 if tensor.shape is None else len(tensor.shape)


def _dimensions(tensor: gs.Variable) -> list[int | None]:
    """Each dimension as a positive number, or None where the model leaves it open."""
    return [size if isinstance(size, int) and size > 0 else None for size in tensor.shape or ()]
