"""Gradients of Resize in every mode.

A Resize is linear along each axis on its own. Its matrix along an axis is what the same operator makes of the identity
matrix, so that the gradient is exact for whatever the runtime does.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.gradients.builder import Builder, NoGradient
from yocc.analysis.gradients.rules.rule import Gradients, Rule, Slots, only_first

_KEPT = ("coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside", "mode", "nearest_mode", "antialias")
_CROP = "tf_crop_and_resize"


def _resize(b: Builder, node: gs.Node, g: gs.Variable, slots: Slots) -> Gradients:
    only_first(slots, "its size is computed")
    if node.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise NoGradient("it keeps the aspect ratio")
    old, new = b.shape(node.inputs[0]), b.shape(node.outputs[0])
    if _repeats(b, node, old, new):
        return {0: _sums_of_blocks(b, g, old, new)}
    for axis in range(len(old)):
        matrix = _matrix(b, node, axis, old, new)
        if matrix is None:
            continue
        last = len(old) - 1
        if axis == last - 1:
            # The matrix [old, new] from the left: rows are resized.
            g = b.emit("MatMul", matrix, g)
            continue
        order = [place for place in range(len(old)) if place != axis] + [axis]
        moved = g if axis == last else b.emit("Transpose", g, perm=order)
        moved = b.emit("MatMul", moved, b.emit("Transpose", matrix, perm=[1, 0]))
        g = moved if axis == last else b.emit("Transpose", moved, perm=[int(place) for place in np.argsort(order)])
    return {0: g}


def _repeats(b: Builder, node: gs.Node, old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    """Whether each value becomes a block of its own."""
    scales = _values(b, node, 2)
    factors = [n // o for n, o in zip(new, old, strict=True)]
    whole = all(n % o == 0 for n, o in zip(new, old, strict=True)) and factors[:2] == [1, 1]
    if scales is not None and not np.allclose(scales, factors[-len(scales) :]):
        return False
    if node.attrs.get("mode", "nearest") != "nearest" or not whole or not 3 <= len(old) <= 5:
        return False
    rounding = str(node.attrs.get("nearest_mode", "round_prefer_floor"))
    mode = str(node.attrs.get("coordinate_transformation_mode", "half_pixel"))
    # At half pixels a value's block lies less than half a step to each side, whichever way halves are rounded.
    return (mode == "asymmetric" and rounding == "floor") or (mode == "half_pixel" and rounding.startswith("round"))


def _sums_of_blocks(b: Builder, g: gs.Variable, old: tuple[int, ...], new: tuple[int, ...]) -> gs.Variable:
    factors = [n // o for n, o in zip(new, old, strict=True)][2:]
    mean = b.emit("AveragePool", g, kernel_shape=factors, strides=factors)
    return b.emit("Mul", mean, b.number(float(np.prod(factors))))


def _matrix(b: Builder, node: gs.Node, axis: int, old: tuple[int, ...], new: tuple[int, ...]) -> gs.Variable | None:
    """What each element along an axis adds to each of the resized ones, shape [old, new]; None where all stay."""
    roi, scales, sizes = (_values(b, node, slot) for slot in (1, 2, 3))
    axes = list(node.attrs.get("axes", range(len(old))))
    axes = [place % len(old) for place in axes]
    if axis not in axes:
        return None
    place = axes.index(axis)
    crops = node.attrs.get("coordinate_transformation_mode") == _CROP
    scale = None if scales is None else float(scales[place])
    if old[axis] == new[axis] and not crops and scale in (None, 1.0):
        return None
    side = old[axis]
    eye = b.constant(np.eye(side, dtype=np.float32)[None, None])
    attributes: dict[str, Any] = {name: node.attrs[name] for name in _KEPT if name in node.attrs}
    read: list[gs.Tensor] = [eye, gs.Variable.empty(), gs.Variable.empty()]
    if crops and roi is not None:
        read[1] = b.constant(np.array([0, 0, 0, roi[place], 1, 1, 1, roi[place + len(axes)]], np.float32))
    if sizes is not None:
        read.append(b.integers([1, 1, side, new[axis]]))
    else:
        read[2] = b.constant(np.array([1, 1, 1, scale], np.float32))
    return b.reshaped(b.emit("Resize", *read, **attributes), [side, new[axis]])


def _values(b: Builder, node: gs.Node, slot: int) -> Any:
    """An input that says how to resize; None where it is not given."""
    if slot >= len(node.inputs) or node.inputs[slot].is_empty():
        return None
    values = b.value(node.inputs[slot])
    return values if values.size else None


RULES: Mapping[str, Rule] = MappingProxyType({"Resize": _resize})
