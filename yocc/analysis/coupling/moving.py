"""Rules for operators that only move values: what happens to a tensor happens to its array of atoms."""

from __future__ import annotations

import math

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.coupling.atoms import LARGEST, Array, compress, varying_axes
from yocc.analysis.coupling.walk import Walk, align, give_up, on_axis
from yocc.compiler.graph.shapes import Shapes


def concat(walk: Walk, node: gs.Node) -> list[Array]:
    """Joins arrays of atoms, or ties them where they lie side by side along another axis."""
    shape = walk.shape(node.outputs[0])
    axis = node.attrs["axis"] % len(shape)
    arrays = [walk.of(tensor) for tensor in node.inputs]
    varies = {index for array in arrays for index in varying_axes(array)}
    if varies - {axis}:
        if axis in varies:
            return give_up(walk, node, f"{node.op} joins channels along one axis that differ along another")
        for array in arrays[1:]:
            walk.table.join(arrays[0], array)
        return [np.broadcast_arrays(*arrays)[0]]
    spread = []
    for tensor, array in zip(node.inputs, arrays, strict=True):
        full = [walk.shape(tensor)[axis] if index == axis else 1 for index in range(len(shape))]
        spread.append(np.broadcast_to(array, full))
    return [compress(np.concatenate(spread, axis=axis))]


def split(walk: Walk, node: gs.Node) -> list[Array]:
    """Cuts an array of atoms."""
    data, shape = walk.of(node.inputs[0]), walk.shape(node.inputs[0])
    axis = node.attrs.get("axis", 0) % len(shape)
    if data.shape[axis] == 1:
        return [data for _ in node.outputs]
    if len(node.inputs) > 1 and not isinstance(node.inputs[1], gs.Constant):
        return give_up(walk, node, f"{node.op} has sizes computed at run time")
    bounds = np.cumsum([walk.shape(tensor)[axis] for tensor in node.outputs])[:-1]
    return [compress(part) for part in np.split(data, bounds, axis=axis)]


def slice_channels(walk: Walk, node: gs.Node) -> list[Array]:
    """Takes a run of atoms."""
    data, shape = walk.of(node.inputs[0]), walk.shape(node.inputs[0])
    cut_axes = slice_ranges(walk.shapes, node)
    if cut_axes is None:
        return give_up(walk, node, f"{node.op} takes a range computed at run time")
    for axis, taken in cut_axes.items():
        if data.shape[axis] == 1:
            continue
        if taken.step != 1:
            return give_up(walk, node, f"{node.op} takes every n-th channel")
        if not all(isinstance(tensor, gs.Constant) for tensor in node.inputs[1:]):
            return give_up(walk, node, f"{node.op} takes a range computed at run time")
        data = data.take(np.arange(*taken.indices(shape[axis])), axis=axis)
    return [compress(data)]


def slice_ranges(shapes: Shapes, node: gs.Node) -> dict[int, slice] | None:
    """Range taken along each axis by a Slice (opset 10 or newer), with bounds inside the tensor; None if unknown."""
    shape = shapes.of(node.inputs[0])
    given = [shapes.values.get(tensor.name) for tensor in node.inputs[1:] if not tensor.is_empty()]
    known = [values.tolist() for values in given if values is not None]
    if shape is None or len(known) < 2 or len(known) < len(given):
        return None
    starts, ends = known[:2]
    axes = known[2] if len(known) > 2 else list(range(len(starts)))
    steps = known[3] if len(known) > 3 else [1] * len(starts)
    ranges = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= len(shape)
        if step < 0:
            ranges[axis] = slice(start, end, step)
            continue
        bounds = slice(start, end, step).indices(shape[axis])
        ranges[axis] = slice(*bounds)
    return ranges


def gather(walk: Walk, node: gs.Node) -> list[Array]:
    """Picks atoms by constant indices."""
    data, shape = walk.of(node.inputs[0]), walk.shape(node.inputs[0])
    axis = node.attrs.get("axis", 0) % len(shape)
    indices = walk.shapes.values.get(node.inputs[1].name)
    rank = len(walk.shape(node.outputs[0]))
    if data.shape[axis] == 1 and indices is not None:
        return [_insert_axes(data, axis, indices.ndim)]
    if indices is None or indices.ndim > 1 or not isinstance(node.inputs[1], gs.Constant):
        return give_up(walk, node, f"{node.op} has indices computed at run time")
    taken = data.take(indices, axis=axis)
    if indices.ndim == 0:
        walk.table.freeze(taken, node.name, f"{node.op} picks out a single channel")
    return [compress(taken.reshape(taken.shape if taken.ndim == rank else (1,) * rank))]


def _insert_axes(data: Array, axis: int, count: int) -> Array:
    return data.reshape(data.shape[:axis] + (1,) * count + data.shape[axis + 1 :])


