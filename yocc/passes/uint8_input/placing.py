"""Boxes of a graph that fits pictures into its input, in pixels of those pictures."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.passes.uint8_input.fitting import Fitted
from yocc.rewrites.emitting import Emitter, integers, number

_FLOAT = 1


def place_boxes(graph: Graph, where: Fitted, boxes: gs.Variable) -> None:
    """Turn boxes from pixels of the network's input to pixels of the picture, and clip them to it.

    The arithmetic is that of `yocc.runtime.data.letterbox.Placement.to_picture`. Rows of zeros stay zeros.

    Args:
        graph: has the boxes among its outputs; the name of the output stays.
        where: how the picture lies in the input.
        boxes: [1, K, 4] of x1, y1, x2, y2, float32.
    """
    emit = Emitter(graph, "boxes")
    name, shape = boxes.name, boxes.shape
    boxes.name = f"{name}_in_input"
    scale = emit("Div", where.picture, emit("Cast", where.inner, dtype=np.float64, to=11), dtype=np.float64)
    factor, left_top, most = (_corners(emit, each) for each in (scale, where.before, where.picture))
    moved = emit("Mul", emit("Sub", boxes, left_top), factor)
    placed = emit("Min", emit("Max", moved, number(0)), most, name=name)
    placed.shape = shape
    graph.outputs = [placed if each is boxes else each for each in graph.outputs]


def _corners(emit: Emitter, sides: gs.Tensor) -> gs.Variable:
    """Numbers [2] of height and width for x1, y1, x2, y2, in float32."""
    return emit("Cast", emit("Gather", sides, integers(1, 0, 1, 0), dtype=sides.dtype, axis=0), to=_FLOAT)
