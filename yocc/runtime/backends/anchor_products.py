"""Quantized last layers as a matrix product for each anchor, for runtimes whose integer products write floats.

onnxruntime has no integer convolution that writes floats, but a matrix product that does: MatMulIntegerToFloat. Each
anchor's [N, H*W, C] x [C, K] gives its map with the values last, so that nothing is moved behind it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.anchor_maps import AnchorMaps, anchor_maps
from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.decoding import constants_of

Array = np.ndarray[Any, Any]


def multiply_anchors(graph: Graph) -> int:
    """Rewrite quantized convolutions of 1 x 1 whose result is split into anchors, in place; the sums stay the same.

    Args:
        graph: a graph with Q/DQ pairs and shapes.

    Returns:
        The number of layers.
    """
    done = 0
    for maps in anchor_maps(graph):
        weight = maps.conv.inputs[1]
        if maps.is_product and not isinstance(weight, gs.Constant):
            _rewrite(graph, maps)
            done += 1
    if done:
        refresh(graph)
    return done


def _rewrite(graph: Graph, maps: AnchorMaps) -> None:
    batch, anchors, values, height, width = maps.shape
    conv, transpose = maps.conv, maps.transpose
    name, data, result = conv.name, conv.inputs[0], transpose.outputs[0]
    codes, scale, zero = _parts(conv.inputs[1])
    channels = codes.shape[1]
    bias = _decoded(conv.inputs[2]) if len(conv.inputs) > 2 else np.zeros(len(codes), np.float32)
    last, rows = (gs.Variable(f"{name}_{suffix}", result.dtype) for suffix in ("channels_last", "rows"))
    flat = gs.Constant(f"{rows.name}_shape", np.array([batch, height * width, channels], np.int64))
    cells = gs.Constant(f"{name}_cells_shape", np.array([batch, 1, height, width, values], np.int64))
    graph.nodes += [
        gs.Node("Transpose", last.name, {"perm": [0, 2, 3, 1]}, [data], [last]),
        gs.Node("Reshape", rows.name, {}, [last, flat], [rows]),
    ]
    joined = []
    for anchor in range(anchors):
        own = slice(anchor * values, (anchor + 1) * values)
        stem = f"{name}_anchor_{anchor}"
        decode = [
            gs.Constant(f"{stem}_weight", np.ascontiguousarray(codes[own].reshape(values, channels).T)),
            gs.Constant(f"{stem}_scale", scale[own]),
            gs.Constant(f"{stem}_zero_point", zero[own]),
        ]
        # A bias of one dimension would not be fused into the product.
        shift = gs.Constant(f"{stem}_bias", bias[own].reshape(1, 1, values))
        weight, product, made, cell = (
            gs.Variable(f"{stem}{suffix}", result.dtype) for suffix in ("_decoded", "_product", "", "_cells")
        )
        graph.nodes += [
            gs.Node("DequantizeLinear", weight.name, {"axis": 1}, decode, [weight]),
            gs.Node("MatMul", product.name, {}, [rows, weight], [product]),
            gs.Node("Add", made.name, {}, [product, shift], [made]),
            gs.Node("Reshape", cell.name, {}, [made, cells], [cell]),
        ]
        joined.append(cell)
    transpose.outputs.clear()
    graph.nodes.append(gs.Node("Concat", transpose.name, {"axis": 1}, joined, [result]))


def _parts(weight: gs.Tensor) -> tuple[Array, Array, Array]:
    """Codes [outputs, inputs, 1, 1], and the scale and zero point of each output."""
    codes, scale, *zeros = [constant.values for constant in constants_of(weight) or []]
    count = len(codes)
    zero = zeros[0] if zeros else np.zeros(1, codes.dtype)
    return codes, np.broadcast_to(scale.reshape(-1), count), np.broadcast_to(zero.reshape(-1), count)


def _decoded(bias: gs.Tensor) -> Array:
    """A bias as floats, shape [outputs]."""
    values, *parameters = [constant.values for constant in constants_of(bias) or []]
    if not parameters:
        return np.asarray(values)
    zero = parameters[1] if len(parameters) > 1 else 0
    decoded: Array = (values.astype(np.float64) - zero) * parameters[0]
    return decoded.astype(np.float32)
