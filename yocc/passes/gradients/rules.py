"""What each operator does to a gradient, as nodes of a graph.

A rule is given the node, the gradient of its output and the inputs to differentiate by, and returns the gradients of
those, by input slot. Only gradients of activations are needed, none of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx_graphsurgeon as gs

from yocc.passes.gradients.builder import Builder, NoGradient

Slots = Sequence[int]
Gradients = dict[int, gs.Variable]
Rule = Callable[[Builder, gs.Node, gs.Variable, Slots], Gradients]


def _add(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    return {slot: b.like(g, node, slot) for slot in slots}


def _sub(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    return {slot: b.like(b.emit("Neg", g) if slot else g, node, slot) for slot in slots}


def _mul(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    return {slot: b.like(b.emit("Mul", g, node.inputs[1 - slot]), node, slot) for slot in slots}


def _div(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    found = {}
    by_first = b.emit("Div", g, node.inputs[1])
    if 0 in slots:
        found[0] = b.like(by_first, node, 0)
    if 1 in slots:
        found[1] = b.like(b.emit("Neg", b.emit("Mul", by_first, node.outputs[0])), node, 1)
    return found


def _sigmoid(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    y = node.outputs[0]
    return {0: b.emit("Mul", g, b.emit("Mul", y, b.emit("Sub", b.number(1.0), y)))}


def _tanh(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    y = node.outputs[0]
    return {0: b.emit("Mul", g, b.emit("Sub", b.number(1.0), b.emit("Mul", y, y)))}


def _exp(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    return {0: b.emit("Mul", g, node.outputs[0])}


def _softplus(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    return {0: b.emit("Mul", g, b.emit("Sigmoid", node.inputs[0]))}


def _relu(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    return {0: b.where(b.emit("Greater", node.outputs[0], b.number(0.0)), g)}


def _leaky_relu(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    leak = b.emit("Mul", g, b.number(node.attrs.get("alpha", 0.01)))
    return {0: b.where(b.emit("Greater", node.inputs[0], b.number(0.0)), g, leak)}


def _clip(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    # Where nothing was cut off the output is the input.
    return {0: b.where(b.emit("Equal", node.outputs[0], node.inputs[0]), g)}


def _hard_sigmoid(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    slope = b.emit("Mul", g, b.number(node.attrs.get("alpha", 0.2)))
    return {0: b.where(b.inside(node.outputs[0], 0.0, 1.0), slope)}


def _hard_swish(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    x = node.inputs[0]
    between = b.emit("Mul", g, b.emit("Add", b.emit("Div", x, b.number(3.0)), b.number(0.5)))
    above = b.where(b.emit("Greater", x, b.number(3.0)), g)
    return {0: b.where(b.inside(x, -3.0, 3.0), between, above)}


def _softmax(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    y, axis = node.outputs[0], node.attrs.get("axis", -1)
    weighted = b.emit("Mul", g, y)
    total = b.emit("ReduceSum", weighted, b.integers([axis]), keepdims=1)
    return {0: b.emit("Sub", weighted, b.emit("Mul", y, total))}


def _conv(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    weight = node.inputs[1]
    if list(slots) != [0] or not isinstance(weight, gs.Constant):
        raise NoGradient("its weights are computed")
    sides, kernel, outputs = b.shape(node.inputs[0])[2:], weight.shape[2:], b.shape(node.outputs[0])[2:]
    strides = list(node.attrs.get("strides", [1] * len(kernel)))
    dilations = list(node.attrs.get("dilations", [1] * len(kernel)))
    pads = _pads(node, sides, kernel, outputs, strides, dilations)
    covered = [
        stride * (out - 1) + dilation * (size - 1) + 1 - before - after
        for stride, out, dilation, size, before, after in zip(
            strides, outputs, dilations, kernel, pads[: len(kernel)], pads[len(kernel) :], strict=True
        )
    ]
    spare = [side - reached for side, reached in zip(sides, covered, strict=True)]
    return {
        0: b.emit(
            "ConvTranspose",
            g,
            weight,
            strides=strides,
            dilations=dilations,
            pads=pads,
            output_padding=spare,
            group=node.attrs.get("group", 1),
        )
    }


def _pads(
    node: gs.Node,
    sides: Sequence[int],
    kernel: Sequence[int],
    outputs: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[int]:
    automatic = node.attrs.get("auto_pad", "NOTSET")
    if automatic not in ("SAME_UPPER", "SAME_LOWER"):
        return list(node.attrs.get("pads", [0] * 2 * len(kernel)))
    missing = [
        max(0, (out - 1) * stride + (size - 1) * dilation + 1 - side)
        for side, size, out, stride, dilation in zip(sides, kernel, outputs, strides, dilations, strict=True)
    ]
    smaller, larger = [total // 2 for total in missing], [total - total // 2 for total in missing]
    return smaller + larger if automatic == "SAME_UPPER" else larger + smaller


def _batch_norm(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    if list(slots) != [0] or not all(isinstance(tensor, gs.Constant) for tensor in node.inputs[1:]):
        raise NoGradient("its statistics are computed")
    scale, _, _, variance = (tensor.values for tensor in node.inputs[1:])
    slope = scale / np.sqrt(variance + node.attrs.get("epsilon", 1e-5))
    rank = len(b.shape(node.inputs[0]))
    return {0: b.emit("Mul", g, b.constant(slope.astype(np.float32).reshape(-1, *[1] * (rank - 2))))}


def _matmul(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    left, right = node.inputs[:2]
    first, second = b.shape(left), b.shape(right)
    repeats = first[:-2] != second[:-2] and (1 in slots or len(second) > 2)
    if min(len(first), len(second)) < 2 or repeats:
        raise NoGradient("it multiplies vectors or repeats matrices")
    found = {}
    if 0 in slots:
        found[0] = b.emit("MatMul", g, b.swapped(right))
        if len(second) > len(first) or any(
            many > one for many, one in zip(second[-3::-1], first[-3::-1], strict=False)
        ):
            raise NoGradient("it repeats matrices")
    if 1 in slots:
        found[1] = b.emit("MatMul", b.swapped(left), g)
    return found


def _gemm(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    if list(slots) != [0] or node.attrs.get("transA", 0):
        raise NoGradient("its weights are computed or its input is transposed")
    return {
        0: b.emit("Gemm", g, node.inputs[1], alpha=node.attrs.get("alpha", 1.0), transB=1 - node.attrs.get("transB", 0))
    }


def _max_pool(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    """The gradient goes where the maximum was, which the operator's second output says."""
    attributes = {name: value for name, value in node.attrs.items() if name != "storage_order"}
    _, places = b.emit_all("MaxPool", [node.inputs[0]], 2, **attributes)
    shape = b.shape(node.inputs[0])
    nothing = b.zeros((int(np.prod(shape)),))
    flat = b.emit("ScatterElements", nothing, b.flat(places), b.flat(g), axis=0, reduction="add")
    return {0: b.reshaped(flat, shape)}


