"""What each operator does to a gradient, as nodes of a graph.

A rule is given the node, the gradient of its output and the inputs to differentiate by, and returns the gradients of
those, by input slot. Only gradients of activations are needed, none of weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.gradients.builder import Builder, NoGradient
from yocc.compiler.graph.padding import explicit_pads

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
    total = b.emit("ReduceSum", weighted, axes=[axis], keepdims=1)
    return {0: b.emit("Sub", weighted, b.emit("Mul", y, total))}


def _conv(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    weight = node.inputs[1]
    if list(slots) != [0] or not isinstance(weight, gs.Constant):
        raise NoGradient("its weights are computed")
    return {0: _spread(b, node, g, weight, node.attrs.get("group", 1))}


def _spread(b: Builder, node: gs.Node, g: gs.Variable, weight: gs.Constant, group: int) -> gs.Variable:
    """The gradient by what a window slides over: each output's goes to all that its window saw, by their weights."""
    sides, kernel, outputs = b.shape(node.inputs[0])[2:], weight.shape[2:], b.shape(node.outputs[0])[2:]
    strides, dilations = (list(node.attrs.get(name, [1] * len(kernel))) for name in ("strides", "dilations"))
    pads = explicit_pads(node, sides, kernel)
    covered = [
        stride * (out - 1) + dilation * (size - 1) + 1 - before - after
        for stride, out, dilation, size, before, after in zip(
            strides, outputs, dilations, kernel, pads[: len(kernel)], pads[len(kernel) :], strict=True
        )
    ]
    spare = [side - reached for side, reached in zip(sides, covered, strict=True)]
    return b.emit(
        "ConvTranspose",
        g,
        weight,
        strides=strides,
        dilations=dilations,
        pads=pads,
        output_padding=spare,
        group=group,
    )


def _conv_transpose(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    weight = node.inputs[1]
    if list(slots) != [0] or not isinstance(weight, gs.Constant):
        raise NoGradient("its weights are computed")
    if node.attrs.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in node.attrs:
        raise NoGradient("its margins depend on its output")
    same = {name: node.attrs[name] for name in ("strides", "dilations", "pads", "group") if name in node.attrs}
    return {0: b.emit("Conv", g, weight, **same)}


def _batch_norm(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    if list(slots) != [0] or not all(isinstance(tensor, gs.Constant) for tensor in node.inputs[1:]):
        raise NoGradient("its statistics are computed")
    scale, _, _, variance = (tensor.values for tensor in node.inputs[1:])
    spread = variance + node.attrs.get("epsilon", 1e-5)
    if not (spread > 0).all():
        raise NoGradient("its variances are not positive")
    slope = scale / np.sqrt(spread)
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
    if node.attrs.get("ceil_mode", 0):
        raise NoGradient("its last windows may be cut off")
    kernel = list(node.attrs["kernel_shape"])
    shape, outputs = b.shape(node.inputs[0]), b.shape(node.outputs[0])[2:]
    seen = np.full(outputs, float(np.prod(kernel)))
    if not node.attrs.get("count_include_pad", 0):
        seen = functools.reduce(np.multiply.outer, _inside(node, shape[2:], kernel, outputs))
    share = b.emit("Mul", g, b.constant((1 / seen).astype(np.float32)))
    ones = b.constant(np.ones((shape[1], 1, *kernel), np.float32))
    return {0: _spread(b, node, share, ones, shape[1])}


def _inside(node: gs.Node, sides: Slots, kernel: Slots, outputs: Slots) -> list[Any]:
    """Along each axis, how many places of each window are not in the margin."""
    found = []
    pads = explicit_pads(node, sides, kernel)
    for axis, (side, size, count) in enumerate(zip(sides, kernel, outputs, strict=True)):
        stride, dilation = (node.attrs.get(name, [1] * len(kernel))[axis] for name in ("strides", "dilations"))
        places = np.arange(count)[:, None] * stride - pads[axis] + np.arange(size)[None] * dilation
        found.append(((places >= 0) & (places < side)).sum(axis=1))
    return found


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
            found[slot] = b.emit("Slice", g, starts=[start], ends=[start + size], axes=[axis])
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
    return {0: b.emit("Pad", g, pads=[*before, *after])}


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
        "ConvTranspose": _conv_transpose,
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
