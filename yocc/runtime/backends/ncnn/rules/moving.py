"""Operators that move values without computing: joining, cutting, reordering, padding."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.runtime.backends.ncnn.axes import blob_axes
from yocc.runtime.backends.ncnn.format import Data, Parameter
from yocc.runtime.backends.ncnn.lowering import Lowering, Refusal, Rule
from yocc.runtime.backends.ncnn.rules.permuting import permutation

_PADDING = {"constant": 0, "edge": 1, "reflect": 2}


def _concat(lowering: Lowering, node: gs.Node) -> None:
    output = node.outputs[0]
    if len(node.inputs) == 1:
        lowering.alias(output, node.inputs[0])
        return
    axis, shape = int(node.attrs["axis"]), lowering.shape(output)
    place, axes = lowering.place(node, output, axis), blob_axes(shape) or ()
    blobs = []
    for tensor in node.inputs:
        own = lowering.shape(tensor)
        if not own[axis]:
            continue
        blobs.append(lowering.shaped(node, tensor, tuple(own[each] for each in axes)))
    lowering.add("Concat", node.name, blobs, [output.name], {0: place})


def _split(lowering: Lowering, node: gs.Node) -> None:
    source, axis = node.inputs[0], int(node.attrs.get("axis", 0))
    place = lowering.place(node, source, axis)
    whole = lowering.sizes(source)
    parts = tuple(lowering.shape(tensor)[axis] for tensor in node.outputs)
    # A part of size 1 along the first axis has a blob of fewer axes.
    cuts = [(*whole[:place], part, *whole[place + 1 :]) for part in parts]
    names = [lowering.result(tensor, cut) for tensor, cut in zip(node.outputs, cuts, strict=True)]
    lowering.add("Slice", node.name, [lowering.blob(source)], names, {0: parts, 1: place})
    for number, (name, tensor) in enumerate(zip(names, node.outputs, strict=True)):
        lowering.settle(f"{node.name}_axes{number}", name, tensor)


def _slice(lowering: Lowering, node: gs.Node) -> None:
    shape, source = lowering.shape(node.inputs[0]), lowering.sizes(node.inputs[0])
    starts, ends, axes, steps = _ranges(lowering, node, len(shape))
    ranges = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = shape[axis % len(shape)]
        taken = range(*slice(start, end, step).indices(size))
        if (step < 0 and size > 1) or not len(taken):
            raise Refusal("ncnn's Crop neither reverses nor empties a tensor")
        if len(taken) < size:
            ranges[lowering.place(node, node.inputs[0], axis)] = taken
    output = node.outputs[0]
    blob = lowering.blob(node.inputs[0])
    strided = {place: taken for place, taken in ranges.items() if taken.step > 1 and len(taken) > 1}
    cut = {place: taken for place, taken in ranges.items() if place not in strided}
    if not ranges:
        lowering.alias(output, node.inputs[0])
        return
    final = tuple(len(ranges[place]) if place in ranges else size for place, size in enumerate(source))
    written = lowering.result(output, final)
    if cut:
        result = lowering.fresh(blob) if strided else written
        parameters: dict[int, Parameter] = {
            9: tuple(taken[0] for taken in cut.values()),
            10: tuple(taken[-1] + 1 for taken in cut.values()),
            11: tuple(cut),
        }
        lowering.add("Crop", node.name, [blob], [result], parameters)
        blob = result
    if strided:
        left = [len(cut[place]) if place in cut else size for place, size in enumerate(source)]
        _strided(lowering, node, blob, (left, strided), written)
    lowering.settle(f"{node.name}_axes", written, output)


def _strided(
    lowering: Lowering, node: gs.Node, blob: str, ranges: tuple[list[int], dict[int, range]], result: str
) -> None:
    """Every n-th element: of rows and columns by pooling windows of 1, of channels by a convolution with ones.

    Both give the elements exactly.
    """
    dims, strided = ranges
    if len(dims) != 3:
        raise Refusal(
            "ncnn takes every n-th element of tensors of four axes only",
            "Export slices with a step of 1, or use --target onnxruntime or openvino.",
        )
    spatial = {axis: taken for axis, taken in strided.items() if axis > 0}
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
    tensor, output = node.inputs[0], node.outputs[0]
    source, shape = lowering.sizes(tensor), lowering.shape(tensor)
    found = lowering.parameter(node, 1)
    if found is None or found.ndim > 1:
        raise Refusal("ncnn gathers along one axis by a constant list")
    axis = int(node.attrs.get("axis", 0)) % len(shape)
    places = [place % shape[axis] for place in _integers(found)]
    if places == list(range(shape[axis])):
        # Everything; one index of one only drops the axis.
        written = lowering.result(output, source)
        if written == output.name:
            lowering.alias(output, tensor)
        else:
            lowering.reshape(node.name, lowering.blob(tensor), lowering.sizes(output), output.name)
        return
    place = lowering.place(node, tensor, axis)
    written = lowering.result(output, (*source[:place], len(places), *source[place + 1 :]))
    blob = lowering.blob(tensor)
    if places != list(range(places[0], places[-1] + 1)):
        if place or len(source) != 3:
            raise Refusal("ncnn picks single channels of tensors of four axes only")
        pick_channels(lowering, node.name, blob, places, source[0], written)
    else:
        lowering.add("Crop", node.name, [blob], [written], {9: (places[0],), 10: (places[-1] + 1,), 11: (place,)})
    lowering.settle(f"{node.name}_axes", written, output)


def _transpose(lowering: Lowering, node: gs.Node) -> None:
    source, output = node.inputs[0], node.outputs[0]
    shape = lowering.shape(source)
    order = [int(axis) for axis in node.attrs.get("perm", range(len(shape) - 1, -1, -1))]
    before, after = blob_axes(shape) or (), blob_axes(lowering.shape(output)) or ()
    moved = [order[axis] for axis in after]
    sizes = lowering.sizes(source)
    lowering.sizes(output)
    if [axis for axis in order if shape[axis] != 1] == [axis for axis in range(len(shape)) if shape[axis] != 1]:
        # Only axes of size 1 move.
        if lowering.sizes(output) == sizes:
            lowering.alias(output, source)
        else:
            lowering.reshape(node.name, lowering.blob(source), lowering.sizes(output), output.name)
        return
    blob, axes = lowering.blob(source), before
    if sorted(moved) != sorted(before):
        # The blobs have different axes of size 1; without those they have the same.
        axes = tuple(axis for axis in before if shape[axis] != 1)
        moved = [axis for axis in order if axis in axes]
        blob = lowering.shaped(node, source, tuple(shape[axis] for axis in axes))
    written = lowering.result(output, tuple(shape[axis] for axis in moved))
    kind = permutation([axes.index(axis) for axis in moved])
    lowering.add("Permute", node.name, [blob], [written], {0: kind})
    lowering.settle(f"{node.name}_axes_behind", written, output)


def _pad(lowering: Lowering, node: gs.Node) -> None:
    source = lowering.sample(node.inputs[0])
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
    if value is not None and value.size != 1:
        raise Refusal("ncnn pads with one value")
    parameters[5] = 0.0 if value is None else float(value.reshape(()))
    lowering.add("Padding", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], parameters)


def _depth_to_space(lowering: Lowering, node: gs.Node) -> None:
    lowering.sample(node.inputs[0])
    parameters: dict[int, Parameter] = {
        0: int(node.attrs["blocksize"]),
        1: int(node.attrs.get("mode", "DCR") == "DCR"),
    }
    lowering.add("PixelShuffle", node.name, [lowering.blob(node.inputs[0])], [node.outputs[0].name], parameters)


def _space_to_depth(lowering: Lowering, node: gs.Node) -> None:
    lowering.sample(node.inputs[0])
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
