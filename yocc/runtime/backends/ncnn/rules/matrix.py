"""Matrix products: with a constant matrix InnerProduct, else MatMul."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.codes import input_scale, quantized_weight
from yocc.runtime.backends.ncnn.format import Data, Parameter
from yocc.runtime.backends.ncnn.lowering import Lowering, Refusal, Rule, weight_data
from yocc.runtime.backends.ncnn.rules.activation import fused

Array = np.ndarray[Any, Any]


def _gemm(lowering: Lowering, node: gs.Node) -> None:
    weight, bias = lowering.parameter(node, 1), lowering.parameter(node, 2)
    if weight is None or node.attrs.get("transA", 0):
        raise Refusal("ncnn's InnerProduct multiplies a vector with a constant matrix")
    if len(lowering.dims(node.inputs[0])) != 1:
        raise Refusal("ncnn's InnerProduct takes a vector")
    weight = weight if node.attrs.get("transB", 0) else weight.T
    outputs = weight.shape[0]
    alpha, beta = float(node.attrs.get("alpha", 1.0)), float(node.attrs.get("beta", 1.0))
    if bias is not None:
        bias = np.ascontiguousarray(np.broadcast_to(bias.astype(np.float32).reshape(-1) * beta, outputs))
    result, activation = fused(lowering, node.outputs[0])
    parameters: dict[int, Parameter] = {0: outputs, 1: int(bias is not None), 2: int(weight.size), **activation}
    floats = [] if bias is None else [Data("floats", bias)]
    scale, quantized = input_scale(lowering, node.inputs[0]), quantized_weight(node)
    if scale is not None and quantized is not None and alpha == 1.0:
        codes = quantized[0] if node.attrs.get("transB", 0) else quantized[0].T
        scales = [Data("floats", np.float32(1) / quantized[1]), Data("floats", np.array([1.0 / scale], np.float32))]
        data = [Data("int8", np.ascontiguousarray(codes).reshape(-1)), *floats, *scales]
        parameters[8] = 2
    else:
        dtype = node.inputs[1].values.dtype if isinstance(node.inputs[1], gs.Constant) else np.dtype(np.float32)
        data = [weight_data(weight * np.float32(alpha), dtype), *floats]
    lowering.add("InnerProduct", node.name, [lowering.blob(node.inputs[0])], [result.name], parameters, data)


def _matmul(lowering: Lowering, node: gs.Node) -> None:
    left, right = (lowering.value(tensor) for tensor in node.inputs)
    output = lowering.dims(node.outputs[0])
    if right is not None and right.ndim == 2:
        _by_constant(lowering, node, right, output)
        return
    if left is not None or right is not None:
        raise Refusal("ncnn multiplies by a constant matrix of two axes from the right only")
    ranks = {len(lowering.dims(tensor)) for tensor in node.inputs} | {len(output)}
    if len(ranks) > 1 or len(output) < 2:
        raise Refusal("ncnn's MatMul takes two tensors of equally many axes")
    lowering.add("MatMul", node.name, [lowering.blob(tensor) for tensor in node.inputs], [node.outputs[0].name])


def _by_constant(lowering: Lowering, node: gs.Node, matrix: Array, output: tuple[int, ...]) -> None:
    """InnerProduct takes rows of a matrix; more axes are folded into its rows and unfolded behind."""
    source = lowering.blob(node.inputs[0])
    result = node.outputs[0].name
    inner, outer = source, result
    folded = len(output) > 2
    if folded:
        inner, outer = lowering.fresh(source), lowering.fresh(result)
        lowering.reshape(f"{node.name}_fold", source, (math.prod(output[:-1]), matrix.shape[0]), inner)
    dtype = node.inputs[1].values.dtype if isinstance(node.inputs[1], gs.Constant) else np.dtype(np.float32)
    parameters: dict[int, Parameter] = {0: matrix.shape[1], 1: 0, 2: int(matrix.size)}
    lowering.add("InnerProduct", node.name, [inner], [outer], parameters, [weight_data(matrix.T, dtype)])
    if folded:
        lowering.reshape(f"{node.name}_unfold", outer, output, result)


RULES: Mapping[str, Rule] = MappingProxyType({"Gemm": _gemm, "MatMul": _matmul})
