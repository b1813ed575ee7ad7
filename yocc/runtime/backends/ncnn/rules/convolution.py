"""Convolutions: plain, depthwise, grouped, transposed; in int8 where ncnn computes on the codes the graph brings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.codes import computes_in_int8, input_scale, output_scale, quantized_weight
from yocc.runtime.backends.ncnn.format import Data, Parameter
from yocc.runtime.backends.ncnn.lowering import Lowering, Refusal, Rule
from yocc.runtime.backends.ncnn.rules.activation import fused
from yocc.runtime.backends.ncnn.weights import weight_data

Array = np.ndarray[Any, Any]


def _conv(lowering: Lowering, node: gs.Node) -> None:
    weight = _weight(lowering, node)
    groups = int(node.attrs.get("group", 1))
    height, width = weight.shape[2:]
    outputs = weight.shape[0]
    parameters: dict[int, Parameter] = {
        0: outputs,
        1: width,
        11: height,
        **_window(node),
        **_pads(lowering, node, (height, width)),
        6: int(weight.size),
    }
    depthwise = groups > 1
    if depthwise:
        parameters[7] = groups
    bias = lowering.parameter(node, 2)
    if bias is not None:
        parameters[5] = 1
    result, activation = fused(lowering, node.outputs[0])
    parameters |= activation
    data = _data(node, weight, bias)
    scale = input_scale(lowering, node.inputs[0])
    quantized = quantized_weight(node)
    if scale is not None and quantized is not None and computes_in_int8(node):
        data, parameters[8] = _in_int8(lowering, result, quantized, bias, scale, depthwise)
    kind = "ConvolutionDepthWise" if depthwise else "Convolution"
    lowering.add(kind, node.name, [lowering.blob(node.inputs[0])], [result.name], parameters, data)


def _in_int8(
    lowering: Lowering,
    result: gs.Tensor,
    quantized: tuple[Array, Array],
    bias: Array | None,
    scale: float,
    depthwise: bool,
) -> tuple[list[Data], int]:
    """Codes and scales instead of floats, and what to say in parameter 8; ncnn's scale is 1 / ONNX's."""
    codes, scales = quantized
    data = [Data("int8", codes.reshape(-1))]
    if bias is not None:
        data.append(Data("floats", bias.astype(np.float32)))
    data += [Data("floats", np.float32(1) / scales), Data("floats", np.array([1.0 / scale], np.float32))]
    term = 1 if depthwise else 2
    leaving = output_scale(lowering, result)
    if leaving is not None:
        data.append(Data("floats", np.array([1.0 / leaving], np.float32)))
        lowering.quantized.add(result.name)
        term += 100
    return data, term


def _conv_transpose(lowering: Lowering, node: gs.Node) -> None:
    weight = _weight(lowering, node)
    groups = int(node.attrs.get("group", 1))
    height, width = weight.shape[2:]
    outputs = weight.shape[1] * groups
    # ONNX has [in, out / groups], ncnn [out, in] within each group.
    swapped = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    top, left, bottom, right = _explicit_pads(node)
    parameters: dict[int, Parameter] = {0: outputs, 1: width, 11: height, **_window(node), 6: int(weight.size)}
    parameters |= {4: left, 15: right, 14: top, 16: bottom}
    extra = [int(one) for one in node.attrs.get("output_padding", (0, 0))]
    parameters |= {18: extra[1], 19: extra[0]}
    if groups > 1:
        parameters[7] = groups
    bias = lowering.parameter(node, 2)
    if bias is not None:
        parameters[5] = 1
    if node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or "output_shape" in node.attrs:
        raise Refusal("this ConvTranspose leaves its padding to its output's size", "Export explicit pads.")
    result, activation = fused(lowering, node.outputs[0])
    parameters |= activation
    kind = "DeconvolutionDepthWise" if groups > 1 else "Deconvolution"
    data = _data(node, swapped, bias)
    lowering.add(kind, node.name, [lowering.blob(node.inputs[0])], [result.name], parameters, data)


def _weight(lowering: Lowering, node: gs.Node) -> Array:
    weight = lowering.parameter(node, 1)
    if weight is None or weight.ndim != 4:
        raise Refusal(f"ncnn's {node.op} here has two spatial axes", "Use --target onnxruntime.")
    lowering.sample(node.inputs[0])
    return weight


def _data(node: gs.Node, weight: Array, bias: Array | None) -> list[Data]:
    dtype = node.inputs[1].values.dtype if isinstance(node.inputs[1], gs.Constant) else np.dtype(np.float32)
    data = [weight_data(weight, dtype)]
    return data if bias is None else [*data, Data("floats", bias.astype(np.float32).reshape(-1))]


def _window(node: gs.Node) -> dict[int, Parameter]:
    dilations = [int(one) for one in node.attrs.get("dilations", (1, 1))]
    strides = [int(one) for one in node.attrs.get("strides", (1, 1))]
    return {2: dilations[1], 12: dilations[0], 3: strides[1], 13: strides[0]}


def _pads(lowering: Lowering, node: gs.Node, kernel: tuple[int, ...]) -> dict[int, Parameter]:
    mode = node.attrs.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        top, left, bottom, right = _same_pads(lowering, node, kernel, upper=mode == "SAME_UPPER")
    else:
        top, left, bottom, right = _explicit_pads(node)
    return {4: left, 15: right, 14: top, 16: bottom}


def _explicit_pads(node: gs.Node) -> tuple[int, ...]:
    return tuple(int(one) for one in node.attrs.get("pads", (0, 0, 0, 0)))


def _same_pads(lowering: Lowering, node: gs.Node, kernel: tuple[int, ...], *, upper: bool) -> tuple[int, ...]:
    sizes = zip(lowering.sample(node.inputs[0])[1:], lowering.sample(node.outputs[0])[1:], strict=True)
    first, second = [], []
    window = _window(node)
    strides, dilations = (window[13], window[3]), (window[12], window[2])
    for axis, (before, after) in enumerate(sizes):
        reach = (kernel[axis] - 1) * int(dilations[axis]) + 1  # type: ignore[arg-type] # plain numbers
        total = max(0, (after - 1) * int(strides[axis]) + reach - before)  # type: ignore[arg-type] # plain numbers
        less, more = total // 2, total - total // 2
        first.append(less if upper else more)
        second.append(more if upper else less)
    return (*first, *second)


RULES: Mapping[str, Rule] = MappingProxyType({"Conv": _conv, "ConvTranspose": _conv_transpose})
