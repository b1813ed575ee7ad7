"""The scales of the graph's Q/DQ pairs, and where ncnn can use them.

ncnn's int8 is symmetric: values from -127 to 127 and no zero point. Q/DQ pairs between layers are removed; the scale
moves into the layers that compute in int8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph.layers import output_axis
from yocc.runtime.backends.ncnn.lowering import Lowering, Refusal

Array = np.ndarray[Any, Any]


def quantize(lowering: Lowering, node: gs.Node) -> None:
    """The Q of a pair: its result has the values of its input.

    Raises:
        Refusal: a quantized type that ncnn does not have, or values that nothing dequantizes.
    """
    _require_symmetric(lowering, node)
    if any(reader.op != "DequantizeLinear" for reader in node.outputs[0].outputs) or not node.outputs[0].outputs:
        raise Refusal(
            "its quantized output is used without DequantizeLinear",
            "ncnn accepts Q/DQ pairs only; use the float model.",
        )
    lowering.alias(node.outputs[0], node.inputs[0])


def dequantize(lowering: Lowering, node: gs.Node) -> None:
    """The DQ of a pair: readers that compute in int8 find the scale here.

    Raises:
        Refusal: a quantized type that ncnn does not have.
    """
    if isinstance(node.inputs[0], gs.Constant):
        return  # a weight; layers read through it
    _require_symmetric(lowering, node)
    if not node.inputs[0].inputs or node.inputs[0].inputs[0].op != "QuantizeLinear":
        raise Refusal("it dequantizes what the model does not quantize itself", "ncnn accepts Q/DQ pairs only.")
    lowering.alias(node.outputs[0], node.inputs[0])
    lowering.scales[node.outputs[0].name] = float(np.asarray(node.inputs[1].values, np.float64).reshape(-1)[0])


def input_scale(lowering: Lowering, tensor: gs.Tensor) -> float | None:
    """Scale of a layer's input; None if it is not quantized."""
    return lowering.scales.get(tensor.name)


def output_scale(lowering: Lowering, tensor: gs.Tensor) -> float | None:
    """Scale with which a layer may write int8: every reader is an int8 convolution with exactly this input scale."""
    if tensor.name in lowering.outputs:
        return None
    scales = set()
    for quantizer in tensor.outputs:
        if quantizer.op != "QuantizeLinear":
            return None
        for dequantizer in quantizer.outputs[0].outputs:
            result = dequantizer.outputs[0]
            if result.name in lowering.outputs or not all(_computes_on_codes(node, result) for node in result.outputs):
                return None
            scales.add(float(np.asarray(dequantizer.inputs[1].values, np.float64).reshape(-1)[0]))
    return scales.pop() if len(scales) == 1 else None


def quantized_weight(node: gs.Node) -> tuple[Array, Array] | None:
    """Int8 values and per-channel scales of a layer's weight; None if it is float or not symmetric."""
    weight = node.inputs[1]
    decoder = weight.inputs[0] if weight.inputs else None
    if decoder is None or decoder.op != "DequantizeLinear" or not isinstance(decoder.inputs[0], gs.Constant):
        return None
    codes = decoder.inputs[0].values
    zero_point = decoder.inputs[2].values if len(decoder.inputs) > 2 else np.zeros((), codes.dtype)
    if codes.dtype != np.int8 or np.any(zero_point) or codes.min(initial=0) < -127:
        return None
    scale = np.asarray(decoder.inputs[1].values, np.float32).reshape(-1)
    if scale.size > 1 and decoder.attrs.get("axis", 1) % codes.ndim != output_axis(node, codes.ndim):
        return None
    channels = codes.shape[output_axis(node, codes.ndim)]
    return codes, np.ascontiguousarray(np.broadcast_to(scale, channels))


def computes_in_int8(node: gs.Node) -> bool:
    """Whether ncnn computes this layer in int8 if its input is quantized."""
    if node.op not in ("Conv", "Gemm") or quantized_weight(node) is None:
        return False
    if node.op == "Gemm":
        return True
    groups, shape = node.attrs.get("group", 1), node.inputs[1].inputs[0].inputs[0].shape
    return bool(groups == 1 or (groups == shape[0] and shape[1] == 1))


def _computes_on_codes(node: gs.Node, tensor: gs.Tensor) -> bool:
    return node.op == "Conv" and node.inputs[0] is tensor and computes_in_int8(node)


def _require_symmetric(lowering: Lowering, node: gs.Node) -> None:
    scale, zero_point = lowering.parameter(node, 1), lowering.parameter(node, 2)
    if zero_point is None:
        raise Refusal("its values are unsigned, and ncnn's are signed", "Quantize with --target ncnn.")
    if zero_point.dtype != np.int8 or np.any(zero_point):
        raise Refusal(
            f"its codes are {zero_point.dtype} with zero point {int(zero_point.reshape(-1)[0])}, and ncnn's are int8 "
            "and symmetric",
            "Quantize with --target ncnn.",
        )
    if scale is None or scale.size != 1:
        raise Refusal("its activations have a scale for each channel, and ncnn has one", "Quantize with --target ncnn.")
