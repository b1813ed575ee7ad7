"""Rules for operators with a weight matrix: they end the channels that come in and make new ones."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.coupling.atoms import Array, varying_axes
from yocc.analysis.coupling.walk import Walk, align, give_up, on_axis
from yocc.compiler.graph.layers import output_axis

QUANTIZED = "a weight that is quantized already"


def conv(walk: Walk, node: gs.Node) -> list[Array]:
    """Fresh output channels; a depthwise convolution hands its input's on."""
    data, weight = node.inputs[0], node.inputs[1]
    if not isinstance(weight, gs.Constant):
        return give_up(walk, node, _without_weight(node))
    inputs = walk.only_axis(data, 1, node)
    count, groups = weight.shape[0], node.attrs.get("group", 1)
    rank = len(walk.shape(data))
    if groups == 1:
        outputs = walk.table.fresh(count)
        walk.cut(node, 1, 0, outputs, "out")
        walk.cut(node, 1, 1, inputs, "in")
    elif weight.shape[1] == 1:
        outputs = np.repeat(inputs, count // groups)
        walk.cut(node, 1, 0, outputs)
    else:
        _tie_groups(walk, inputs, groups)
        outputs = walk.table.fresh(count)
        _tie_groups(walk, outputs, groups)
        walk.cut(node, 1, 0, outputs, "out")
        walk.cut(node, 1, 1, inputs[: weight.shape[1]], "in")
    walk.cut(node, 2, 0, outputs)
    return [on_axis(outputs, 1, rank)]


def conv_transpose(walk: Walk, node: gs.Node) -> list[Array]:
    """As for a convolution, with the weight's first two axes the other way round."""
    data, weight = node.inputs[0], node.inputs[1]
    if not isinstance(weight, gs.Constant):
        return give_up(walk, node, _without_weight(node))
    inputs = walk.only_axis(data, 1, node)
    groups, rank = node.attrs.get("group", 1), len(walk.shape(data))
    if groups == weight.shape[0] and weight.shape[1] == 1 and groups > 1:
        outputs = inputs
        walk.cut(node, 1, 0, outputs)
    else:
        _tie_groups(walk, inputs, groups)
        each = walk.table.fresh(weight.shape[1])
        outputs = np.tile(each, groups)
        walk.cut(node, 1, 0, inputs, "in")
        walk.cut(node, 1, 1, each, "out")
    walk.cut(node, 2, 0, outputs)
    return [on_axis(outputs, 1, rank)]


def _tie_groups(walk: Walk, atoms: Array, groups: int) -> None:
    """A grouped convolution needs equal groups: the same position goes in every group or in none."""
    grid = atoms.reshape(groups, -1)
    walk.table.join(grid, grid[:1])


def gemm(walk: Walk, node: gs.Node) -> list[Array]:
    """Fresh output channels from a constant second matrix."""
    data, weight = node.inputs[0], node.inputs[1]
    if not isinstance(weight, gs.Constant) or node.attrs.get("transA", 0):
        return give_up(walk, node, f"{node.op} multiplies it by a matrix that is computed at run time")
    out_axis = output_axis(node, 2)
    inputs = walk.only_axis(data, 1, node)
    outputs = walk.table.fresh(weight.shape[out_axis])
    walk.cut(node, 1, out_axis, outputs, "out")
    walk.cut(node, 1, 1 - out_axis, inputs, "in")
    if len(node.inputs) > 2 and not node.inputs[2].is_empty():
        bias_shape = walk.shape(node.inputs[2])
        if bias_shape and bias_shape[-1] > 1:
            walk.cut(node, 2, len(bias_shape) - 1, outputs)
    return [on_axis(outputs, 1, 2)]


def matmul(walk: Walk, node: gs.Node) -> list[Array]:
    """Fresh output channels on the last axis from a constant matrix, or one for each of a stack, on the right."""
    data, weight = node.inputs
    if not isinstance(data, gs.Constant) and not isinstance(weight, gs.Constant):
        return _product(walk, node)
    if not isinstance(weight, gs.Constant) or len(weight.shape) < 2:
        return give_up(walk, node, f"{node.op} multiplies it by something else than a constant matrix")
    last = len(weight.shape) - 1
    rank = len(walk.shape(node.outputs[0]))
    inputs = walk.only_axis(data, len(walk.shape(data)) - 1, node)
    outputs = walk.table.fresh(weight.shape[last])
    walk.cut(node, 1, last, outputs, "out")
    walk.cut(node, 1, last - 1, inputs, "in")
    return [on_axis(outputs, rank - 1, rank)]


def _without_weight(node: gs.Node) -> str:
    """Why the weight of a layer is no constant."""
    maker = node.inputs[1].inputs[0] if node.inputs[1].inputs else None
    stored = maker is not None and maker.op == "DequantizeLinear" and isinstance(maker.inputs[0], gs.Constant)
    return f"{node.op} has {QUANTIZED if stored else 'a weight computed at run time'}"


def _product(walk: Walk, node: gs.Node) -> list[Array]:
    """Two activations, as in attention: rows of the one, columns of the other and matrices of both are handed on.

    What lies along the axis they are multiplied along stays: no layer reads it that could make up for it.
    """
    rank = len(walk.shape(node.outputs[0]))
    if min(len(walk.shape(tensor)) for tensor in node.inputs) < 2:
        return give_up(walk, node, f"{node.op} multiplies it by a vector")
    left, right = (align(walk.of(tensor), rank) for tensor in node.inputs)
    sizes = [(1,) * (rank - len(walk.shape(tensor))) + walk.shape(tensor) for tensor in node.inputs]
    for atoms, inner in ((left, rank - 1), (right, rank - 2)):
        if inner in varying_axes(atoms):
            walk.table.freeze(atoms, node.name, f"{node.op} multiplies it by another activation along its channels")
    along_matrices = [axis for axis in varying_axes(left) + varying_axes(right) if axis < rank - 2]
    if any(sizes[0][axis] != sizes[1][axis] for axis in along_matrices):
        return give_up(walk, node, f"{node.op} repeats matrices of channels")
    # What varies along the inner axis is frozen, so that one of it stands for all.
    rows, columns = left.take([0], axis=rank - 1), right.take([0], axis=rank - 2)
    kinds = [set(varying_axes(atoms)) for atoms in (rows, columns)]
    if all(kinds) and kinds[0] != kinds[1]:
        for atoms, axes in zip((rows, columns), kinds, strict=True):
            if min(axes) < rank - 2 or kinds == [{rank - 2}, {rank - 1}]:
                walk.table.freeze(atoms, node.name, f"{node.op} multiplies channels of two kinds")
        rows = rows if kinds[0] == {rank - 2} else columns
    elif all(kinds):
        walk.table.join(rows, columns)
    picked = rows if varying_axes(rows) else columns
    return [picked]
