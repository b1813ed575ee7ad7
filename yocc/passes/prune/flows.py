"""How each operator moves channel atoms from its inputs to its outputs.

A rule reads the atoms of the inputs and returns those of the outputs; on the way it ties atoms together, freezes those
it cannot let go and records which constants have to be cut with them. A rule that meets something it does not handle
freezes its inputs and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.ops import Flow
from yocc.compiler.shapes import Shapes
from yocc.passes.prune.atoms import FROZEN, LARGEST, Array, AtomTable, Role, WeightCut, along, compress, varying_axes


class Walk:
    """The state of one walk through a graph: atoms of each tensor so far, and what was found.

    Attributes:
        shapes: concrete shapes of the graph's tensors.
        table: the atoms.
        atoms: atom array of each variable tensor met so far.
        cuts: constants to cut.
        weights: atoms by which each weight is cut along each axis, so that layers sharing a weight stay alike.
    """

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.table = AtomTable()
        self.atoms: dict[str, Array] = {}
        self.cuts: list[WeightCut] = []
        self.weights: dict[tuple[str, int], Array] = {}

    def shape(self, tensor: gs.Tensor) -> tuple[int, ...]:
        """Shape of a tensor that is known to have one."""
        return self.shapes.shapes[tensor.name]

    def of(self, tensor: gs.Tensor) -> Array:
        """Atoms of a tensor; frozen ones for constants and graph inputs."""
        return self.atoms.get(tensor.name, frozen(len(self.shape(tensor))))

    def freeze(self, tensor: gs.Tensor, node: gs.Node, reason: str) -> None:
        """Keep all channels of a tensor."""
        if tensor.name in self.atoms:
            self.table.freeze(self.atoms[tensor.name], node.name, reason)

    def only_axis(self, tensor: gs.Tensor, axis: int, node: gs.Node) -> Array:
        """Atoms along one axis, shape [n]; channels that vary along any other axis are frozen first."""
        atoms, shape = self.of(tensor), self.shape(tensor)
        if any(other != axis for other in varying_axes(atoms)):
            self.table.freeze(
                atoms, node.name, f"a reshape spreads its channels over an axis along which {node.op} mixes values"
            )
            return np.full(shape[axis], FROZEN, dtype=np.int32)
        return along(atoms, axis, shape[axis])

    def cut(self, node: gs.Node, slot: int, axis: int, atoms: Array, role: Role = "along") -> None:
        """Record a constant to cut; a parameter that is computed at run time freezes the channels instead."""
        if slot >= len(node.inputs) or node.inputs[slot].is_empty():
            return
        constant = node.inputs[slot]
        if isinstance(constant, gs.Constant):
            self.cuts.append(WeightCut(node.name, slot, axis, atoms, role))
            if role != "along":
                self.table.join(self.weights.setdefault((constant.name, axis), atoms), atoms)
        else:
            self.table.freeze(atoms, node.name, f"input {slot} of {node.op} is computed at run time")


def frozen(rank: int) -> Array:
    """Atoms of a tensor whose channels all stay."""
    return np.full((1,) * rank, FROZEN, dtype=np.int32)


def on_axis(atoms: Array, axis: int, rank: int) -> Array:
    """One-dimensional atoms as an array of a tensor's rank."""
    return atoms.reshape([-1 if index == axis else 1 for index in range(rank)])


def _frozen_outputs(walk: Walk, node: gs.Node) -> list[Array]:
    return [frozen(len(walk.shapes.of(tensor) or ())) for tensor in node.outputs]


def give_up(walk: Walk, node: gs.Node, reason: str) -> list[Array]:
    """Freeze all inputs; the outputs' channels are frozen too."""
    for tensor in node.inputs:
        walk.freeze(tensor, node, reason)
    return _frozen_outputs(walk, node)


def _conv(walk: Walk, node: gs.Node) -> list[Array]:
    data, weight = node.inputs[0], node.inputs[1]
    if not isinstance(weight, gs.Constant):
        return give_up(walk, node, f"{node.op} has a weight computed at run time")
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


