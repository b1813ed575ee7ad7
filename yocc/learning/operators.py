"""ONNX operators in torch: what the part of a network that learns is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import onnx_graphsurgeon as gs
import torch
import torch.nn.functional as F  # everybody's name for it
from torch import Tensor

from yocc.compiler.graph.padding import explicit_pads
from yocc.compiler.graph.shapes import Shapes
from yocc.errors import PassError

Values = Sequence[Tensor]
Rule = Callable[[gs.Node, Values, Shapes], "Tensor | tuple[Tensor, ...]"]

SIZE_FREE = frozenset(
    {
        "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "ConvTranspose", "DequantizeLinear",
        "Div", "Dropout", "Elu", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "MaxPool", "Mish",
        "Mul", "Neg", "PRelu", "QuantizeLinear", "Relu", "Resize", "Sigmoid", "Softplus", "Split", "Sub", "Tanh",
        "Upsample",
    }
)  # fmt: skip
"""Operators that take pictures of any size; Concat and Split only along the channels."""


def rule_for(node: gs.Node) -> Rule:
    """What computes a node.

    Raises:
        PassError: nothing here does.
    """
    rule = RULES.get(node.op) if node.domain in (None, "", "ai.onnx") else None
    if rule is None:
        raise PassError(
            f"Distillation does not know the operator {node.op}.", "Recover with --recover reconstruct.", node=node.name
        )
    return rule


def silu(node: gs.Node, values: Values, shapes: Shapes) -> Tensor:  # noqa: ARG001 # a rule's signature
    """The product x sigmoid(x), which graphs hold as two nodes."""
    return F.silu(values[0])


def _unary(function: Callable[[Tensor], Tensor]) -> Rule:
    return lambda node, values, shapes: function(values[0])  # noqa: ARG005 # a rule's signature


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    return lambda node, values, shapes: function(values[0], values[1])  # noqa: ARG005 # a rule's signature


def _refuse(node: gs.Node, what: str) -> PassError:
    return PassError(
        f"Distillation does not know {node.op} {what}.", "Recover with --recover reconstruct.", node=node.name
    )


def _padded(node: gs.Node, values: Tensor, kernel: Sequence[int], fill: float) -> Tensor:
    """The input with a margin as the node wants it, whose two sides may differ."""
    pads = explicit_pads(node, tuple(values.shape[2:]), kernel)
    before, after = pads[: len(kernel)], pads[len(kernel) :]
    if not any((*before, *after)):
        return values
    margins = [margin for sides in zip(reversed(before), reversed(after), strict=True) for margin in sides]
    return F.pad(values, margins, value=fill)


def _conv(node: gs.Node, values: Values, _: Shapes) -> Tensor:
    weight = values[1]
    kernel, rank = list(weight.shape[2:]), weight.ndim - 2
    pads = node.attrs.get("pads", [0] * 2 * rank)
    strides, dilations = node.attrs.get("strides", [1] * rank), node.attrs.get("dilations", [1] * rank)
    bias = values[2] if len(values) > 2 else None
    group = node.attrs.get("group", 1)
    convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[rank]
    if node.attrs.get("auto_pad", "NOTSET") == "NOTSET" and pads[:rank] == pads[rank:]:
        return convolve(values[0], weight, bias, tuple(strides), tuple(pads[:rank]), tuple(dilations), group)
    return convolve(_padded(node, values[0], kernel, 0.0), weight, bias, tuple(strides), 0, tuple(dilations), group)


def _conv_transpose(node: gs.Node, values: Values, _: Shapes) -> Tensor:
    pads = list(node.attrs.get("pads", [0] * 4))
    rank = values[1].ndim - 2
    if rank != 2 or pads[:2] != pads[2:] or node.attrs.get("auto_pad", "NOTSET") != "NOTSET":
        raise _refuse(node, "with unequal margins")
    return F.conv_transpose2d(
        values[0],
        values[1],
        values[2] if len(values) > 2 else None,
        stride=tuple(node.attrs.get("strides", [1, 1])),
        padding=tuple(pads[:2]),
        output_padding=tuple(node.attrs.get("output_padding", [0, 0])),
        groups=node.attrs.get("group", 1),
        dilation=tuple(node.attrs.get("dilations", [1, 1])),
    )


def _batch_norm(node: gs.Node, values: Values, _: Shapes) -> Tensor:
    picture, scale, shift, mean, variance = values
    return F.batch_norm(picture, mean, variance, scale, shift, False, 0.0, node.attrs.get("epsilon", 1e-5))


def _gemm(node: gs.Node, values: Values, _: Shapes) -> Tensor:
    left = values[0].mT if node.attrs.get("transA", 0) else values[0]
    right = values[1].mT if node.attrs.get("transB", 0) else values[1]
    product = node.attrs.get("alpha", 1.0) * (left @ right)
    return product + node.attrs.get("beta", 1.0) * values[2] if len(values) > 2 else product


def _pool(node: gs.Node) -> tuple[list[int], list[int]]:
    if any(step != 1 for step in node.attrs.get("dilations", [])):
        raise _refuse(node, "with dilation")
    kernel = list(node.attrs["kernel_shape"])
    if len(kernel) != 2:
        raise _refuse(node, f"in {len(kernel)} dimensions")
    return kernel, list(node.attrs.get("strides", [1] * len(kernel)))


def _max_pool(node: gs.Node, values: Values, _: Shapes) -> Tensor:
    kernel, strides = _pool(node)
    padded = _padded(node, values[0], kernel, float("-inf"))
    if node.attrs.get("ceil_mode", 0):
        after = explicit_pads(node, tuple(values[0].shape[2:]), kernel)[len(kernel) :]
        parts = zip(padded.shape[2:], after, kernel, strides, strict=True)
        bottom, right = (max(0, _beyond(*part)) for part in parts)
        padded = F.pad(padded, [0, right, 0, bottom], value=float("-inf"))
    return F.max_pool2d(padded, kernel, strides)


def _beyond(side: int, after: int, kernel: int, step: int) -> int:
    """How far the last window reaches beyond a padded side if sizes are rounded up; none begins in the end's margin."""
    last = -(-(side - kernel) // step) * step
    if last >= side - after:
        last -= step
    return last + kernel - side


def _average_pool(node: gs.Node, values: Values, _: Shapes) -> Tensor:
    if node.attrs.get("ceil_mode", 0):
        raise _refuse(node, "that rounds its size up")
    kernel, strides = _pool(node)
    padded = _padded(node, values[0], kernel, 0.0)
    mean = F.avg_pool2d(padded, kernel, strides)
    if padded is values[0] or node.attrs.get("count_include_pad", 0):
        return mean
    inside = _padded(node, torch.ones_like(values[0][:1, :1]), kernel, 0.0)
    return mean / F.avg_pool2d(inside, kernel, strides)


def _axes(node: gs.Node, shapes: Shapes, place: int = 1) -> list[int] | None:
    if len(node.inputs) > place and node.inputs[place].name:
        return [int(axis) for axis in _constant(node, shapes, place)]
    found = node.attrs.get("axes")
    return None if found is None else [int(axis) for axis in found]


def _constant(node: gs.Node, shapes: Shapes, place: int) -> Any:
    """An input that says how to compute, not what: a shape, axes, sizes."""
    tensor = node.inputs[place]
    if isinstance(tensor, gs.Constant):
        return tensor.values
    if tensor.name in shapes.values:
        return shapes.values[tensor.name]
    raise _refuse(node, f"whose input {place} is computed")


def _mean(node: gs.Node, values: Values, shapes: Shapes) -> Tensor:
    axes = _axes(node, shapes) or list(range(values[0].ndim))
    return values[0].mean(axes, keepdim=bool(node.attrs.get("keepdims", 1)))


def _resize(node: gs.Node, values: Values, shapes: Shapes) -> Tensor:
    """By the factors the graph has, whatever the size of this picture."""
    old, new = shapes.of(node.inputs[0]), shapes.of(node.outputs[0])
    if old is None or new is None or old[:2] != new[:2] or len(old) != 4:
        raise _refuse(node, "of anything but height and width")
    mode = node.attrs.get("mode", "nearest")
    side = node.attrs.get("coordinate_transformation_mode", "half_pixel")
    factors = [after / before for before, after in zip(old[2:], new[2:], strict=True)]
    whole = all(factor == int(factor) for factor in factors)
    if mode == "nearest" and whole:
        picture = values[0]
        for axis, factor in enumerate(factors, 2):
            picture = picture.repeat_interleave(int(factor), axis)
        return picture
    if mode == "linear" and side in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        size = [round(length * factor) for length, factor in zip(values[0].shape[2:], factors, strict=True)]
        return F.interpolate(values[0], size, mode="bilinear", align_corners=side == "align_corners")
    raise _refuse(node, f"of mode {mode!r} by {factors}")


def _reshape(node: gs.Node, values: Values, shapes: Shapes) -> Tensor:
    """The sizes the graph has, for any number of pictures."""
    new = shapes.of(node.outputs[0])
    if new is None:
        raise _refuse(node, "to a shape that is computed")
    batch = -1 if new and new[0] == (shapes.of(node.inputs[0]) or (0,))[0] else new[0]
    return values[0].reshape(batch, *new[1:])


def _transpose(node: gs.Node, values: Values, _: Shapes) -> Tensor:
    return values[0].permute(*node.attrs.get("perm", list(reversed(range(values[0].ndim)))))


def _slice(node: gs.Node, values: Values, shapes: Shapes) -> Tensor:
    bounds = [_constant(node, shapes, place) for place in range(1, len(node.inputs)) if node.inputs[place].name]
    if len(bounds) < 2:
        raise _refuse(node, "whose bounds are attributes")
    starts, ends = bounds[0], bounds[1]
    axes = bounds[2] if len(bounds) > 2 else range(len(starts))
    steps = bounds[3] if len(bounds) > 3 else [1] * len(starts)
    found = [slice(None)] * values[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            raise _refuse(node, "that runs backwards")
        found[int(axis)] = slice(int(start), int(end), int(step))
    return values[0][tuple(found)]


def _split(node: gs.Node, values: Values, shapes: Shapes) -> tuple[Tensor, ...]:
    axis = node.attrs.get("axis", 0)
    sizes = [(shapes.of(tensor) or ())[axis] for tensor in node.outputs]
    return tuple(torch.split(values[0], sizes, axis))


def _clip(node: gs.Node, values: Values, shapes: Shapes) -> Tensor:
    bounds: list[float | None] = [node.attrs.get("min"), node.attrs.get("max")]
    for place in (1, 2):
        if len(node.inputs) > place and node.inputs[place].name:
            bounds[place - 1] = float(_constant(node, shapes, place))
    return values[0].clamp(*bounds)


def _prelu(values: Tensor, slope: Tensor) -> Tensor:
    return torch.where(values < 0, values * slope, values)


def _spread(node: gs.Node, values: Tensor, rank: int) -> Tensor:
    """Scales or zero points of channels along their axis."""
    if values.ndim == 0 or rank == 0:
        return values
    axis = node.attrs.get("axis", 1) % rank
    return values.reshape([-1 if place == axis else 1 for place in range(rank)])


def _quantize(node: gs.Node, values: Values, _: Shapes) -> Tensor:
    """Codes as floats; rounding counts as doing nothing when differentiated (Esser et al. 2020, arXiv 1902.08153)."""
    bounds = torch.iinfo(values[2].dtype)
    scale, zero_point = (_spread(node, part, values[0].ndim) for part in values[1:3])
    exact = values[0] / scale
    rounded = exact + (exact.round() - exact).detach()
    return (rounded + zero_point.float()).clamp(bounds.min, bounds.max)


def _dequantize(node: gs.Node, values: Values, _: Shapes) -> Tensor:
    scale, zero_point = (_spread(node, part, values[0].ndim) for part in values[1:3])
    return (values[0].float() - zero_point.float()) * scale


def _gather(node: gs.Node, values: Values, _: Shapes) -> Tensor:
    data, places = values[0], values[1].long()
    axis = node.attrs.get("axis", 0) % data.ndim
    taken = data.index_select(axis, places.reshape(-1) % data.shape[axis])
    return taken.reshape(*data.shape[:axis], *places.shape, *data.shape[axis + 1 :])


def _hard_sigmoid(node: gs.Node, values: Values, _: Shapes) -> Tensor:
    return (node.attrs.get("alpha", 0.2) * values[0] + node.attrs.get("beta", 0.5)).clamp(0, 1)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Add": _binary(torch.add),
        "AveragePool": _average_pool,
        "BatchNormalization": _batch_norm,
        "Clip": _clip,
        "Concat": lambda node, values, _: torch.cat(tuple(values), node.attrs["axis"]),
        "Conv": _conv,
        "ConvTranspose": _conv_transpose,
        "DequantizeLinear": _dequantize,
        "Div": _binary(torch.div),
        "Dropout": _unary(lambda value: value),
        "Elu": lambda node, values, _: F.elu(values[0], node.attrs.get("alpha", 1.0)),
        "Exp": _unary(torch.exp),
        "Flatten": _reshape,
        "Gather": _gather,
        "Gelu": lambda node, values, _: F.gelu(values[0], approximate=node.attrs.get("approximate", "none")),
        "Gemm": _gemm,
        "GlobalAveragePool": _unary(lambda value: value.mean(list(range(2, value.ndim)), keepdim=True)),
        "HardSigmoid": _hard_sigmoid,
        "HardSwish": _unary(F.hardswish),
        "Identity": _unary(lambda value: value),
        "LeakyRelu": lambda node, values, _: F.leaky_relu(values[0], node.attrs.get("alpha", 0.01)),
        "MatMul": _binary(torch.matmul),
        "MaxPool": _max_pool,
        "Mish": _unary(F.mish),
        "Mul": _binary(torch.mul),
        "Neg": _unary(torch.neg),
        "PRelu": _binary(_prelu),
        "QuantizeLinear": _quantize,
        "ReduceMean": _mean,
        "Relu": _unary(F.relu),
        "Reshape": _reshape,
        "Resize": _resize,
        "Sigmoid": _unary(torch.sigmoid),
        "Slice": _slice,
        "Softmax": lambda node, values, _: F.softmax(values[0], node.attrs.get("axis", -1)),
        "Softplus": _unary(F.softplus),
        "Split": _split,
        "Sqrt": _unary(torch.sqrt),
        "Squeeze": _reshape,
        "Sub": _binary(torch.sub),
        "Tanh": _unary(torch.tanh),
        "Transpose": _transpose,
        "Unsqueeze": _reshape,
        "Upsample": _resize,
    }
)
"""By operator of the default domain, as of opset 13; Softmax of older opsets flattens, which is not here."""
