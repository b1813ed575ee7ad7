"""Non-maximum suppression by ncnn's layer for SSD, which decodes offsets from priors and then suppresses."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.lowering import Lowering, Rule

_MAXIMUM, _SUB, _MUL = 4, 1, 2
_TRANSPOSED = -233
"""A number of classes by which the layer reads scores class by class, [1 + C, N], and priors as [N, 4]."""
_BELOW_ZERO = -1e-12


def _detection_output(lowering: Lowering, node: gs.Node) -> None:
    """Boxes [1, N, 4] of x1, y1, x2, y2 and scores [1, C, N] to one blob [n, 6] of class + 1, score and box.

    Decoded boxes are given as priors with offsets of zero, so that the layer changes nothing of them. It gives a box
    once for each class above the confidence, so that all scores but the best become zero. Class 0 is the background,
    whose scores are zero.
    """
    corners, scores = node.inputs
    boxes, values = lowering.blob(corners), lowering.blob(scores)

    def made(kind: str, inputs: list[str], parameters: Mapping[int, float | tuple[int, ...]]) -> str:
        result = lowering.fresh(node.outputs[0].name)
        lowering.add(kind, result, inputs, [result], parameters)
        return result

    best = made("Reduction", [values], {0: _MAXIMUM, 1: 0, 3: (0,), 4: 1, 5: 1})
    behind = made("BinaryOp", [values, best], {0: _SUB})
    is_best = made("Threshold", [behind], {0: _BELOW_ZERO})
    own = made("BinaryOp", [values, is_best], {0: _MUL})
    with_background = made("Padding", [own], {0: 1, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0.0})
    offsets = made("BinaryOp", [boxes], {0: _MUL, 1: 1, 2: 0.0})
    parameters = {
        0: _TRANSPOSED,
        1: float(node.attrs["nms_threshold"]),
        2: int(node.attrs["nms_top_k"]),
        3: int(node.attrs["keep_top_k"]),
        4: float(node.attrs["confidence_threshold"]),
    }
    names = [each.name for each in node.outputs]
    lowering.add("DetectionOutput", node.name, [offsets, with_background, boxes], names, parameters)


RULES: Mapping[str, Rule] = MappingProxyType({"ncnn.DetectionOutput": _detection_output})