def _conv_transpose(walk: Walk, node: gs.Node) -> list[Array]:
    data, weight = node.inputs[0], node.inputs[1]
    if not isinstance(weight, gs.Constant):
        return give_up(walk, node, f"{node.op} has a weight computed at run time")
    inputs = walk.only_axis(data, 1, node)
    groups, rank = node.attrs.get("group", 1), len(walk.shape(data))
    if groups == 1:
        outputs = walk.table.fresh(weight.shape[1])
        walk.cut(node, 1, 0, inputs, "in")
        walk.cut(node, 1, 1, outputs, "out")
    elif groups == weight.shape[0] and weight.shape[1] == 1:
        outputs = inputs
        walk.cut(node, 1, 0, outputs)
    else:
        return give_up(walk, node, "a grouped ConvTranspose is not handled")
    walk.cut(node, 2, 0, outputs)
    return [on_axis(outputs, 1, rank)]


def _tie_groups(walk: Walk, atoms: Array, groups: int) -> None:
    """A grouped convolution needs equal groups: the same position goes in every group or in none."""
    grid = atoms.reshape(groups, -1)
    walk.table.join(grid, grid[:1])


def _gemm(walk: Walk, node: gs.Node) -> list[Array]:
    data, weight = node.inputs[0], node.inputs[1]
    if not isinstance(weight, gs.Constant) or node.attrs.get("transA", 0):
        return give_up(walk, node, f"{node.op} multiplies it by a matrix that is computed at run time")
    out_axis = 0 if node.attrs.get("transB", 0) else 1
    inputs = walk.only_axis(data, 1, node)
    outputs = walk.table.fresh(weight.shape[out_axis])
    walk.cut(node, 1, out_axis, outputs, "out")
    walk.cut(node, 1, 1 - out_axis, inputs, "in")
    if len(node.inputs) > 2 and not node.inputs[2].is_empty():
        bias_shape = walk.shape(node.inputs[2])
        if bias_shape and bias_shape[-1] > 1:
            walk.cut(node, 2, len(bias_shape) - 1, outputs)
    return [on_axis(outputs, 1, 2)]


def _matmul(walk: Walk, node: gs.Node) -> list[Array]:
    data, weight = node.inputs
    if not isinstance(weight, gs.Constant) or len(weight.shape) != 2:
        return give_up(walk, node, f"{node.op} multiplies it by something else than a constant matrix")
    rank = len(walk.shape(data))
    inputs = walk.only_axis(data, rank - 1, node)
    outputs = walk.table.fresh(weight.shape[1])
    walk.cut(node, 1, 1, outputs, "out")
    walk.cut(node, 1, 0, inputs, "in")
    return [on_axis(outputs, rank - 1, rank)]


def _per_channel(walk: Walk, node: gs.Node) -> list[Array]:
    if any(not tensor.is_empty() for tensor in node.outputs[1:]):
        return give_up(walk, node, f"{node.op} in training mode is not handled")
    channels = walk.only_axis(node.inputs[0], 1, node)
    for slot in range(1, len(node.inputs)):
        walk.cut(node, slot, 0, channels)
    return [on_axis(channels, 1, len(walk.shape(node.inputs[0])))]


def _unary(walk: Walk, node: gs.Node) -> list[Array]:
    if any(
        len(walk.shape(tensor)) == 1 and walk.shape(tensor)[0] > 1
        for tensor in node.inputs[1:]
        if not tensor.is_empty()
    ):
        return give_up(walk, node, f"{node.op} has a parameter for each channel")
    atoms = walk.of(node.inputs[0])
    return [atoms for _ in node.outputs]


def _spatial(walk: Walk, node: gs.Node) -> list[Array]:
    data, result = walk.shape(node.inputs[0]), walk.shape(node.outputs[0])
    if data[1] != result[1] or len(node.outputs) > 1:
        return give_up(walk, node, f"{node.op} changes the channel axis")
    for tensor in node.inputs[1:]:
        if tensor.name in walk.atoms:
            walk.freeze(tensor, node, f"{node.op} takes it as a parameter")
    return [on_axis(walk.only_axis(node.inputs[0], 1, node), 1, len(result))]


