"""Upsampling that repeats each pixel as an Expand, for runtimes whose Resize computes the place of every value.

With values last, a pixel is one run: [N, H, 1, W, 1, C] -> [N, H, f, W, f, C] copies it f x f times. onnxruntime keeps
channels last between quantized convolutions, so that nothing is moved for it.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.runtime.backends.nearest import taken
from yocc.runtime.backends.rewriting import TO_FIRST, TO_LAST, reshape_to


def repeat_pixels(graph: Graph) -> int:
    """Rewrite quantized Resize nodes to the nearest pixel with whole factors, in place; values stay the same.

    Args:
        graph: a graph with Q/DQ pairs and shapes.

    Returns:
        The number of nodes.
    """
    found = [node for node in graph.nodes if node.op == "Resize" and _moves_codes(node) and _repeats(node)]
    for node in found:
        _rewrite(graph, node)
    if found:
        refresh(graph)
    return len(found)


def _moves_codes(node: gs.Node) -> bool:
    """Whether it runs on codes: between DequantizeLinear and QuantizeLinear."""
    source, result = node.inputs[0], node.outputs[0]
    if not source.inputs or source.inputs[0].op != "DequantizeLinear" or not result.outputs:
        return False
    return all(reader.op == "QuantizeLinear" for reader in result.outputs)


def _repeats(node: gs.Node) -> bool:
    before, after = node.inputs[0].shape, node.outputs[0].shape
    if before is None or after is None or len(before) != 4 or node.attrs.get("mode", "nearest") != "nearest":
        return False
    if not all(isinstance(size, int) and size > 0 for size in (*before, *after)) or before[:2] != after[:2]:
        return False
    scales = node.inputs[2] if len(node.inputs) > 2 else None
    if scales is not None and scales.name and (not isinstance(scales, gs.Constant) or scales.values.size not in (0, 4)):
        return False
    stated = scales.values if isinstance(scales, gs.Constant) and scales.values.size else None
    return all(_repeats_along(node, axis, before[axis], after[axis], stated) for axis in (2, 3))


def _repeats_along(
    node: gs.Node, axis: int, before: int, after: int, scales: np.ndarray[tuple[int], np.dtype[np.float32]] | None
) -> bool:
    coordinates = node.attrs.get("coordinate_transformation_mode", "half_pixel")
    if after % before or coordinates == "tf_crop_and_resize":
        return False
    rounding = node.attrs.get("nearest_mode", "round_prefer_floor")
    places = taken(before, after, coordinates, rounding, None if scales is None else float(scales[axis]))
    return places == [place // (after // before) for place in range(after)]


def _rewrite(graph: Graph, node: gs.Node) -> None:
    source, result, name = node.inputs[0], node.outputs[0], node.name
    batch, channels, height, width = source.shape
    rows, columns = result.shape[2] // height, result.shape[3] // width
    last, apart, spread, whole = (
        gs.Variable(f"{name}_{suffix}", source.dtype) for suffix in ("last", "apart", "spread", "whole")
    )
    each = np.array((batch, height, rows, width, columns, channels), np.int64)
    copies = gs.Constant(f"{spread.name}_shape", each)
    node.outputs.clear()
    graph.nodes += [
        gs.Node("Transpose", last.name, {"perm": TO_LAST}, [source], [last]),
        reshape_to(last, (batch, height, 1, width, 1, channels), apart),
        gs.Node("Expand", spread.name, {}, [apart, copies], [spread]),
        reshape_to(spread, (batch, height * rows, width * columns, channels), whole),
        gs.Node("Transpose", name, {"perm": TO_FIRST}, [whole], [result]),
    ]