def _average_pool(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    kernel = list(node.attrs["kernel_shape"])
    if (
        any(node.attrs.get("pads", []))
        or node.attrs.get("ceil_mode", 0)
        or node.attrs.get("auto_pad", "NOTSET") != "NOTSET"
    ):
        raise NoGradient("it pads")
    sides, outputs, channels = b.shape(node.inputs[0])[2:], b.shape(node.outputs[0])[2:], b.shape(node.inputs[0])[1]
    strides = list(node.attrs.get("strides", [1] * len(kernel)))
    spare = [
        side - stride * (out - 1) - size
        for side, stride, out, size in zip(sides, strides, outputs, kernel, strict=True)
    ]
    share = b.constant(np.full((channels, 1, *kernel), 1 / np.prod(kernel), np.float32))
    return {0: b.emit("ConvTranspose", g, share, strides=strides, output_padding=spare, group=channels)}


def _mean(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    shape, reduced = b.shape(node.inputs[0]), list(b.shape(node.outputs[0]))
    if len(reduced) < len(shape):
        axes = b.value(node.inputs[1]).tolist() if len(node.inputs) > 1 else node.attrs.get("axes", range(len(shape)))
        gone = {axis % len(shape) for axis in axes}
        reduced = [1 if axis in gone else side for axis, side in enumerate(shape)]
    repeats = float(np.prod(shape) / np.prod(reduced))
    return {0: b.emit("Expand", b.emit("Div", b.reshaped(g, reduced), b.number(repeats)), b.integers(shape))}


def _resize(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    old, new = b.shape(node.inputs[0]), b.shape(node.outputs[0])
    if node.attrs.get("mode", "nearest") != "nearest" or any(n % o for n, o in zip(new, old, strict=True)):
        raise NoGradient("it interpolates")
    factors = [n // o for n, o in zip(new, old, strict=True)]
    if factors[:2] != [1, 1]:
        raise NoGradient("it resizes channels")
    mean = b.emit("AveragePool", g, kernel_shape=factors[2:], strides=factors[2:])
    return {0: b.emit("Mul", mean, b.number(float(np.prod(factors))))}


def _reshape(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    return {0: b.reshaped(g, b.shape(node.inputs[0]))}


def _transpose(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    order = node.attrs.get("perm", list(reversed(range(len(b.shape(node.inputs[0]))))))
    return {0: b.emit("Transpose", g, perm=[int(place) for place in np.argsort(order)])}


def _concat(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    axis, found, start = node.attrs["axis"], {}, 0
    for slot, tensor in enumerate(node.inputs):
        size = b.shape(tensor)[axis]
        if slot in slots:
            bounds = (b.integers([start]), b.integers([start + size]), b.integers([axis]))
            found[slot] = b.emit("Slice", g, *bounds)
        start += size
    return found


def _slice(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    if list(slots) != [0]:
        raise NoGradient("its bounds are computed")
    shape = b.shape(node.inputs[0])
    starts, _, *rest = (b.value(tensor) for tensor in node.inputs[1:])
    axes = rest[0] if rest else np.arange(len(starts))
    if len(rest) > 1 and (rest[1] != 1).any():
        raise NoGradient("it skips")
    before = [0] * len(shape)
    for axis, start in zip(axes.tolist(), starts.tolist(), strict=True):
        before[axis] = max(0, start + shape[axis]) if start < 0 else min(start, shape[axis])
    after = [side - some - got for side, some, got in zip(shape, before, b.shape(node.outputs[0]), strict=True)]
    return {0: b.emit("Pad", g, b.integers([*before, *after]))}


def _identity(_: Builder, __: gs.Node, g: gs.Variable, ___: Slots) -> Gradients:
    return {0: g}


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Add": _add,
        "AveragePool": _average_pool,
        "BatchNormalization": _batch_norm,
        "Clip": _clip,
        "Concat": _concat,
        "Conv": _conv,
        "Div": _div,
        "Dropout": _identity,
        "Exp": _exp,
        "Flatten": _reshape,
        "Gemm": _gemm,
        "GlobalAveragePool": _mean,
        "HardSigmoid": _hard_sigmoid,
        "HardSwish": _hard_swish,
        "Identity": _identity,
        "LeakyRelu": _leaky_relu,
        "MatMul": _matmul,
        "MaxPool": _max_pool,
        "Mul": _mul,
        "Neg": lambda b, _, g, __: {0: b.emit("Neg", g)},
        "ReduceMean": _mean,
        "Relu": _relu,
        "Reshape": _reshape,
        "Resize": _resize,
        "Sigmoid": _sigmoid,
        "Slice": _slice,
        "Softmax": _softmax,
        "Softplus": _softplus,
        "Squeeze": _reshape,
        "Sub": _sub,
        "Tanh": _tanh,
        "Transpose": _transpose,
        "Unsqueeze": _reshape,
        "Upsample": _resize,
    }
)
"""A rule for each operator with one output; Split, which has several, is taken apart by the builder."""
