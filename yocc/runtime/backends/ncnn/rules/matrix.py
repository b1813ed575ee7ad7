"""Matrix products: with a constant matrix InnerProduct, else MatMul."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.axes import MOST_AXES
from yocc.runtime.backends.ncnn.codes import input_scale, quantized_weight
from yocc.runtime.backends.ncnn.format import Data, Parameter
from yocc.runtime.backends.ncnn.lowering import Lowering, Refusal, Rule
from yocc.runtime.backends.ncnn.rules.activation import fused
from yocc.runtime.backends.ncnn.weights import weight_data

Array = np.ndarray[Any, Any]


def _gemm(lowering: Lowering, node: gs.Node) -> None:
    weight, bias = lowering.parameter(node, 1), lowering.parameter(node, 2)
    if weight is None or node.attrs.get("transA", 0):
        raise Refusal("ncnn's InnerProduct multiplies a vector with a constant matrix")
    rows = len(lowering.sizes(node.inputs[0])) > 1
    weight = weight if node.attrs.get("transB", 0) else weight.T
    outputs = weight.shape[0]
    alpha, beta = float(node.attrs.get("alpha", 1.0)), float(node.attrs.get("beta", 1.0))
    if bias is not None and bias.size not in (1, outputs):
        raise Refusal("ncnn's InnerProduct adds one bias to each column")
    if bias is not None:
        bias = np.ascontiguousarray(np.broadcast_to(bias.astype(np.float32).reshape(-1) * beta, outputs))
    result, activation = fused(lowering, node.outputs[0])
    parameters: dict[int, Parameter] = {0: outputs, 1: int(bias is not None), 2: int(weight.size), **activation}
    floats = [] if bias is None else [Data("floats", bias)]
    scale, quantized = input_scale(lowering, node.inputs[0]), quantized_weight(node)
    if scale is not None and quantized is not None and alpha == 1.0 and not rows:
        codes = quantized[0] if node.attrs.get("transB", 0) else quantized[0].T
        scales = [Data("floats", np.float32(1) / quantized[1]), Data("floats", np.array([1.0 / scale], np.float32))]
        data = [Data("int8", np.ascontiguousarray(codes).reshape(-1)), *floats, *scales]
        parameters[8] = 2
    else:
        dtype = node.inputs[1].values.dtype if isinstance(node.inputs[1], gs.Constant) else np.dtype(np.float32)
        data = [weight_data(weight * np.float32(alpha), dtype), *floats]
    lowering.add("InnerProduct", node.name, [lowering.blob(node.inputs[0])], [result.name], parameters, data)


def _matmul(lowering: Lowering, node: gs.Node) -> None:
    right = lowering.value(node.inputs[1])
    if right is not None and right.ndim == 2 and lowering.value(node.inputs[0]) is None:
        _by_constant(lowering, node, right)
        return
    output = node.outputs[0]
    shapes = [tuple(lowering.shape(tensor)) for tensor in (*node.inputs, output)]
    if min(map(len, shapes)) < 2:
        raise Refusal("ncnn's MatMul takes matrices, and this one multiplies a vector")
    rank = max(map(len, shapes))
    batches = [(*(1,) * (rank - len(shape)), *shape[:-2]) for shape in shapes]
    while len(batches[0]) > 0 and all(batch[0] == 1 for batch in batches):
        batches = [batch[1:] for batch in batches]
    if len(batches[0]) > MOST_AXES - 2 or batches[0] != batches[1]:
        raise Refusal("ncnn's MatMul takes two tensors of equally many and equally large axes before the last two")
    first, second, result = ((*batch, *shape[-2:]) for batch, shape in zip(batches, shapes, strict=True))
    blobs = [lowering.shaped(node, tensor, sizes) for tensor, sizes in zip(node.inputs, (first, second), strict=True)]
    written = lowering.result(output, result)
    lowering.add("MatMul", node.name, blobs, [written])
    lowering.settle(f"{node.name}_axes_behind", written, output)


def _by_constant(lowering: Lowering, node: gs.Node, matrix: Array) -> None:
    """InnerProduct takes rows of a matrix; more axes are folded into its rows and unfolded behind."""
    output = lowering.sizes(node.outputs[0])
    source = lowering.blob(node.inputs[0])
    result = node.outputs[0].name
    inner, outer = source, result
    direct = lowering.sizes(node.inputs[0]) == (*output[:-1], matrix.shape[0]) and len(output) <= 2
    if not direct:
        inner, outer = lowering.fresh(source), lowering.fresh(result)
        rows = math.prod(output) // matrix.shape[1]
        lowering.reshape(f"{node.name}_fold", source, (rows, matrix.shape[0]), inner)
    dtype = node.inputs[1].values.dtype if isinstance(node.inputs[1], gs.Constant) else np.dtype(np.float32)
    parameters: dict[int, Parameter] = {0: matrix.shape[1], 1: 0, 2: int(matrix.size)}
    lowering.add("InnerProduct", node.name, [inner], [outer], parameters, [weight_data(matrix.T, dtype)])
    if not direct:
        lowering.reshape(f"{node.name}_unfold", outer, output, result)


RULES: Mapping[str, Rule] = MappingProxyType({"Gemm": _gemm, "MatMul": _matmul})
