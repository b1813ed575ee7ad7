"""Moving channels last before splitting them, for runtimes whose convolutions write channels last.

A YOLOv5 head goes [N, A*K, H, W] -> [N, A, K, H, W] -> [N, A, H, W, K]. Such a runtime first rewrites the whole map to
channels first, and then moves single values. A convolution for each of the A anchors gives [N, H, W, K], and joining
them along a new axis in front has the same values without moving any: the runtime writes each where it belongs. Where
the convolution cannot be divided, [N, H, W, A*K] -> [N, H, W, A, K] -> [N, A, H, W, K] moves runs of K values.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.anchor_maps import AnchorMaps, anchor_maps
from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.decoding import constants_of


def move_channels_last(graph: Graph, *, divide: bool = False) -> int:
    """Rewrite such heads behind convolutions, in place; the values stay the same to the bit.

    Args:
        graph: changed in place.
        divide: give each anchor a convolution of its own where that is possible, for runtimes that do not pad channels.

    Returns:
        The number of heads.
    """
    moved = 0
    for maps in anchor_maps(graph):
        if divide and maps.is_divisible:
            _divide(graph, maps)
        else:
            _rewrite(graph, maps)
        moved += 1
    if moved:
        refresh(graph)
    return moved


def _rewrite(graph: Graph, maps: AnchorMaps) -> None:
    transpose, source = maps.transpose, maps.reshape.inputs[0]
    batch, anchors, values, height, width = maps.shape
    output = transpose.outputs[0]
    last = gs.Variable(f"{transpose.name}_channels_last", dtype=source.dtype)
    cells = gs.Variable(f"{transpose.name}_cells", dtype=source.dtype)
    shape = gs.Constant(f"{cells.name}_shape", np.array([batch, height, width, anchors, values], np.int64))
    transpose.outputs.clear()
    graph.nodes += [
        gs.Node("Transpose", last.name, {"perm": [0, 2, 3, 1]}, [source], [last]),
        gs.Node("Reshape", cells.name, {}, [last, shape], [cells]),
        gs.Node("Transpose", transpose.name, {"perm": [0, 3, 1, 2, 4]}, [cells], [output]),
    ]


def _divide(graph: Graph, maps: AnchorMaps) -> None:
    """Give each anchor a convolution of its own, in place; the original one vanishes with what nobody reads."""
    batch, anchors, values, height, width = maps.shape
    conv, transpose = maps.conv, maps.transpose
    name, result = conv.name, transpose.outputs[0]
    shape = gs.Constant(f"{name}_cells_shape", np.array([batch, 1, height, width, values], np.int64))
    joined = []
    for anchor in range(anchors):
        rows = slice(anchor * values, (anchor + 1) * values)
        parts = [_part(graph, tensor, anchor, rows) for tensor in conv.inputs[1:]]
        made, last, cells = (
            gs.Variable(f"{name}_anchor_{anchor}{suffix}", result.dtype) for suffix in ("", "_channels_last", "_cells")
        )
        graph.nodes += [
            gs.Node("Conv", f"{name}_anchor_{anchor}", dict(conv.attrs), [conv.inputs[0], *parts], [made]),
            gs.Node("Transpose", last.name, {"perm": [0, 2, 3, 1]}, [made], [last]),
            gs.Node("Reshape", cells.name, {}, [last, shape], [cells]),
        ]
        joined.append(cells)
    transpose.outputs.clear()
    graph.nodes.append(gs.Node("Concat", transpose.name, {"axis": 1}, joined, [result]))


def _part(graph: Graph, tensor: gs.Tensor, anchor: int, rows: slice) -> gs.Tensor:
    """The rows of a weight or bias that belong to one anchor."""
    constants = [_sliced(constant, anchor, rows) for constant in constants_of(tensor) or []]
    if isinstance(tensor, gs.Constant):
        return constants[0]
    part = gs.Variable(f"{tensor.name}_anchor_{anchor}", tensor.dtype)
    graph.nodes.append(gs.Node("DequantizeLinear", part.name, dict(tensor.inputs[0].attrs), constants, [part]))
    return part


def _sliced(constant: gs.Constant, anchor: int, rows: slice) -> gs.Constant:
    """What is one for all channels stays whole."""
    values = constant.values
    return gs.Constant(f"{constant.name}_anchor_{anchor}", values if values.size == 1 else values[rows])
