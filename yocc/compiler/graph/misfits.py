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
_PRODUCTS = frozenset({"Gemm", "MatMul"})
_LEAST_AXES = 3
"""Of a kernel: channels out and in, and those it moves along."""
_PICKS = frozenset({"Concat", "Gather"})
_READS_VALUES = frozenset({"Gather", "Split"})
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_BLOCKS = frozenset({"DepthToSpace", "SpaceToDepth"})


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
    if problem := impossible(node, [tensor.shape for tensor in node.inputs], _constant_list(node)):
        return [f"{node.op} {node.name!r}: {problem}"]
    if node.op == "Pad" and len(shapes) > 2 and shapes[2] is not None and math.prod(shapes[2]) != 1:
        return [f"Pad {node.name!r}: {node.inputs[2].name!r} of shape {list(shapes[2])} is not one value"]
    if node.op in _PRODUCTS and (weight := _empty_constant(node)) is not None:
        return [f"{node.op} {node.name!r}: {weight.name!r} is no weight, as its shape is {list(weight.shape)}"]
    if node.op in _CONVOLUTIONS and len(shapes) > 1 and shapes[1] is not None:
        if len(shapes[1]) < _LEAST_AXES or 0 in shapes[1]:
            return [f"{node.op} {node.name!r}: {node.inputs[1].name!r} is no kernel, as its shape is {list(shapes[1])}"]
        kernel = node.attrs.get("kernel_shape")
        if kernel is not None and tuple(kernel) != shapes[1][2:]:
            return [f"{node.op} {node.name!r}: {node.inputs[1].name!r} is no kernel of {list(kernel)}"]
        if len(shapes) > 2 and shapes[2] is not None and len(shapes[2]) != 1:
            return [f"{node.op} {node.name!r}: {node.inputs[2].name!r} is no bias, as its shape is {list(shapes[2])}"]
        first, group = shapes[1][0], int(node.attrs.get("group", 1))
        if group < 1 or first % group:
            return [f"{node.op} {node.name!r}: {first} channels of {node.inputs[1].name!r} make no {group} groups"]
    if node.op in _GATES and (problem := _recurrent(node, shapes)):
        return [f"{node.op} {node.name!r}: {problem}"]
    data = node.inputs[0].shape if node.inputs else None
    wrong = wrong_channels(node, [data, *shapes[1:]])
    given = [shape for shape in shapes[1:] if shape is not None]
    if not wrong and node.op in _PER_CHANNEL and len(set(given)) > 1:
        wrong = [f"its parameters have different shapes: {', '.join(str(list(shape)) for shape in given)}"]
    return [f"{node.op} {node.name!r}: {problem}" for problem in wrong]


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


def impossible(node: gs.Node, shapes: Sequence[Shape], values: np.ndarray[Any, Any] | None) -> str:
    """What is wrong with attributes, indices or slopes for the shapes a node reads; empty if nothing is.

    Looks at what onnx's checker leaves to the runtime: Concat, Gather, Split, Transpose, DepthToSpace, SpaceToDepth and
    PRelu.

    Args:
        node: of any operator.
        shapes: of its inputs, as far as they are known.
        values: of its last input, where they are constant and few.
    """
    shape = shapes[0] if shapes else None
    if node.op == "Split" and len(shapes) > 1 and values is not None and (values < 0).any():
        return f"a part cannot have {values.min()} values"
    if shape is None:
        return ""
    if node.op in _PICKS:
        return _out_of_range(node, shape, values)
    if node.op == "Transpose" and sorted(node.attrs.get("perm", range(len(shape)))) != list(range(len(shape))):
        return f"a tensor of rank {len(shape)} has no order of axes {list(node.attrs['perm'])}"
    if node.op in _BLOCKS:
        return _indivisible(node, shape)
    slopes = _known(shapes[1]) if len(shapes) > 1 and node.op == "PRelu" else None
    if slopes is not None and not _stretches(slopes, shape):
        return f"{node.inputs[1].name!r} of shape {list(slopes)} cannot be stretched to {list(shape)}"
    return ""


def _indivisible(node: gs.Node, shape: Sequence[int | str | None]) -> str:
    block = int(node.attrs["blocksize"])
    axes, unit = ((1,), block * block) if node.op == "DepthToSpace" else ((2, 3), block)
    if len(shape) != 4 or block < 1:
        return ""
    wrong = [size for size in (shape[axis] for axis in axes) if isinstance(size, int) and size > 0 and size % unit]
    return f"a size of {wrong[0]} is no multiple of {unit}, as a block size of {block} needs" if wrong else ""


def _stretches(small: Sequence[int], large: Sequence[int | str | None]) -> bool:
    """Whether one shape broadcasts to the other, as far as that is known; the other stays as it is."""
    if len(small) > len(large):
        return False
    pairs = zip(reversed(small), reversed(large), strict=False)
    return all(size in (1, meets) or not isinstance(meets, int) or meets < 0 for size, meets in pairs)


def _out_of_range(node: gs.Node, shape: Sequence[int | str | None], indices: np.ndarray[Any, Any] | None) -> str:
    axis = int(node.attrs.get("axis", 0))
    if not -len(shape) <= axis < len(shape):
        return f"a tensor of rank {len(shape)} has no axis {axis}"
    size = shape[axis]
    if node.op != "Gather" or not isinstance(size, int) or size < 0 or indices is None:
        return ""
    wrong = indices[(indices < -size) | (indices >= size)]
    return f"axis {axis} of {size} has no index {wrong.flat[0]}" if wrong.size else ""


def _constant_list(node: gs.Node) -> np.ndarray[Any, Any] | None:
    """The indices of a Gather or the sizes of a Split where they are constant, but for many. Others stay on disk."""
    constant = node.inputs[-1] if node.op in _READS_VALUES and node.inputs else None
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


def _empty_constant(node: gs.Node) -> gs.Constant | None:
    """A constant input that holds no values."""
    constants = (tensor for tensor in node.inputs if isinstance(tensor, gs.Constant))
    return next((tensor for tensor in constants if 0 in tensor.shape), None)


def _recurrent(node: gs.Node, shapes: Sequence[tuple[int, ...] | None]) -> str:
    """What does not fit of weights [D, gates * H, I], recurrent ones [D, gates * H, H] and bias [D, 2 * gates * H]."""
    weight, again, bias = (*shapes[1:4], None, None, None)[:3]
    if again is None or len(again) != 3:
        return "" if again is None else f"{node.inputs[2].name!r} is no weight, as its shape is {list(again)}"
    directions, rows, hidden = again
    wanted = 1 + (node.attrs.get("direction", "forward") == "bidirectional")
    if (directions, rows) != (wanted, _GATES[node.op] * hidden) or node.attrs.get("hidden_size", hidden) != hidden:
        return f"{node.inputs[2].name!r} of shape {list(again)} is no recurrent weight of {wanted} directions"
    if weight is not None and (len(weight) != 3 or weight[:2] != (directions, rows)):
        return f"{node.inputs[1].name!r} of shape {list(weight)} does not fit {node.inputs[2].name!r}"
    if bias not in (None, (), (directions, 2 * rows)):
        return f"{node.inputs[3].name!r} of shape {list(bias or ())} is no bias of shape {[directions, 2 * rows]}"
    return ""


def _known(shape: Shape) -> tuple[int, ...] | None:
    """The shape, None unless every dimension is known."""
    if shape is None:
        return None
    sizes = [size for size in shape if isinstance(size, int) and size >= 0]
    return tuple(sizes) if len(sizes) == len(shape) else None
