"""Gradients of pooling and of reductions along axes."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.gradients.builder import Builder, NoGradient
from yocc.analysis.gradients.rules.linear import spread
from yocc.analysis.gradients.rules.rule import Gradients, Rule, Slots
from yocc.compiler.graph.padding import explicit_pads


def _max_pool(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    """The gradient goes where the maximum was, which the operator's second output says."""
    attributes = {name: value for name, value in node.attrs.items() if name != "storage_order"}
    _, places = b.emit_all("MaxPool", [node.inputs[0]], 2, **attributes)
    shape = b.shape(node.inputs[0])
    nothing = b.zeros((int(np.prod(shape)),))
    flat = b.emit("ScatterElements", nothing, b.flat(places), b.flat(g), axis=0, reduction="add")
    return {0: b.reshaped(flat, shape)}


def _average_pool(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    if node.attrs.get("ceil_mode", 0) and node.attrs.get("count_include_pad", 0):
        raise NoGradient("runtimes do not agree on how its last windows are counted")
    kernel = list(node.attrs["kernel_shape"])
    shape, outputs = b.shape(node.inputs[0]), b.shape(node.outputs[0])[2:]
    seen = np.full(outputs, float(np.prod(kernel)))
    if not node.attrs.get("count_include_pad", 0):
        seen = functools.reduce(np.multiply.outer, _inside(node, shape[2:], kernel, outputs))
    share = b.emit("Mul", g, b.constant((1 / seen).astype(np.float32)))
    ones = b.constant(np.ones((shape[1], 1, *kernel), np.float32))
    return {0: spread(b, node, share, ones, kernel=kernel, group=shape[1])}


def _inside(node: gs.Node, sides: Slots, kernel: Slots, outputs: Slots) -> list[Any]:
    """Along each axis, how many places of each window are not in the margin."""
    found = []
    pads = explicit_pads(node, sides, kernel)
    for axis, (side, size, count) in enumerate(zip(sides, kernel, outputs, strict=True)):
        stride, dilation = (node.attrs.get(name, [1] * len(kernel))[axis] for name in ("strides", "dilations"))
        places = np.arange(count)[:, None] * stride - pads[axis] + np.arange(size)[None] * dilation
        found.append(((places >= 0) & (places < side)).sum(axis=1))
    return found


def _whole(b: Builder, node: gs.Node, tensor: gs.Tensor) -> gs.Variable:
    """A value for each reduced part, in the shape of the input."""
    shape = b.shape(node.inputs[0])
    reduced = [1 if axis in _axes(b, node) else side for axis, side in enumerate(shape)]
    return b.emit("Expand", b.reshaped(tensor, reduced), b.integers(shape))


def _axes(b: Builder, node: gs.Node) -> set[int]:
    """The axes that a reduction or global pooling takes together."""
    rank = len(b.shape(node.inputs[0]))
    if node.op.startswith("Global"):
        return set(range(2, rank))
    axes: Sequence[int] = node.attrs.get("axes", ())
    if len(node.inputs) > 1 and not node.inputs[1].is_empty():
        axes = b.value(node.inputs[1]).tolist()
    if not axes and node.attrs.get("noop_with_empty_axes", 0):
        return set()
    return {axis % rank for axis in axes} or set(range(rank))


def _sum(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    return {0: _whole(b, node, g)}


def _mean(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    repeats = float(np.prod(b.shape(node.inputs[0])) / np.prod(b.shape(node.outputs[0])))
    return {0: _whole(b, node, b.emit("Div", g, b.number(repeats)))}


def _extreme(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    # The gradient goes to the element that was taken.
    taken = b.emit("Equal", node.inputs[0], _whole(b, node, node.outputs[0]))
    return {0: b.where(taken, _whole(b, node, g))}


def _absolute(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    return {0: b.emit("Mul", _whole(b, node, g), b.emit("Sign", node.inputs[0]))}


def _squares(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    return {0: b.emit("Mul", _whole(b, node, g), b.emit("Mul", node.inputs[0], b.number(2.0)))}


def _length(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    return {0: b.emit("Mul", _whole(b, node, b.emit("Div", g, node.outputs[0])), node.inputs[0])}


def _log_sum(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    return {0: _whole(b, node, b.emit("Div", g, b.emit("Exp", node.outputs[0])))}


def _log_sum_exp(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    share = b.emit("Exp", b.emit("Sub", node.inputs[0], _whole(b, node, node.outputs[0])))
    return {0: b.emit("Mul", _whole(b, node, g), share)}


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "AveragePool": _average_pool,
        "GlobalAveragePool": _mean,
        "GlobalMaxPool": _extreme,
        "MaxPool": _max_pool,
        "ReduceL1": _absolute,
        "ReduceL2": _length,
        "ReduceLogSum": _log_sum,
        "ReduceLogSumExp": _log_sum_exp,
        "ReduceMax": _extreme,
        "ReduceMean": _mean,
        "ReduceMin": _extreme,
        "ReduceSum": _sum,
        "ReduceSumSquare": _squares,
    }
)
