"""What families read from a graph in the same way: the picture input, class names, strides, cells."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.heads import Head
from yocc.compiler.graph.types import numpy_type
from yocc.models.families.profile import Anchors
from yocc.runtime.data.preprocess import InputSpec, Preprocess

DEFAULT_SIZE = 640
STRIDES = ((8, 16, 32), (8, 16, 32, 64))
"""Of published detectors."""
OTHER_STRIDES = ((4, 8, 16, 32), (16, 32), (8, 16))
"""Of their variants: with a finer grid for small objects, or with two grids."""
MOVING = frozenset(
    "Concat Reshape Transpose Flatten Squeeze Unsqueeze Slice Split Gather "
    "Identity Cast QuantizeLinear DequantizeLinear".split()
)
"""Operators that move values and compute none."""
YOLO_FEEDING = Preprocess(letterbox=True)
"""How Ultralytics feeds its detectors: RGB in 0..1, the aspect ratio kept."""
_LARGEST_SIDE = 2**16
"""Pixels; metadata that say more mean something else."""


def picture_input(graph: gs.Graph, metadata: Mapping[str, str]) -> InputSpec | None:
    """The only input, where it takes pictures of three channels; None otherwise.

    Open sizes are those of the entry `imgsz` of the metadata, or 640 x 640.
    """
    inputs = [tensor for tensor in graph.inputs if isinstance(tensor, gs.Variable)]
    if len(inputs) != 1 or rank(inputs[0]) != 4 or inputs[0].dtype is None:
        return None
    batch, *rest = dimensions(inputs[0])
    height, width = _picture_size(metadata)
    # Channels last where the last axis says so.
    defaults = (height, width, 3) if rest[2] == 3 else (3, height, width)
    shape = tuple(known or default for known, default in zip(rest, defaults, strict=True))
    spec = InputSpec(inputs[0].name, (batch or 1, *shape), numpy_type(inputs[0].dtype))
    return spec if spec.takes_pictures and spec.channels == 3 else None


def yolo_preprocess(spec: InputSpec) -> Preprocess:
    """The same, where integers take 0..255."""
    return replace(YOLO_FEEDING, scale=1.0) if np.issubdtype(spec.dtype, np.integer) else YOLO_FEEDING


def class_names(metadata: Mapping[str, str], count: int) -> tuple[str, ...] | None:
    """Names of `count` classes; None when there can be no such detector, as when the metadata name another number."""
    if count < 1:
        return None
    names = literal(metadata.get("names", ""))
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names)] if all(isinstance(key, int) for key in names) else None
    if not isinstance(names, list | tuple) or not names:
        return tuple(f"class_{number}" for number in range(count))
    return tuple(str(name) for name in names) if len(names) == count else None


def literal(text: str) -> object:
    """A Python literal, as exporters write lists and mappings into metadata; None where it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def strides_of_convolutions(channels: Sequence[int], per_stride: int) -> tuple[int, ...]:
    """Strides of a head with equal convolutions at each scale, counting them; empty when they are not equal."""
    for strides in STRIDES:
        if len(channels) != per_stride * len(strides) or 0 in channels:
            continue
        if all(channels.count(one) % len(strides) == 0 for one in channels):
            return strides
    return ()


def stated_anchors(metadata: Mapping[str, str], published: Anchors) -> Anchors:
    """The entry `anchors` of the metadata, widths and heights in pixels for each head; else those published."""
    try:
        stated = np.asarray(literal(metadata.get("anchors", "")), np.float64).reshape(len(published), -1, 2)
    except (TypeError, ValueError, OverflowError):
        return published
    if not stated.size or not (stated > 0).all() or not np.isfinite(stated).all():
        return published
    return tuple(tuple((float(width), float(height)) for width, height in head) for head in stated)


def cells(spec: InputSpec, strides: Sequence[int]) -> int:
    """Number of cells of all grids together."""
    return sum(-(-spec.size[0] // stride) * -(-spec.size[1] // stride) for stride in strides)


def fills(spec: InputSpec, strides: Sequence[int]) -> bool:
    """Whether a picture is as large as a cell of the coarsest grid; smaller ones have as many cells as anything."""
    return min(spec.size) >= max(strides)


def written(head: Head) -> frozenset[str]:
    """Names of the tensors that the last convolutions write."""
    return frozenset(tensor.name for node in head.layers for tensor in node.outputs)


def rank(tensor: gs.Variable) -> int:
    """Number of axes, -1 where it is not known."""
    return -1 if tensor.shape is None else len(tensor.shape)


def dimensions(tensor: gs.Variable) -> list[int | None]:
    """Each dimension as a positive number, or None where the model leaves it open."""
    return [size if isinstance(size, int) and size > 0 else None for size in tensor.shape or ()]


def _picture_size(metadata: Mapping[str, str]) -> tuple[int, int]:
    size = literal(metadata.get("imgsz", ""))
    pair = size if isinstance(size, list | tuple) else [size, size]
    sides = [one for one in pair if isinstance(one, int) and not isinstance(one, bool) and 0 < one <= _LARGEST_SIDE]
    return (sides[0], sides[1]) if len(sides) == len(pair) == 2 else (DEFAULT_SIZE, DEFAULT_SIZE)
