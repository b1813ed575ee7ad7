"""Moving channels last before splitting them, for runtimes whose convolutions write channels last.

A YOLOv5 head goes [N, A*K, H, W] -> [N, A, K, H, W] -> [N, A, H, W, K]. Such a runtime first rewrites the whole map to
channels first, and then moves single values. A convolution for each of the A anchors gives [N, H, W, K], and joining
them along a new axis in front has the same values without moving any: the runtime writes each where it belongs. Where
the convolution cannot be divided, [N, H, W, A*K] -> [N, H, W, A, K] -> [N, A, H, W, K] moves runs of K values.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh

_TO_LAST = [0, 1, 3, 4, 2]


def move_channels_last(graph: Graph, *, divide: bool = False) -> int:
    """Rewrite such heads behind convolutions, in place; the values stay the same to the bit.

    Args:
        graph: changed in place.
        divide: give each anchor a convolution of its own where that is possible, for runtimes that do not pad channels.

    Returns:
        The number of heads.
    """
    moved = 0
    for transpose in list(graph.nodes):
        if transpose.op != "Transpose" or list(transpose.attrs.get("perm", ())) != _TO_LAST:
            continue
        reshape = transpose.inputs[0].inputs[0] if transpose.inputs[0].inputs else None
        if reshape is None or not _splits_channels(reshape):
            continue
        if divide and _is_divisible(reshape.inputs[0]):
            _divide(graph, reshape.inputs[0].inputs[0], transpose)
        else:
            _rewrite(graph, reshape, transpose)
        moved += 1
    if moved:
        refresh(graph)
    return moved


def _splits_channels(reshape: gs.Node) -> bool:
    """Whether a Reshape of fixed shapes splits the channels of a convolution's output and nothing else."""
    source, result = reshape.inputs[0], reshape.outputs[0]
    if reshape.op != "Reshape" or not source.inputs or source.inputs[0].op != "Conv":
        return False
    before, after = source.shape, result.shape
    if before is None or after is None or len(before) != 4 or len(after) != 5:
        return False
    if not all(isinstance(size, int) and size > 0 for size in [*before, *after]):
        return False
    return bool(before[0] == after[0] and before[1] == after[1] * after[2] and before[2:] == after[3:])


def _rewrite(graph: Graph, reshape: gs.Node, transpose: gs.Node) -> None:
    source, split, output = reshape.inputs[0], transpose.inputs[0], transpose.outputs[0]
    batch, anchors, values, height, width = split.shape
    last = gs.Variable(f"{transpose.name}_channels_last", dtype=source.dtype)
    cells = gs.Variable(f"{transpose.name}_cells", dtype=source.dtype)
    shape = gs.Constant(f"{cells.name}_shape", np.array([batch, height, width, anchors, values], np.int64))
    transpose.outputs.clear()
    graph.nodes += [
        gs.Node("Transpose", last.name, {"perm": [0, 2, 3, 1]}, [source], [last]),
        gs.Node("Reshape", cells.name, {}, [last, shape], [cells]),
        gs.Node("Transpose", transpose.name, {"perm": [0, 3, 1, 2, 4]}, [cells], [output]),
    ]


def _is_divisible(result: gs.Tensor) -> bool:
    """Whether only one reader takes a convolution's result, and its weight and bias are constants of its own."""
    conv = result.inputs[0]
    if len(result.outputs) != 1 or conv.attrs.get("group", 1) != 1:
        return False
    return all(_constants(tensor) is not None for tensor in conv.inputs[1:])


def _constants(tensor: gs.Tensor) -> list[gs.Constant] | None:
    """A constant, or the constants that a DequantizeLinear along the output channels decodes."""
    if isinstance(tensor, gs.Constant):
        return [tensor]
    maker = tensor.inputs[0] if tensor.inputs else None
    if maker is None or maker.op != "DequantizeLinear" or maker.attrs.get("axis", 1) != 0:
        return None
    if "block_size" in maker.attrs or not all(isinstance(part, gs.Constant) for part in maker.inputs):
        return None
    return list(maker.inputs)


def _divide(graph: Graph, conv: gs.Node, transpose: gs.Node) -> None:
    """Give each anchor a convolution of its own, in place; the original one vanishes with what nobody reads."""
    batch, anchors, values, height, width = transpose.inputs[0].shape
    name, result = conv.name, transpose.outputs[0]
    shape = gs.Constant(f"{name}_cells_shape", np.array([batch, 1, height, width, values], np.int64))
    maps = []
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
        maps.append(cells)
    transpose.outputs.clear()
    graph.nodes.append(gs.Node("Concat", transpose.name, {"axis": 1}, maps, [result]))


def _part(graph: Graph, tensor: gs.Tensor, anchor: int, rows: slice) -> gs.Tensor:
    """The rows of a weight or bias that belong to one anchor."""
    constants = [_sliced(constant, anchor, rows) for constant in _constants(tensor) or []]
    if isinstance(tensor, gs.Constant):
        return constants[0]
    part = gs.Variable(f"{tensor.name}_anchor_{anchor}", tensor.dtype)
    graph.nodes.append(gs.Node("DequantizeLinear", part.name, dict(tensor.inputs[0].attrs), constants, [part]))
    return part


def _sliced(constant: gs.Constant, anchor: int, rows: slice) -> gs.Constant:
    """What is one for all channels stays whole."""
    values = constant.values
    return gs.Constant(f"{constant.name}_anchor_{anchor}", values if values.size == 1 else values[rows])