def pad(walk: Walk, node: gs.Node) -> list[Array]:
    """Hands atoms on; a constant put around channels is a concatenation with new channels, which live as they must."""
    atoms = walk.of(node.inputs[0])
    varies = varying_axes(atoms)
    data, after = walk.shape(node.inputs[0]), walk.shape(node.outputs[0])
    grown = [axis for axis in varies if data[axis] != after[axis]]
    if not grown:
        return [atoms]
    widths = pad_widths(walk.shapes, node)
    if widths is None or (len(node.inputs) > 1 and not isinstance(node.inputs[1], gs.Constant)):
        return give_up(walk, node, f"{node.op} has widths computed at run time")
    if node.attrs.get("mode", "constant") != "constant" or min(min(widths[axis]) for axis in varies) < 0:
        return give_up(walk, node, f"{node.op} makes channels of other channels, or cuts them off")
    if len(varies) > 1:
        return give_up(walk, node, f"{node.op} adds channels along one of several axes")
    axis = grown[0]
    first, last = (on_axis(walk.table.fresh(width), axis, atoms.ndim) for width in widths[axis])
    return [np.concatenate([first, atoms, last], axis=axis)]


def pad_widths(shapes: Shapes, node: gs.Node) -> list[tuple[int, int]] | None:
    """Width before and behind each axis of a Pad; None if computed at run time."""
    rank = len(shapes.shapes[node.inputs[0].name])
    stated = node.attrs.get("pads") if len(node.inputs) < 2 else shapes.values.get(node.inputs[1].name)
    named = node.inputs[3] if len(node.inputs) > 3 and node.inputs[3].name else None
    axes = range(rank) if named is None else shapes.values.get(named.name)
    if stated is None or axes is None:
        return None
    widths = [(0, 0)] * rank
    for axis, first, last in zip(axes, stated, stated[len(stated) // 2 :], strict=False):
        widths[int(axis) % rank] = int(first), int(last)
    return widths


def reshape(walk: Walk, node: gs.Node) -> list[Array]:
    """Moves an array of atoms: Reshape, Flatten, Squeeze, Unsqueeze."""
    before, after = walk.shape(node.inputs[0]), walk.shape(node.outputs[0])
    atoms = walk.of(node.inputs[0])
    if math.prod(after) > LARGEST:
        return give_up(walk, node, f"{node.op} makes a tensor too large to follow")
    if math.prod(before) != math.prod(after):
        return give_up(walk, node, f"{node.op} does not fit the size of the input")
    if node.op == "Reshape" and varying_axes(atoms) and not isinstance(node.inputs[1], gs.Constant):
        return give_up(walk, node, f"{node.op} has a shape computed at run time")
    result = compress(np.broadcast_to(atoms, before).reshape(after))
    return [_one_axis(walk, result)]


def _one_axis(walk: Walk, atoms: Array) -> Array:
    """Channels that now lie along several axes can only go along one: the longest; the others are tied."""
    axes = varying_axes(atoms)
    if len(axes) > 1:
        longest = max(axes, key=lambda axis: atoms.shape[axis])
        index = tuple(slice(None) if axis == longest else slice(0, 1) for axis in range(atoms.ndim))
        walk.table.join(atoms, atoms[index])
        return atoms[index]
    return atoms


def transpose(walk: Walk, node: gs.Node) -> list[Array]:
    """Permutes the axes of the atoms."""
    atoms = walk.of(node.inputs[0])
    return [np.transpose(atoms, node.attrs.get("perm", list(range(atoms.ndim))[::-1]))]


def expand(walk: Walk, node: gs.Node) -> list[Array]:
    """Spreads atoms over new positions."""
    atoms = walk.of(node.inputs[0])
    if varying_axes(atoms) and not isinstance(node.inputs[1], gs.Constant):
        return give_up(walk, node, f"{node.op} has a shape computed at run time")
    return [align(atoms, len(walk.shape(node.outputs[0])))]


def depth_to_space(walk: Walk, node: gs.Node) -> list[Array]:
    """Ties the channels that become one block."""
    channels = walk.only_axis(node.inputs[0], 1, node)
    block = node.attrs["blocksize"] ** 2
    depth_first = node.attrs.get("mode", "DCR") == "DCR"
    grid = channels.reshape(block, -1) if depth_first else channels.reshape(-1, block).T
    walk.table.join(grid, grid[:1])
    return [on_axis(grid[0], 1, 4)]


def space_to_depth(walk: Walk, node: gs.Node) -> list[Array]:
    """Repeats the channels, once for each position of a block."""
    channels = walk.only_axis(node.inputs[0], 1, node)
    return [on_axis(np.tile(channels, node.attrs["blocksize"] ** 2), 1, 4)]
