"""Detectors that suppress within the network: ncnn gives one blob of detections, the graph four outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, clone

Array = np.ndarray[Any, Any]
BLOB = "detection_out"
"""As ncnn's own examples name what DetectionOutput gives."""
LAYOUT = "detection_output"
"""Of such a blob in `decode.json`: rows [n, 6] of class number + 1, score, x1, y1, x2, y2."""
_NODE = ("ncnn", "DetectionOutput")
_ROW = 6


def with_one_output(graph: Graph) -> Graph | None:
    """The graph with the blob that ncnn gives in place of the four outputs; None where it does not suppress."""
    node = next((node for node in graph.nodes if (node.domain, node.op) == _NODE), None)
    if node is None:
        return None
    network = clone(graph)
    own = next(each for each in network.nodes if each.name == node.name)
    found = gs.Variable(BLOB, np.float32)
    own.outputs = [found]
    network.outputs = [found]
    return network


def four_outputs(rows: Array, most: int) -> tuple[Array, Array, Array, Array]:
    """Number [1, 1], boxes [1, most, 4], scores [1, most] and class numbers [1, most], zeros behind the last.

    Args:
        rows: what ncnn gives, [n, 6]; without any axis where nothing was found.
        most: rows of the outputs.
    """
    found = np.asarray(rows, np.float32).reshape(-1, _ROW)[:most]
    boxes, scores = np.zeros((1, most, 4), np.float32), np.zeros((1, most), np.float32)
    classes = np.zeros((1, most), np.int32)
    count = len(found)
    classes[0, :count], scores[0, :count], boxes[0, :count] = found[:, 0] - 1, found[:, 1], found[:, 2:]
    return np.array([[count]], np.int32), boxes, scores, classes
