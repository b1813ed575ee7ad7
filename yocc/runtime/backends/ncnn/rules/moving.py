"""Operators that move values without computing: joining, cutting, reordering, padding."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.format import Data, Parameter
from yocc.runtime.backends.ncnn.lowering import Lowering, Refusal, Rule
from yocc.runtime.backends.ncnn.rules.permuting import permutation

_PADDING = {"constant": 0, "edge": 1, "reflect": 2}


def _concat(lowering: Lowering, node: gs.Node) -> None:
    output = lowering.dims(node.outputs[0])
    axis = lowering.axis(node, int(node.attrs["axis"]), len(output) + 1)
    blobs = []
    for tensor in node.inputs:
        value = lowering.value(tensor)
        if value is not None:
            blobs.append(lowering.constant(tensor.name, value[0]))
            continue
        lowering.dims(tensor)
        blobs.append(lowering.blob(tensor))
    if len(blobs) == 1:
        lowering.alias(node.outputs[0], node.inputs[0])
        return
    lowering.add("Concat", node.name, blobs, [node.outputs[0].name], {0: axis})


def _split(lowering: Lowering, node: gs.Node) -> None:
    source = lowering.dims(node.inputs[0])
    axis = lowering.axis(node, int(node.attrs.get("axis", 0)), len(source) + 1)
    sizes = tuple(lowering.dims(tensor)[axis] for tensor in node.outputs)
    names = [tensor.name for tensor in node.outputs]
    lowering.add("Slice", node.name, [lowering.blob(node.inputs[0])], names, {0: sizes, 1: axis})


def _slice(lowering: Lowering, node: gs.Node) -> None:
    source = lowering.dims(node.inputs[0])
    starts, ends, axes, steps = _ranges(lowering, node, len(source) + 1)
    ranges = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = axis % (len(source) + 1)
        size = 1 if place == 0 else source[place - 1]
        taken = range(*slice(start, end, step).indices(size))
        if step < 0 or not len(taken):
            raise Refusal("ncnn's Crop neither reverses nor empties a tensor")
        if place:
            ranges[place - 1] = taken
    blob = lowering.blob(node.inputs[0])
    strided = {axis: taken for axis, taken in ranges.items() if taken.step > 1 and len(taken) > 1}
    whole = {axis: taken for axis, taken in ranges.items() if axis not in strided}
    cut = {axis: taken for axis, taken in whole.items() if len(taken) < source[axis]}
    steps_left = bool(strided)
    if not cut and not steps_left:
        lowering.alias(node.outputs[0], node.inputs[0])
        return
    if cut:
        result = lowering.fresh(blob) if steps_left else node.outputs[0].name
        parameters: dict[int, Parameter] = {
            9: tuple(taken[0] for taken in cut.values()),
            10: tuple(taken[-1] + 1 for taken in cut.values()),
            11: tuple(cut),
        }
        lowering.add("Crop", node.name, [blob], [result], parameters)
        blob = result
    dims = [len(whole[axis]) if axis in whole else size for axis, size in enumerate(source)]
    if steps_left:
        _strided(lowering, node, blob, dims, strided)


def _strided(lowering: Lowering, node: gs.Node, blob: str, dims: list[int], strided: dict[int, range]) -> None:
    """Every n-th element: of rows and columns by pooling windows of 1, of channels by a convolution with ones.

    Both give the elements exactly.
    """
    if len(dims) != 3:
        raise Refusal("ncnn takes every n-th element of tensors of four axes only", "Export slices with a step of 1.")
    spatial = {axis: taken for axis, taken in strided.items() if axis > 0}
    result = node.outputs[0].name
    if spatial:
        rows, columns = (spatial.get(axis, range(dims[axis])) for axis in (1, 2))
        begins, ends = (rows[0], columns[0]), (rows[-1] + 1, columns[-1] + 1)
        if begins != (0, 0) or ends != tuple(dims[1:]):
            cropped = lowering.fresh(blob)
            crop: dict[int, Parameter] = {9: begins, 10: ends, 11: (1, 2)}
            lowering.add("Crop", f"{node.name}_window", [blob], [cropped], crop)
            blob = cropped
        picked = lowering.fresh(blob) if 0 in strided else result
        pool: dict[int, Parameter] = {0: 0, 1: 1, 11: 1, 2: columns.step, 12: rows.step, 5: 1}
        lowering.add("Pooling", f"{node.name}_steps", [blob], [picked], pool)
        blob = picked
    if 0 in strided:
        pick_channels(lowering, node.name, blob, list(strided[0]), dims[0], result)


def pick_channels(lowering: Lowering, name: str, blob: str, channels: list[int], count: int, result: str) -> None:
    """Some of the channels, in any order: a 1x1 convolution with a one for each."""
    ones = np.zeros((len(channels), count), np.float32)
    ones[np.arange(len(channels)), channels] = 1.0
    parameters: dict[int, Parameter] = {0: len(channels), 1: 1, 11: 1, 6: int(ones.size)}
    lowering.add("Convolution", name, [blob], [result], parameters, [Data("fp32", ones.reshape(-1))])


def _ranges(lowering: Lowering, node: gs.Node, rank: int) -> tuple[list[int], list[int], list[int], list[int]]:
    if "starts" in node.attrs:
        starts, ends = list(node.attrs["starts"]), list(node.attrs["ends"])
        return starts, ends, list(node.attrs.get("axes", range(len(starts)))), [1] * len(starts)
    found = [lowering.parameter(node, slot) for slot in range(1, 5)]
    starts, ends = (_integers(values) for values in found[:2])
    axes = list(range(len(starts))) if found[2] is None else _integers(found[2])
    steps = [1] * len(starts) if found[3] is None else _integers(found[3])
    if any(not -rank <= axis < rank for axis in axes):
        raise Refusal("it slices an axis that is not there")
    return starts, ends, axes, steps


def _integers(values: Any) -> list[int]:
    return [int(value) for value in np.asarray(values).reshape(-1)]


def _gather(lowering: Lowering, node: gs.Node) -> None:
    source = lowering.dims(node.inputs[0])
    axis = lowering.axis(node, int(node.attrs.get("axis", 0)), len(source) + 1)
    found = lowering.parameter(node, 1)
    if found is None or found.ndim > 1:
        raise Refusal("ncnn gathers along one axis by a constant list")
    places = [place % source[axis] for place in _integers(found)]
    blob, result = lowering.blob(node.inputs[0]), node.outputs[0].name
    if places != list(range(places[0], places[-1] + 1)):
        if axis or len(source) != 3:
            raise Refusal("ncnn picks single channels of tensors of four axes only")
        pick_channels(lowering, node.name, blob, places, source[0], result)
        return
    cut = lowering.fresh(result) if found.ndim == 0 else result
    lowering.add("Crop", node.name, [blob], [cut], {9: (places[0],), 10: (places[-1] + 1,), 11: (axis,)})
    if found.ndim == 0:
        lowering.reshape(f"{node.name}_axes", cut, lowering.dims(node.outputs[0]), result)


def _transpose(lowering: Lowering, node: gs.Node) -> None:
    source = lowering.dims(node.inputs[0])
    order = [int(axis) for axis in node.attrs.get("perm", range(len(source), -1, -1))]
    if order[0] != 0:
        raise Refusal("it moves the batch axis, which ncnn does not have")
    if order == sorted(order):
        lowering.alias(node.outputs[0], node.inputs[0])
        return
    kind = permutation([axis - 1 for axis in order[1:]])
    lowering.add("Permute", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], {0: kind})


def _pad(lowering: Lowering, node: gs.Node) -> None:
    source = lowering.dims(node.inputs[0])
    rank = len(source) + 1
    given = _integers(node.attrs["pads"]) if "pads" in node.attrs else _integers(lowering.parameter(node, 1))
    value = lowering.parameter(node, 2) if len(node.inputs) > 2 else None
    axes = _integers(lowering.parameter(node, 3)) if len(node.inputs) > 3 else list(range(rank))
    pads = {axis % rank: (given[place], given[place + len(axes)]) for place, axis in enumerate(axes)}
    mode = node.attrs.get("mode", "constant")
    moved = {axis for axis, pair in pads.items() if pair != (0, 0)}
    if mode not in _PADDING or len(source) != 3 or 0 in moved or (1 in moved and mode != "constant"):
        raise Refusal(f"ncnn pads rows and columns (constant, edge or reflect), and this is {mode!r} elsewhere")
    if min((size for pair in pads.values() for size in pair), default=0) < 0:
        raise Refusal("ncnn's Padding does not cut", "Use Slice for it.")
    (front, behind), (top, bottom), (left, right) = (pads.get(axis, (0, 0)) for axis in (1, 2, 3))
    parameters: dict[int, Parameter] = {0: top, 1: bottom, 2: left, 3: right, 4: _PADDING[mode], 7: front, 8: behind}
    parameters[5] = 0.0 if value is None else float(value.reshape(()))
    lowering.add("Padding", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], parameters)


def _depth_to_space(lowering: Lowering, node: gs.Node) -> None:
    lowering.dims(node.inputs[0])
    parameters: dict[int, Parameter] = {
        0: int(node.attrs["blocksize"]),
        1: int(node.attrs.get("mode", "DCR") == "DCR"),
    }
    lowering.add("PixelShuffle", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], parameters)


def _space_to_depth(lowering: Lowering, node: gs.Node) -> None:
    lowering.dims(node.inputs[0])
    parameters: dict[int, Parameter] = {0: int(node.attrs["blocksize"]), 1: 1}
    lowering.add("Reorg", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], parameters)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "Concat": _concat,
        "Split": _split,
        "Slice": _slice,
        "Gather": _gather,
        "Transpose": _transpose,
        "Pad": _pad,
        "DepthToSpace": _depth_to_space,
        "SpaceToDepth": _space_to_depth,
    }
)