def _elementwise(walk: Walk, node: gs.Node) -> list[Array]:
    shape = walk.shape(node.outputs[0])
    rank = len(shape)
    operands = [_align(walk.of(tensor), rank) for tensor in node.inputs]
    sizes = [(1,) * (rank - len(walk.shape(tensor))) + walk.shape(tensor) for tensor in node.inputs]
    varies = {axis for atoms in operands for axis in varying_axes(atoms)}
    result: Array | None = None
    for tensor, atoms, size in zip(node.inputs, operands, sizes, strict=True):
        if isinstance(tensor, gs.Constant):
            continue
        if any(size[axis] == 1 and shape[axis] > 1 for axis in varies):
            # One channel spread over many: it can neither go alone nor be tied to all of them.
            walk.table.freeze(atoms, node.name, f"{node.op} spreads it over other channels")
            continue
        if result is None:
            result = atoms
        else:
            walk.table.join(result, atoms)
            result = np.broadcast_arrays(result, atoms)[0]
    if result is None:
        return [frozen(rank)]
    result = compress(result)
    for slot, (tensor, size) in enumerate(zip(node.inputs, sizes, strict=True)):
        if isinstance(tensor, gs.Constant):
            _cut_operand(walk, node, slot, size, result)
    return [result]


def _align(atoms: Array, rank: int) -> Array:
    return atoms.reshape((1,) * (rank - atoms.ndim) + atoms.shape)


def _cut_operand(walk: Walk, node: gs.Node, slot: int, size: tuple[int, ...], result: Array) -> None:
    """Cut a constant operand of full `size` (padded to the result's rank) with the channels of the result."""
    axes = varying_axes(result)
    touched = [axis for axis in axes if size[axis] > 1]
    if not touched:
        return
    if len(axes) > 1:
        walk.table.freeze(result, node.name, f"a constant of {node.op} varies along several channel axes")
        return
    own_axis = touched[0] - (len(size) - len(node.inputs[slot].shape))
    walk.cut(node, slot, own_axis, along(result, touched[0], result.shape[touched[0]]))


def _concat(walk: Walk, node: gs.Node) -> list[Array]:
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


def _split(walk: Walk, node: gs.Node) -> list[Array]:
    data, shape = walk.of(node.inputs[0]), walk.shape(node.inputs[0])
    axis = node.attrs.get("axis", 0) % len(shape)
    if data.shape[axis] == 1:
        return [data for _ in node.outputs]
    if len(node.inputs) > 1 and not isinstance(node.inputs[1], gs.Constant):
        return give_up(walk, node, f"{node.op} has sizes computed at run time")
    bounds = np.cumsum([walk.shape(tensor)[axis] for tensor in node.outputs])[:-1]
    return [compress(part) for part in np.split(data, bounds, axis=axis)]


def _slice(walk: Walk, node: gs.Node) -> list[Array]:
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
    if shape is None or len(given) < 2 or any(values is None for values in given):
        return None
    starts, ends = given[0].tolist(), given[1].tolist()  # type: ignore[union-attr]
    axes = given[2].tolist() if len(given) > 2 else list(range(len(starts)))  # type: ignore[union-attr]
    steps = given[3].tolist() if len(given) > 3 else [1] * len(starts)  # type: ignore[union-attr]
    ranges = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= len(shape)
        if step < 0:
            ranges[axis] = slice(start, end, step)
            continue
        bounds = slice(start, end, step).indices(shape[axis])
        ranges[axis] = slice(*bounds)
    return ranges


def _gather(walk: Walk, node: gs.Node) -> list[Array]:
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


def _pad(walk: Walk, node: gs.Node) -> list[Array]:
    data, before = walk.shape(node.inputs[0]), walk.of(node.inputs[0])
    after = walk.shape(node.outputs[0])
    if any(data[axis] != after[axis] for axis in varying_axes(before)):
        return give_up(walk, node, f"{node.op} adds channels")
    return [before]


def _reshape(walk: Walk, node: gs.Node) -> list[Array]:
    before, after = walk.shape(node.inputs[0]), walk.shape(node.outputs[0])
    atoms = walk.of(node.inputs[0])
    if int(np.prod(after)) > LARGEST:
        return give_up(walk, node, f"{node.op} makes a tensor too large to follow")
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
    return atoms


def _transpose(walk: Walk, node: gs.Node) -> list[Array]:
    atoms = walk.of(node.inputs[0])
    return [np.transpose(atoms, node.attrs.get("perm", list(range(atoms.ndim))[::-1]))]


def _expand(walk: Walk, node: gs.Node) -> list[Array]:
    atoms = walk.of(node.inputs[0])
    if varying_axes(atoms) and not isinstance(node.inputs[1], gs.Constant):
        return give_up(walk, node, f"{node.op} has a shape computed at run time")
    return [_align(atoms, len(walk.shape(node.outputs[0])))]


