"""Quantized last layers as matrix products, for runtimes whose integer products write floats.

What a 1 x 1 layer makes of each cell is a row of a product, with the values of a cell side by side, so that nothing is
moved behind it.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.anchor_maps import AnchorMaps, anchor_maps
from yocc.compiler.graph import Graph, refresh
from yocc.runtime.backends.pointwise import Pointwise, pointwise
from yocc.runtime.backends.rewriting import TO_LAST, fixed_shape


def multiply_anchors(graph: Graph) -> int:
    """Rewrite quantized convolutions of 1 x 1 whose result is split into anchors, in place; the sums stay the same.

    Each anchor's [N, H*W, C] x [C, K] gives its map with the values last.

    Args:
        graph: a graph with Q/DQ pairs and shapes.

    Returns:
        The number of layers.
    """
    done = 0
    for maps in anchor_maps(graph):
        layer = pointwise(maps.conv) if maps.is_divisible else None
        if layer is not None:
            _for_anchors(graph, maps, layer)
            done += 1
    if done:
        refresh(graph)
    return done


def multiply_cells(graph: Graph) -> int:
    """Rewrite quantized convolutions of 1 x 1 whose result is moved channels last, in place; the sums stay the same.

    Args:
        graph: a graph with Q/DQ pairs and shapes.

    Returns:
        The number of layers.
    """
    done = 0
    for transpose in list(graph.nodes):
        source = transpose.inputs[0] if transpose.op == "Transpose" else None
        if source is None or list(transpose.attrs.get("perm", ())) != TO_LAST or len(source.outputs) != 1:
            continue
        conv = source.inputs[0] if source.inputs else None
        if conv is None or conv.op != "Conv" or source in graph.outputs or len(fixed_shape(source)) != 4:
            continue
        layer = pointwise(conv)
        if layer is not None:
            _for_cells(graph, transpose, layer)
            done += 1
    if done:
        refresh(graph)
    return done


def _for_anchors(graph: Graph, maps: AnchorMaps, layer: Pointwise) -> None:
    batch, anchors, values, height, width = maps.shape
    transpose = maps.transpose
    name, result = layer.name, transpose.outputs[0]
    rows, nodes = layer.rows((batch, height * width))
    graph.nodes += nodes
    cells = gs.Constant(f"{name}_cells_shape", np.array([batch, 1, height, width, values], np.int64))
    joined = []
    for anchor in range(anchors):
        stem = f"{name}_anchor_{anchor}"
        made, cell = (gs.Variable(f"{stem}{suffix}", result.dtype) for suffix in ("", "_cells"))
        graph.nodes += [
            layer.product(rows, np.arange(anchor * values, (anchor + 1) * values), stem, made),
            gs.Node("Reshape", cell.name, {}, [made, cells], [cell]),
        ]
        joined.append(cell)
    transpose.outputs.clear()
    graph.nodes.append(gs.Node("Concat", transpose.name, {"axis": 1}, joined, [result]))


def _for_cells(graph: Graph, transpose: gs.Node, layer: Pointwise) -> None:
    batch, outputs, height, width = transpose.inputs[0].shape
    result = transpose.outputs[0]
    rows, nodes = layer.rows((batch, height * width))
    graph.nodes += nodes
    made = gs.Variable(f"{layer.name}_product", result.dtype)
    shape = gs.Constant(f"{layer.name}_map_shape", np.array([batch, height, width, outputs], np.int64))
    transpose.outputs.clear()
    graph.nodes += [
        layer.product(rows, np.arange(outputs), made.name, made),
        gs.Node("Reshape", transpose.name, {}, [made, shape], [result]),
    ]
