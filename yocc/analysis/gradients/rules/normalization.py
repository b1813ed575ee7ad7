"""Gradients of operators that divide by what they find along some axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.gradients.builder import Builder, NoGradient
from yocc.analysis.gradients.rules.rule import Gradients, Rule, Slots, only_first

_COMPUTED = "its scale or bias is computed"


def _batch_norm(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, "its statistics are computed")
    if node.attrs.get("training_mode", 0) or not all(isinstance(tensor, gs.Constant) for tensor in node.inputs[1:]):
        raise NoGradient("its statistics are computed")
    scale, _, _, variance = (tensor.values for tensor in node.inputs[1:])
    spread = variance + node.attrs.get("epsilon", 1e-5)
    if not (spread > 0).all():
        raise NoGradient("its variances are not positive")
    slope = scale / np.sqrt(spread)
    rank = len(b.shape(node.inputs[0]))
    return {0: b.emit("Mul", g, b.constant(slope.astype(np.float32).reshape(-1, *[1] * (rank - 2))))}


def _layer_norm(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, _COMPUTED)
    rank = len(b.shape(node.inputs[0]))
    axes = list(range(node.attrs.get("axis", -1) % rank, rank))
    scaled = b.emit("Mul", g, node.inputs[1])
    return {0: _centred(b, node.inputs[0], scaled, axes, node.attrs.get("epsilon", 1e-5))}


def _instance_norm(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, _COMPUTED)
    shape = b.shape(node.inputs[0])
    scaled = b.emit("Mul", g, b.reshaped(node.inputs[1], [-1, *[1] * (len(shape) - 2)]))
    return {0: _centred(b, node.inputs[0], scaled, range(2, len(shape)), node.attrs.get("epsilon", 1e-5))}


def _group_norm(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, _COMPUTED)
    shape, groups = b.shape(node.inputs[0]), node.attrs["num_groups"]
    each = b.shape(node.inputs[1])[0]
    # Before opset 21 there is one scale for each group, and not for each channel.
    scaled = b.emit("Mul", b.reshaped(g, [shape[0], each, -1]), b.reshaped(node.inputs[1], [1, each, 1]))
    rows = [shape[0], groups, int(np.prod(shape[1:])) // groups]
    found = _centred(
        b, b.reshaped(node.inputs[0], rows), b.reshaped(scaled, rows), [2], node.attrs.get("epsilon", 1e-5)
    )
    return {0: b.reshaped(found, shape)}


def _centred(b: Builder, x: gs.Tensor, g: gs.Variable, axes: Sequence[int], epsilon: float) -> gs.Variable:
    """The gradient through (x - mean) / deviation along axes."""

    def mean(tensor: gs.Tensor) -> gs.Variable:
        return b.emit("ReduceMean", tensor, axes=list(axes), keepdims=1)

    moved = b.emit("Sub", x, mean(x))
    spread = b.emit("Sqrt", b.emit("Add", mean(b.emit("Mul", moved, moved)), b.number(epsilon)))
    normal = b.emit("Div", moved, spread)
    along = b.emit("Mul", normal, mean(b.emit("Mul", g, normal)))
    return b.emit("Div", b.emit("Sub", b.emit("Sub", g, mean(g)), along), spread)


def _lp_norm(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    if node.attrs.get("p", 2) != 2:
        raise NoGradient("it divides by a sum of magnitudes")
    x, y, axis = node.inputs[0], node.outputs[0], node.attrs.get("axis", -1)
    length = b.emit("ReduceL2", x, axes=[axis], keepdims=1)
    along = b.emit("Mul", y, b.emit("ReduceSum", b.emit("Mul", g, y), axes=[axis], keepdims=1))
    return {0: b.emit("Div", b.emit("Sub", g, along), length)}


def _softmax(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    y, axis = node.outputs[0], node.attrs.get("axis", -1)
    weighted = b.emit("Mul", g, y)
    total = b.emit("ReduceSum", weighted, axes=[axis], keepdims=1)
    return {0: b.emit("Sub", weighted, b.emit("Mul", y, total))}


def _log_softmax(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    total = b.emit("ReduceSum", g, axes=[node.attrs.get("axis", -1)], keepdims=1)
    return {0: b.emit("Sub", g, b.emit("Mul", b.emit("Exp", node.outputs[0]), total))}


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "BatchNormalization": _batch_norm,
        "GroupNormalization": _group_norm,
        "InstanceNormalization": _instance_norm,
        "LayerNormalization": _layer_norm,
        "LogSoftmax": _log_softmax,
        "LpNormalization": _lp_norm,
        "Softmax": _softmax,
    }
)
