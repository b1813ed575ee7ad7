"""Rules for operators that compute on values without a weight matrix."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.coupling.atoms import Array, along, compress, varying_axes
from yocc.analysis.coupling.walk import Walk, align, frozen, frozen_outputs, give_up, on_axis


def per_channel(walk: Walk, node: gs.Node) -> list[Array]:
    """Each channel of axis 1 on its own."""
    if any(not tensor.is_empty() for tensor in node.outputs[1:]):
        return give_up(walk, node, f"{node.op} in training mode is not handled")
    channels = walk.only_axis(node.inputs[0], 1, node)
    for slot in range(1, len(node.inputs)):
        walk.cut(node, slot, 0, channels)
    return [on_axis(channels, 1, len(walk.shape(node.inputs[0])))]


def unary(walk: Walk, node: gs.Node) -> list[Array]:
    """Each element of the first input on its own."""
    if any(
        len(walk.shape(tensor)) == 1 and walk.shape(tensor)[0] > 1
        for tensor in node.inputs[1:]
        if not tensor.is_empty()
    ):
        return give_up(walk, node, f"{node.op} has a parameter for each channel")
    atoms = walk.of(node.inputs[0])
    return [atoms for _ in node.outputs]


def spatial(walk: Walk, node: gs.Node) -> list[Array]:
    """Mixes positions behind axis 1 only."""
    data, result = walk.shape(node.inputs[0]), walk.shape(node.outputs[0])
    if data[1] != result[1] or len(node.outputs) > 1:
        return give_up(walk, node, f"{node.op} changes the channel axis")
    for tensor in node.inputs[1:]:
        if tensor.name in walk.atoms:
            walk.freeze(tensor, node, f"{node.op} takes it as a parameter")
    return [on_axis(walk.only_axis(node.inputs[0], 1, node), 1, len(result))]


def elementwise(walk: Walk, node: gs.Node) -> list[Array]:
    """Operands that broadcast against each other are tied position by position."""
    shape = walk.shape(node.outputs[0])
    rank = len(shape)
    operands = [align(walk.of(tensor), rank) for tensor in node.inputs]
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


def reduce_axes(walk: Walk, node: gs.Node) -> list[Array]:
    """Hands atoms on where no channel axis is reduced."""
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


def along_axis(walk: Walk, node: gs.Node) -> list[Array]:
    """Hands atoms on where the mixed axis holds no channels."""
    atoms = walk.of(node.inputs[0])
    if node.op == "GroupNormalization":
        mixed = {1}
    else:
        axis = node.attrs.get("axis", -1) % atoms.ndim
        mixed = set(range(axis, atoms.ndim)) if node.op == "LayerNormalization" else {axis}
    if any(axis in mixed for axis in varying_axes(atoms)):
        return give_up(walk, node, f"{node.op} mixes channels")
    return [atoms, *frozen_outputs(walk, node)[1:]]


def shape_of(walk: Walk, node: gs.Node) -> list[Array]:
    """Reading a shape is harmless where it only sizes a Resize of the same tensor; elsewhere it could go stale."""
    if not _only_resizes(node.outputs[0], node.inputs[0], depth=12):
        walk.freeze(node.inputs[0], node, f"{node.op} reads its channel count at run time")
    return frozen_outputs(walk, node)


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
