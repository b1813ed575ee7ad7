"""Moving channels last before splitting them, for runtimes whose convolutions write channels last.

A YOLOv5 head goes [N, A*K, H, W] -> [N, A, K, H, W] -> [N, A, H, W, K]. Such a runtime first rewrites the whole map to
channels first, and then moves single values. [N, H, W, A*K] -> [N, H, W, A, K] -> [N, A, H, W, K] has the same values:
the first step is free there, and the last moves runs of K values.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh

_TO_LAST = [0, 1, 3, 4, 2]


def move_channels_last(graph: Graph) -> int:
    """Rewrite such heads behind convolutions, in place; the values stay the same to the bit.

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
