"""Quantized last layers as matrix products, for runtimes whose integer products write floats.

onnxruntime has no integer convolution that writes floats, but a matrix product that does: its own operator
`com.microsoft::MatMulIntegerToFloat`, which also adds the bias. What a 1 x 1 layer makes of each cell is a row of such
a product, with the values of a cell side by side, so that nothing is moved behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.anchor_maps import AnchorMaps, anchor_maps, is_pointwise
from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.decoding import constants_of

Array = np.ndarray[Any, Any]
DOMAIN = "com.microsoft"
_TO_LAST = [0, 2, 3, 1]


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
        layer = _layer(maps.conv) if maps.is_product else None
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
        if source is None or list(transpose.attrs.get("perm", ())) != _TO_LAST or len(source.outputs) != 1:
            continue
        conv = source.inputs[0] if source.inputs else None
        if conv is None or conv.op != "Conv" or source in graph.outputs or not _is_fixed(source.shape):
            continue
        layer = _layer(conv) if is_pointwise(conv) else None
        if layer is not None:
            _for_cells(graph, transpose, layer)
            done += 1
    if done:
        refresh(graph)
    return done


@dataclass(frozen=True)
class _Layer:
    """A quantized layer of 1 x 1.

    Attributes:
        name: of its node.
        data: what it reads: codes [N, C, H, W], their scale and zero point.
        codes: its weights [outputs, C, 1, 1].
        scale: of each output.
        zero: point of each output.
        bias: of each output, float.
    """

    name: str
    data: tuple[gs.Tensor, gs.Tensor, gs.Tensor]
    codes: Array
    scale: Array
    zero: Array
    bias: Array

    def product(self, rows: gs.Tensor, part: slice, name: str, made: gs.Tensor) -> gs.Node:
        """Some of the outputs for rows [N, cells, C] of codes."""
        count = part.stop - part.start
        weight = [
            gs.Constant(f"{name}_weight", np.ascontiguousarray(self.codes[part].reshape(count, -1).T)),
            gs.Constant(f"{name}_scale", np.ascontiguousarray(self.scale[part])),
            gs.Constant(f"{name}_zero_point", np.ascontiguousarray(self.zero[part])),
            gs.Constant(f"{name}_bias", np.ascontiguousarray(self.bias[part])),
        ]
        _, scale, zero = self.data
        operands = [rows, weight[0], scale, weight[1], zero, weight[2], weight[3]]
        return gs.Node("MatMulIntegerToFloat", name, {}, operands, [made], domain=DOMAIN)

    def rows(self, shape: tuple[int, int, int]) -> tuple[gs.Variable, Iterator[gs.Node]]:
        """Its input as rows [N, cells, C] of codes, and the nodes that make them."""
        last, rows = (gs.Variable(f"{self.name}_{suffix}", self.data[0].dtype) for suffix in ("channels_last", "rows"))
        flat = gs.Constant(f"{rows.name}_shape", np.array(shape, np.int64))
        nodes = [
            gs.Node("Transpose", last.name, {"perm": _TO_LAST}, [self.data[0]], [last]),
            gs.Node("Reshape", rows.name, {}, [last, flat], [rows]),
        ]
        return rows, iter(nodes)


def _layer(conv: gs.Node) -> _Layer | None:
    """A layer whose input and weights are codes; None where they are not, or have scales of another kind."""
    source, weight = conv.inputs[0], conv.inputs[1]
    if not source.inputs or source.inputs[0].op != "DequantizeLinear" or isinstance(weight, gs.Constant):
        return None
    data = source.inputs[0].inputs
    if len(data) < 3 or any(tensor.shape is None or len(tensor.shape) > 0 for tensor in data[1:3]):
        return None
    bias = constants_of(conv.inputs[2]) if len(conv.inputs) > 2 else []
    parts = constants_of(weight)
    if parts is None or bias is None:
        return None
    codes, scale, *zeros = [constant.values for constant in parts]
    count = len(codes)
    zero = zeros[0] if zeros else np.zeros(1, codes.dtype)
    return _Layer(
        conv.name,
        (data[0], data[1], data[2]),
        codes,
        np.broadcast_to(scale.reshape(-1), count),
        np.broadcast_to(zero.reshape(-1), count),
        _decoded(bias) if bias else np.zeros(count, np.float32),
    )


def _for_anchors(graph: Graph, maps: AnchorMaps, layer: _Layer) -> None:
    batch, anchors, values, height, width = maps.shape
    transpose = maps.transpose
    name, result = layer.name, transpose.outputs[0]
    rows, nodes = layer.rows((batch, height * width, layer.codes.shape[1]))
    graph.nodes += nodes
    cells = gs.Constant(f"{name}_cells_shape", np.array([batch, 1, height, width, values], np.int64))
    joined = []
    for anchor in range(anchors):
        stem = f"{name}_anchor_{anchor}"
        made, cell = (gs.Variable(f"{stem}{suffix}", result.dtype) for suffix in ("", "_cells"))
        graph.nodes += [
            layer.product(rows, slice(anchor * values, (anchor + 1) * values), stem, made),
            gs.Node("Reshape", cell.name, {}, [made, cells], [cell]),
        ]
        joined.append(cell)
    transpose.outputs.clear()
    graph.nodes.append(gs.Node("Concat", transpose.name, {"axis": 1}, joined, [result]))


def _for_cells(graph: Graph, transpose: gs.Node, layer: _Layer) -> None:
    batch, outputs, height, width = transpose.inputs[0].shape
    result = transpose.outputs[0]
    rows, nodes = layer.rows((batch, height * width, layer.codes.shape[1]))
    graph.nodes += nodes
    made = gs.Variable(f"{layer.name}_product", result.dtype)
    shape = gs.Constant(f"{layer.name}_map_shape", np.array([batch, height, width, outputs], np.int64))
    transpose.outputs.clear()
    graph.nodes += [
        layer.product(rows, slice(0, outputs), made.name, made),
        gs.Node("Reshape", transpose.name, {}, [made, shape], [result]),
    ]


def _decoded(bias: list[gs.Constant]) -> Array:
    """A bias as floats, shape [outputs]."""
    values, *parameters = [constant.values for constant in bias]
    if not parameters:
        return np.asarray(values)
    zero = parameters[1] if len(parameters) > 1 else 0
    decoded: Array = (values.astype(np.float64) - zero) * parameters[0]
    return decoded.astype(np.float32)


def _is_fixed(shape: Any) -> bool:
    return shape is not None and len(shape) == 4 and all(isinstance(size, int) and size > 0 for size in shape)
