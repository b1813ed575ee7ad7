"""Weights and shapes that do not fit what they meet, which onnx's checker does not look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph.evaluating import MOST_ELEMENTS

Shape = Sequence[int | str | None] | None
_PER_CHANNEL = frozenset({"BatchNormalization", "InstanceNormalization"})
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_LEAST_AXES = 3
"""Of a kernel: channels out and in, and those it moves along."""
_PICKS = frozenset({"Concat", "Gather"})


def misfits(graph: gs.Graph) -> list[str]:
    """What does not fit, one line each, where the shapes are known.

    Args:
        graph: with inferred shapes.
    """
    return [line for node in graph.nodes if not node.domain for line in _misfits(node)]


def _misfits(node: gs.Node) -> list[str]:
    shapes = [_known(tensor.shape) for tensor in node.inputs]
    if node.op == "Reshape":
        before, after = shapes[0], _known(node.outputs[0].shape)
        if before is None or after is None or math.prod(before) == math.prod(after):
            return []
        return [f"Reshape {node.name!r} makes {list(after)} of {list(before)}"]
    if node.op == "Slice":
        lists = [shape for shape in shapes[1:] if shape is not None]
        if any(len(shape) != 1 or shape != lists[0] for shape in lists):
            return [f"Slice {node.name!r}: its bounds are no lists of one length"]
        return []
    if node.op in _PICKS and node.inputs and (problem := out_of_range(node, node.inputs[0].shape, _indices(node))):
        return [f"{node.op} {node.name!r}: {problem}"]
    if node.op in _CONVOLUTIONS and len(shapes) > 1 and shapes[1] is not None:
        if len(shapes[1]) < _LEAST_AXES:
            return [f"{node.op} {node.name!r}: {node.inputs[1].name!r} is no kernel, as its shape is {list(shapes[1])}"]
        kernel = node.attrs.get("kernel_shape")
        if kernel is not None and tuple(kernel) != shapes[1][2:]:
            return [f"{node.op} {node.name!r}: {node.inputs[1].name!r} is no kernel of {list(kernel)}"]
        first, group = shapes[1][0], int(node.attrs.get("group", 1))
        if group < 1 or first % group:
            return [f"{node.op} {node.name!r}: {first} channels of {node.inputs[1].name!r} make no {group} groups"]
    data = node.inputs[0].shape if node.inputs else None
    return [f"{node.op} {node.name!r}: {problem}" for problem in wrong_channels(node, [data, *shapes[1:]])]


def wrong_channels(node: gs.Node, shapes: Sequence[Shape]) -> list[str]:
    """Which weights of a convolution or normalization are made for other channels than they meet, one line each.

    Args:
        node: of any operator.
        shapes: of its inputs, as far as they are known.
    """
    weights = [None, *(_known(shape) for shape in shapes[1:])]
    return [
        f"{node.inputs[index].name!r} is made for {has} channels and meets {meets}"
        for index, (has, meets) in _wanted(node, shapes[0] if shapes else None, weights).items()
        if has != meets
    ]


def out_of_range(node: gs.Node, shape: Shape, indices: np.ndarray[Any, Any] | None) -> str:
    """What is wrong with the axis of a Concat or Gather, or with the indices of a Gather; empty if nothing is.

    Args:
        node: of any operator.
        shape: of its first input.
        indices: of a Gather, None where they are not constant.
    """
    if node.op not in _PICKS or shape is None:
        return ""
    axis = int(node.attrs.get("axis", 0))
    if not -len(shape) <= axis < len(shape):
        return f"a tensor of rank {len(shape)} has no axis {axis}"
    size = shape[axis]
    if node.op != "Gather" or not isinstance(size, int) or size < 0 or indices is None:
        return ""
    wrong = indices[(indices < -size) | (indices >= size)]
    return f"axis {axis} of {size} has no index {wrong.flat[0]}" if wrong.size else ""


def _indices(node: gs.Node) -> np.ndarray[Any, Any] | None:
    """Constant indices of a Gather, but for those that are many."""
    constant = node.inputs[-1] if node.inputs else None
    if not isinstance(constant, gs.Constant) or math.prod(constant.shape) > MOST_ELEMENTS:
        return None
    values: np.ndarray[Any, Any] = constant.values
    return values


def _wanted(node: gs.Node, data: Shape, shapes: Sequence[tuple[int, ...] | None]) -> dict[int, tuple[int, int]]:
    """By input, the channels it is made for and those it meets."""
    channels = data[1] if data is not None and len(data) > 1 else None
    if not isinstance(channels, int) or channels < 0:
        return {}
    if node.op in _PER_CHANNEL:
        return {index: (shape[0], channels) for index, shape in enumerate(shapes) if index and shape}
    weight = shapes[1] if node.op in _CONVOLUTIONS and len(shapes) > 1 else None
    if weight is None or len(weight) < 2:
        return {}
    group = int(node.attrs.get("group", 1))
    made, taken = (weight[0], weight[1] * group) if node.op == "Conv" else (weight[1] * group, weight[0])
    wanted = {1: (taken, channels)}
    bias = shapes[2] if len(shapes) > 2 else None
    if bias:
        wanted[2] = (bias[0], made)
    return wanted


def _known(shape: Shape) -> tuple[int, ...] | None:
    """The shape, None unless every dimension is known."""
    if shape is None:
        return None
    sizes = [size for size in shape if isinstance(size, int) and size >= 0]
    return tuple(sizes) if len(sizes) == len(shape) else None
