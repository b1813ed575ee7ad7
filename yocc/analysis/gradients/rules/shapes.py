"""Gradients of operators that move values by a plan that is known before the network runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.gradients.builder import Builder, NoGradient
from yocc.analysis.gradients.rules.rule import Gradients, Rule, Slots, only_first


def _reshape(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, "its shape is computed")
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


def split(b: Builder, node: gs.Node, gradients: Sequence[gs.Variable | None]) -> gs.Variable:
    """The gradient of a Split's input by those of its outputs, None for 0."""
    parts = [
        b.zeros(b.shape(tensor)) if gradient is None else gradient
        for tensor, gradient in zip(node.outputs, gradients, strict=True)
    ]
    return b.emit("Concat", *parts, axis=node.attrs.get("axis", 0))


def _slice(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, "its bounds are computed")
    shape = b.shape(node.inputs[0])
    given = [b.value(tensor).tolist() for tensor in node.inputs[1:] if not tensor.is_empty()]
    starts, ends = given[:2]
    axes = given[2] if len(given) > 2 else list(range(len(starts)))
    steps = given[3] if len(given) > 3 else [1] * len(starts)
    sides = list(b.shape(node.outputs[0]))
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places = np.arange(shape[axis])[_bounds(start, end, step, shape[axis])]
        g = b.scattered(g, sides, axis % len(shape), places, shape[axis])
        sides[axis] = shape[axis]
    return {0: g}


def _bounds(start: int, end: int, step: int, side: int) -> slice:
    """The range in Python's words, where an end before the first element has no number."""
    if step > 0:
        return slice(start, end, step)
    return slice(start, None if end < -side else end, step)


def _pad(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, "its widths or its value are computed")
    shape, mode = b.shape(node.inputs[0]), node.attrs.get("mode", "constant")
    widths = b.value(node.inputs[1]).tolist()
    axes, sides = list(range(len(shape))), list(b.shape(node.outputs[0]))
    if len(node.inputs) > 3 and not node.inputs[3].is_empty():
        axes = b.value(node.inputs[3]).tolist()
    for axis, before, after in zip(axes, widths, widths[len(widths) // 2 :], strict=False):
        side = shape[axis]
        places = np.arange(-before, side + after)
        inside = (places >= 0) & (places < side)
        if mode == "reflect":
            places = np.abs((places + side - 1) % max(1, 2 * side - 2) - (side - 1))
        elif mode == "edge":
            places = np.clip(places, 0, side - 1)
        elif mode == "wrap":
            places %= side
        elif mode == "constant":
            kept = np.flatnonzero(inside)
            first = int(kept[0]) if len(kept) else 0
            g = b.emit("Slice", g, starts=[first], ends=[first + len(kept)], axes=[axis])
            places = places[inside]
            sides[axis] = len(kept)
        else:
            raise NoGradient(f"its mode is {mode}")
        g = b.scattered(g, sides, axis % len(shape), places, side)
        sides[axis] = side
    return {0: g}


def _expand(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, "its shape is computed")
    return {0: b.like(g, node, 0)}


def _tile(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, "its repeats are computed")
    shape = b.shape(node.inputs[0])
    repeats = [whole // side for whole, side in zip(b.shape(node.outputs[0]), shape, strict=True)]
    parts = [size for pair in zip(repeats, shape, strict=True) for size in pair]
    apart = b.reshaped(g, parts)
    axes = list(range(0, len(parts), 2))
    return {0: b.reshaped(b.emit("ReduceSum", apart, axes=axes, keepdims=0), shape)}


def _depth_to_space(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    block = node.attrs["blocksize"]
    if node.attrs.get("mode", "DCR") == "DCR":
        return {0: b.emit("SpaceToDepth", g, blocksize=block)}
    n, channels, height, width = b.shape(node.inputs[0])
    apart = b.reshaped(g, [n, channels // block**2, height, block, width, block])
    return {0: b.reshaped(b.emit("Transpose", apart, perm=[0, 1, 3, 5, 2, 4]), [n, channels, height, width])}


def _space_to_depth(b: Builder, node: gs.Node, g: gs.Variable, _: Slots) -> Gradients:
    return {0: b.emit("DepthToSpace", g, blocksize=node.attrs["blocksize"], mode="DCR")}


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Concat": _concat,
        "DepthToSpace": _depth_to_space,
        "Expand": _expand,
        "Flatten": _reshape,
        "Pad": _pad,
        "Reshape": _reshape,
        "Slice": _slice,
        "SpaceToDepth": _space_to_depth,
        "Squeeze": _reshape,
        "Tile": _tile,
        "Transpose": _transpose,
        "Unsqueeze": _reshape,
    }
)