def _reduce(walk: Walk, node: gs.Node) -> list[Array]:
    atoms, rank = walk.of(node.inputs[0]), len(walk.shape(node.inputs[0]))
    axes = node.attrs.get("axes")
    if axes is None and len(node.inputs) > 1 and not node.inputs[1].is_empty():
        values = walk.shapes.values.get(node.inputs[1].name)
        if values is None:
            return give_up(walk, node, f"{node.op} has axes computed at run time")
        axes = values.tolist()
    reduced = {axis % rank for axis in (axes if axes else range(rank))}
    if any(axis in reduced for axis in varying_axes(atoms)):
        return give_up(walk, node, f"{node.op} reduces over channels")
    if node.attrs.get("keepdims", 1):
        return [atoms]
    return [atoms.reshape([size for axis, size in enumerate(atoms.shape) if axis not in reduced])]


def _along_axis(walk: Walk, node: gs.Node) -> list[Array]:
    atoms = walk.of(node.inputs[0])
    if node.op == "GroupNormalization":
        mixed = {1}
    else:
        axis = node.attrs.get("axis", -1) % atoms.ndim
        mixed = set(range(axis, atoms.ndim)) if node.op == "LayerNormalization" else {axis}
    if any(axis in mixed for axis in varying_axes(atoms)):
        return give_up(walk, node, f"{node.op} mixes channels")
    return [atoms, *_frozen_outputs(walk, node)[1:]]


def _depth_to_space(walk: Walk, node: gs.Node) -> list[Array]:
    channels = walk.only_axis(node.inputs[0], 1, node)
    block = node.attrs["blocksize"] ** 2
    depth_first = node.attrs.get("mode", "DCR") == "DCR"
    grid = channels.reshape(block, -1) if depth_first else channels.reshape(-1, block).T
    walk.table.join(grid, grid[:1])
    return [on_axis(grid[0], 1, 4)]


def _space_to_depth(walk: Walk, node: gs.Node) -> list[Array]:
    channels = walk.only_axis(node.inputs[0], 1, node)
    return [on_axis(np.tile(channels, node.attrs["blocksize"] ** 2), 1, 4)]


def _shape(walk: Walk, node: gs.Node) -> list[Array]:
    """Reading a shape is harmless where it only sizes a Resize of the same tensor; elsewhere it could go stale."""
    if not _only_resizes(node.outputs[0], node.inputs[0], depth=12):
        walk.freeze(node.inputs[0], node, f"{node.op} reads its channel count at run time")
    return _frozen_outputs(walk, node)


def _only_resizes(tensor: gs.Tensor, source: gs.Tensor, depth: int) -> bool:
    if depth == 0:
        return False
    for consumer in tensor.outputs:
        if consumer.op == "Resize" and consumer.inputs[0] is source:
            continue
        if consumer.op not in ("Gather", "Slice", "Concat", "Cast", "Mul", "Floor", "Unsqueeze", "Squeeze"):
            return False
        if not all(_only_resizes(output, source, depth - 1) for output in consumer.outputs):
            return False
    return bool(tensor.outputs)


Rule = Callable[[Walk, gs.Node], list[Array]]

RULES: Mapping[Flow, Rule] = MappingProxyType(
    {
        Flow.CONV: _conv,
        Flow.CONV_TRANSPOSE: _conv_transpose,
        Flow.GEMM: _gemm,
        Flow.MATMUL: _matmul,
        Flow.PER_CHANNEL: _per_channel,
        Flow.UNARY: _unary,
        Flow.SPATIAL: _spatial,
        Flow.ELEMENTWISE: _elementwise,
        Flow.CONCAT: _concat,
        Flow.SPLIT: _split,
        Flow.SLICE: _slice,
        Flow.GATHER: _gather,
        Flow.PAD: _pad,
        Flow.RESHAPE: _reshape,
        Flow.TRANSPOSE: _transpose,
        Flow.EXPAND: _expand,
        Flow.REDUCE: _reduce,
        Flow.ALONG_AXIS: _along_axis,
        Flow.DEPTH_TO_SPACE: _depth_to_space,
        Flow.SPACE_TO_DEPTH: _space_to_depth,
        Flow.SHAPE: _shape,
    }
)
