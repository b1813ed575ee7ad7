"""Values that a head only passes on stay where they are, for runtimes that can write into a tensor in place.

A YOLOv5 head computes 4 of 85 values of a row anew and copies the other 81: it splits rows, decodes two parts, and
joins all again. Slice takes out what is decoded, and ScatterElements writes it back; onnxruntime does that in place
where nothing else reads the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.runtime.backends.rewriting import axis_of, fixed_shape, split_into

_SIZES_AS_INPUT = 13
"""The opset from which on Split takes the sizes of its parts as an input."""
LEAST_KEPT = 0.5
"""Share of the values that must be passed on for the rewrite to save copies."""


@dataclass(frozen=True)
class Passing:
    """A Split along the last axis, and the Concat that joins its parts again, some of them untouched.

    Attributes:
        split: takes the rows apart.
        concat: joins them.
        changed: parts of the Split that are computed with, which lie side by side.
        made: what the Concat has in their place.
        begin: first of their values in a row.
        end: behind the last one.
    """

    split: gs.Node
    concat: gs.Node
    changed: tuple[gs.Tensor, ...]
    made: tuple[gs.Tensor, ...]
    begin: int
    end: int


def write_in_place(graph: Graph) -> int:
    """Leave what a Split passes on to a Concat where it is, in place; the values stay the same to the bit.

    Args:
        graph: a graph with shapes; older ones than opset 13 are left alone.

    Returns:
        The number of heads.
    """
    if graph.opset < _SIZES_AS_INPUT:
        return 0
    found = [passing for split in graph.nodes if (passing := _passing(split, graph)) is not None]
    for passing in found:
        _rewrite(graph, passing)
    if found:
        refresh(graph)
    return len(found)


def _passing(split: gs.Node, graph: Graph) -> Passing | None:
    """What a Split passes on, where nothing outside reads the rows or their parts."""
    if split.op != "Split" or split.domain not in (None, "", "ai.onnx") or not split.inputs[0].inputs:
        return None
    shape = fixed_shape(split.inputs[0])
    if len(shape) < 2 or axis_of(split, len(shape)) != len(shape) - 1 or len(split.inputs[0].outputs) != 1:
        return None
    kept = {tensor.name for tensor in graph.outputs}
    if split.inputs[0].name in kept or any(tensor.name in kept for tensor in split.outputs):
        return None
    for concat in {id(node): node for part in split.outputs for node in part.outputs}.values():
        if concat.op != "Concat" or axis_of(concat, len(shape)) != len(shape) - 1:
            continue
        if fixed_shape(concat.outputs[0]) == shape and concat.outputs[0].dtype == split.inputs[0].dtype:
            return _between(split, concat, shape)
    return None


def _between(split: gs.Node, concat: gs.Node, shape: tuple[int, ...]) -> Passing | None:
    """The one stretch of values that is not passed on, if the rest is worth it."""
    parts: dict[tuple[int, int], gs.Tensor] = dict(_places(split.outputs))
    joined: dict[tuple[int, int], gs.Tensor] = dict(_places(concat.inputs))
    if not parts or not joined:
        return None
    same = {place for place, part in parts.items() if len(part.outputs) == 1 and joined.get(place) is part}
    changed = [place for place in parts if place not in same]
    made = [place for place in joined if place not in same]
    if not changed or sum(end - begin for begin, end in same) < LEAST_KEPT * shape[-1]:
        return None
    begin, end = changed[0][0], changed[-1][1]
    if sum(last - first for first, last in changed) != end - begin:
        return None
    return Passing(
        split, concat, tuple(parts[place] for place in changed), tuple(joined[place] for place in made), begin, end
    )


def _places(tensors: list[gs.Tensor]) -> Iterator[tuple[tuple[int, int], gs.Tensor]]:
    """Where each of several tensors begins and ends along the last axis; nothing where a shape is open."""
    if not all(fixed_shape(tensor) for tensor in tensors):
        return
    begin = 0
    for tensor in tensors:
        end = begin + tensor.shape[-1]
        yield (begin, end), tensor
        begin = end


def _rewrite(graph: Graph, passing: Passing) -> None:
    split, concat = passing.split, passing.concat
    rows, result = split.inputs[0], concat.outputs[0]
    name, axis, width = split.name, len(rows.shape) - 1, passing.end - passing.begin
    shape = [*rows.shape[:-1], width]
    taken, decoded = (gs.Variable(f"{name}_{suffix}", rows.dtype, shape) for suffix in ("taken", "decoded"))
    places = gs.Variable(f"{name}_places", np.int64, shape)
    bounds = [
        gs.Constant(f"{name}_{suffix}", np.array([value], np.int64))
        for suffix, value in (("begin", passing.begin), ("end", passing.end), ("axis", axis))
    ]
    split.outputs.clear()
    concat.outputs.clear()
    row = gs.Constant(f"{name}_row", np.arange(passing.begin, passing.end, dtype=np.int64))
    graph.nodes += [
        gs.Node("Slice", taken.name, {}, [rows, *bounds], [taken]),
        split_into(taken, list(passing.changed), axis, [tensor.shape[-1] for tensor in passing.changed], name),
        gs.Node("Concat", concat.name, {"axis": axis}, list(passing.made), [decoded]),
        # Spread when the model is loaded, so that the file has no place for every value.
        gs.Node("Expand", places.name, {}, [row, gs.Constant(f"{name}_spread", np.array(shape, np.int64))], [places]),
        gs.Node("ScatterElements", f"{name}_put", {"axis": axis}, [rows, places, decoded], [result]),
    ]
