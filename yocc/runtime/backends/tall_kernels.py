"""Tall quantized kernels, k x 1, made k x 2 by a column of zeros.

OpenVINO's kernels for AMX (2026.4) compute wrong values at the upper and lower border where such a layer pads, has few
input channels, and its input's zero point is not 0: as far off as 15 dB. Kernels of two columns are computed right.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.padding import explicit_pads

_TILE = 64
"""Bytes in a row of an AMX tile; layers with more input channels times rows of the kernel are not concerned."""


def widen_tall_kernels(graph: Graph) -> int:
    """Add a column of zeros to such kernels, in place; values stay the same.

    Args:
        graph: a graph with Q/DQ pairs and shapes.

    Returns:
        The number of layers.
    """
    done = 0
    for node in list(graph.nodes):
        if node.op == "Conv" and _is_concerned(node):
            _widen(graph, node)
            done += 1
    if done:
        refresh(graph)
    return done


def _is_concerned(node: gs.Node) -> bool:
    weight = _codes(node)
    if weight is None or node.attrs.get("group", 1) != 1 or weight.values.ndim != 4:
        return False
    _, channels, rows, columns = weight.values.shape
    if columns != 1 or rows == 1 or rows * (-(-channels // 4) * 4) > _TILE:
        return False
    pads = _pads(node, rows)
    return pads is not None and (pads[0] > 0 or pads[2] > 0)


def _codes(node: gs.Node) -> gs.Constant | None:
    """The integers of a layer whose input and weight are quantized."""
    makers = [maker for tensor in node.inputs[:2] for maker in tensor.inputs if maker.op == "DequantizeLinear"]
    if len(makers) < 2 or not all(isinstance(part, gs.Constant) for part in makers[1].inputs):
        return None
    return makers[1].inputs[0]


def _pads(node: gs.Node, rows: int) -> list[int] | None:
    if node.attrs.get("auto_pad", "NOTSET") in ("NOTSET", "VALID"):
        return explicit_pads(node, (), (rows, 1))
    sides = (node.inputs[0].shape or ())[2:]
    return explicit_pads(node, sides, (rows, 1)) if all(isinstance(side, int) for side in sides) else None


def _widen(graph: Graph, node: gs.Node) -> None:
    decode, weight = node.inputs[1].inputs[0], _codes(node)
    assert weight is not None  # as its layer is concerned
    rows = weight.values.shape[2]
    pads = _pads(node, rows)
    assert pads is not None
    column = np.zeros_like(weight.values)
    if len(decode.inputs) > 2:
        column += decode.inputs[2].values.reshape(-1, 1, 1, 1)
    wide = gs.Constant(f"{node.name}_wide_codes", np.concatenate([weight.values, column], axis=3))
    decoded = gs.Variable(f"{node.name}_wide_weight", node.inputs[1].dtype)
    inputs = [wide, *decode.inputs[1:]]
    graph.nodes.append(gs.Node("DequantizeLinear", decoded.name, dict(decode.attrs), inputs, [decoded]))
    node.inputs[1] = decoded
    node.attrs.pop("auto_pad", None)
    pads[3] += int(node.attrs.get("dilations", (1, 1))[1])
    node.attrs |= {"kernel_shape": [rows, 2], "pads": pads}
