"""Taking channels out of a graph: every constant is cut to the channels that stay, every stored size is corrected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.coupling.atoms import WeightCut, along
from yocc.analysis.coupling.channels import ChannelMap
from yocc.analysis.coupling.moving import pad_widths, slice_ranges
from yocc.compiler.graph import Graph
from yocc.compiler.graph.operators import OPS, WEIGHTED
from yocc.compiler.graph.shapes import Shapes

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def remove_channels(graph: Graph, shapes: Shapes, channels: ChannelMap, kept: Mask) -> int:
    """Remove all channels whose class is not kept.

    Args:
        graph: the graph that was analysed; changed in place, its shapes are stale afterwards.
        shapes: its concrete shapes from before.
        channels: its channel map.
        kept: whether each class stays, shape [classes]; class 0 must.

    Returns:
        The number of constants and sizes rewritten.
    """
    rewrites = _cut_constants(graph, channels, kept)
    removal = _Removal(shapes, channels, kept)
    for node in graph.nodes:
        correct = _CORRECTIONS.get(node.op)
        # Channels at a tensor of unknown shape all stay, so that there is nothing to correct.
        if correct is not None and not node.domain and all(shapes.of(tensor) is not None for tensor in _ends(node)):
            rewrites += correct(removal, node)
    return rewrites


def _ends(node: gs.Node) -> list[gs.Tensor]:
    return [tensor for tensor in [*node.inputs, *node.outputs] if not tensor.is_empty()]


def split_shared(graph: Graph) -> None:
    """Give each operator its own biases and normalization parameters, which exporters store once when they are equal.

    Weight matrices that several layers share stay shared: the channel map keeps such layers alike.
    """
    for node in graph.nodes:
        for slot in OPS[node.op].parameters if node.op in OPS else ():
            if slot < len(node.inputs) and isinstance(node.inputs[slot], gs.Constant) and not _is_matrix(node, slot):
                own_constant(node, slot)


def _is_matrix(node: gs.Node, slot: int) -> bool:
    depthwise = (
        node.op in ("Conv", "ConvTranspose") and node.attrs.get("group", 1) > 1 and node.inputs[slot].shape[1:2] == (1,)
    )
    return slot == 1 and node.op in WEIGHTED and not depthwise


def own_constant(node: gs.Node, slot: int) -> gs.Constant:
    """The constant at an input slot, split off first when other nodes (or other slots) read it too."""
    constant = node.inputs[slot]
    if len(constant.outputs) > 1:
        constant = gs.Constant(f"{constant.name}_{node.name}_{slot}", constant.values)
        node.inputs[slot] = constant
    return constant


def _cut_constants(graph: Graph, channels: ChannelMap, kept: Mask) -> int:
    nodes = {node.name: node for node in graph.nodes}
    by_input: dict[tuple[str, int], list[WeightCut]] = {}
    for cut in channels.cuts:
        if not kept[cut.atoms].all():
            by_input.setdefault((cut.node, cut.slot), []).append(cut)
    done: dict[int, bytes] = {}
    rewrites = 0
    for (name, slot), cuts in by_input.items():
        constant = nodes[name].inputs[slot]
        same = _signature(cuts, kept)
        if done.get(id(constant)) == same:
            continue
        if not all(_reads_alike(reader, constant, by_input, kept, same) for reader in constant.outputs):
            constant = own_constant(nodes[name], slot)
        values = constant.values
        for cut in cuts:
            values = values.take(np.flatnonzero(kept[cut.atoms]), axis=cut.axis)
        constant.values = np.ascontiguousarray(values)
        done[id(constant)] = same
        rewrites += 1
    return rewrites


def _reads_alike(reader: gs.Node, constant: gs.Constant, by_input: Any, kept: Mask, same: bytes) -> bool:
    """Whether every use of a constant by a node is cut in the same way."""
    slots = [slot for slot, tensor in enumerate(reader.inputs) if tensor is constant]
    return all(_signature(by_input.get((reader.name, slot), []), kept) == same for slot in slots)


def _signature(cuts: list[WeightCut], kept: Mask) -> bytes:
    return b"|".join(bytes([cut.axis]) + kept[cut.atoms].tobytes() for cut in sorted(cuts, key=lambda cut: cut.axis))


class _Removal:
    """What the corrections of single operators need to know."""

    def __init__(self, shapes: Shapes, channels: ChannelMap, kept: Mask) -> None:
        self.shapes = shapes
        self.channels = channels
        self.kept = kept

    def mask(self, tensor: gs.Tensor, axis: int) -> Mask:
        """Which positions of a tensor stay along an axis, shape [size]."""
        size = self.shapes.shapes[tensor.name][axis]
        atoms = self.channels.atoms.get(tensor.name)
        if atoms is None or atoms.shape[axis] == 1:
            return np.ones(size, dtype=bool)
        return self.kept[along(atoms, axis, size)] if atoms.size == size else self._any(atoms, axis)

    def _any(self, atoms: Any, axis: int) -> Mask:
        rest = tuple(other for other in range(atoms.ndim) if other != axis)
        mask: Mask = self.kept[atoms].any(axis=rest)
        return mask

    def touches(self, tensor: gs.Tensor, axis: int) -> bool:
        return not self.mask(tensor, axis).all()


def _grouped(removal: _Removal, node: gs.Node) -> int:
    groups = node.attrs.get("group", 1)
    depthwise = groups > 1 and groups == removal.shapes.shapes[node.inputs[0].name][1]
    if not depthwise or not removal.touches(node.inputs[0], 1):
        return 0
    node.attrs["group"] = int(removal.mask(node.inputs[0], 1).sum())
    return 1


def _split(removal: _Removal, node: gs.Node) -> int:
    axis = node.attrs.get("axis", 0) % len(removal.shapes.shapes[node.inputs[0].name])
    if not removal.touches(node.inputs[0], axis):
        return 0
    sizes = np.array([removal.mask(tensor, axis).sum() for tensor in node.outputs], dtype=np.int64)
    node.attrs.pop("num_outputs", None)
    _set_input(node, 1, sizes)
    return 1


def _slice(removal: _Removal, node: gs.Node) -> int:
    rank = len(removal.shapes.shapes[node.inputs[0].name])
    if not any(removal.touches(node.inputs[0], axis) for axis in range(rank)):
        return 0
    ranges = slice_ranges(removal.shapes, node) or {}
    starts, ends = [], []
    given = removal.shapes.values
    old_starts, old_ends = given[node.inputs[1].name].tolist(), given[node.inputs[2].name].tolist()
    for (axis, taken), start, end in zip(ranges.items(), old_starts, old_ends, strict=True):
        if removal.touches(node.inputs[0], axis):
            before = np.concatenate([[0], np.cumsum(removal.mask(node.inputs[0], axis))])
            start, end = int(before[taken.start]), int(before[taken.stop])
        starts.append(start)
        ends.append(end)
    _set_input(node, 1, np.array(starts, dtype=np.int64))
    _set_input(node, 2, np.array(ends, dtype=np.int64))
    return 1


def _pad(removal: _Removal, node: gs.Node) -> int:
    """Correct how many channels a Pad adds."""
    output = node.outputs[0]
    axes = [axis for axis in range(len(removal.shapes.shapes[output.name])) if removal.touches(output, axis)]
    widths = pad_widths(removal.shapes, node) if axes else None
    if widths is None:
        return 0
    for axis in axes:
        first, last = widths[axis]
        mask = removal.mask(output, axis)
        widths[axis] = int(mask[:first].sum()), int(mask[len(mask) - last :].sum())
    stated = [width for side in zip(*widths, strict=True) for width in side]
    if len(node.inputs) < 2:
        node.attrs["pads"] = stated
        return 1
    _set_input(node, 1, np.array(stated, dtype=np.int64))
    if len(node.inputs) > 3:  # widths of every axis are stated now
        node.inputs.pop()
    return 1


def _gather(removal: _Removal, node: gs.Node) -> int:
    axis = node.attrs.get("axis", 0) % len(removal.shapes.shapes[node.inputs[0].name])
    if not removal.touches(node.inputs[0], axis):
        return 0
    mask = removal.mask(node.inputs[0], axis)
    new_position = np.cumsum(mask) - 1
    indices = removal.shapes.values[node.inputs[1].name] % len(mask)
    _set_input(node, 1, np.asarray(new_position[indices[mask[indices]] if indices.ndim else indices], dtype=np.int64))
    return 1


def _shape_input(removal: _Removal, node: gs.Node) -> int:
    """Correct the sizes that Reshape and Expand state for their output."""
    output = node.outputs[0]
    axes = [axis for axis in range(len(removal.shapes.shapes[output.name])) if removal.touches(output, axis)]
    if not axes:
        return 0
    sizes = np.array(removal.shapes.values[node.inputs[1].name])
    for axis in axes:
        if sizes[axis] != -1:
            sizes[axis] = removal.mask(output, axis).sum()
    _set_input(node, 1, sizes)
    return 1


def _resize(removal: _Removal, node: gs.Node) -> int:
    if len(node.inputs) < 4 or not isinstance(node.inputs[3], gs.Constant) or not removal.touches(node.outputs[0], 1):
        return 0
    if node.attrs.get("axes") is not None:
        return 0
    sizes = np.array(node.inputs[3].values)
    sizes[1] = removal.mask(node.outputs[0], 1).sum()
    _set_input(node, 3, sizes)
    return 1


def _branches(removal: _Removal, node: gs.Node) -> int:
    """Correct the shapes that branches state for what they compute."""
    tensors = [t for branch in node.subgraphs() for inner in branch.nodes for t in inner.outputs if t.shape is not None]
    changed = 0
    for tensor in tensors:
        if tensor.name in removal.channels.atoms:
            axes = [axis for axis in range(len(tensor.shape)) if removal.touches(tensor, axis)]
            kept = {axis: int(removal.mask(tensor, axis).sum()) for axis in axes}
            tensor.shape = [kept.get(axis, size) for axis, size in enumerate(tensor.shape)]
            changed += bool(kept)
    return changed


def _set_input(node: gs.Node, slot: int, values: Any) -> None:
    constant = gs.Constant(f"{node.name}_input_{slot}_kept", values)
    if slot < len(node.inputs):
        node.inputs[slot] = constant
    else:
        node.inputs.append(constant)


_CORRECTIONS: Mapping[str, Callable[[_Removal, gs.Node], int]] = MappingProxyType(
    {
        "Conv": _grouped,
        "ConvTranspose": _grouped,
        "Split": _split,
        "Slice": _slice,
        "Gather": _gather,
        "Pad": _pad,
        "Reshape": _shape_input,
        "Expand": _shape_input,
        "Resize": _resize,
        "If": _branches,
    }
)
