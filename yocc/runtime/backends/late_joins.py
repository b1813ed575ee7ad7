"""Rows of several anchors joined where they are joined with those of other maps, and nowhere before.

Behind [N, H*W, K] of each anchor, which are joined, gated and decoded, all rows are joined once more. Here each anchor
is gated by itself, so that all values are copied once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.runtime.backends.rewriting import axis_of, fixed_shape, only_reader, split_into


def join_late(graph: Graph) -> int:
    """Join rows of several anchors only where they are joined with those of other maps, in place; values stay the same.

    Args:
        graph: what `write_in_place` left behind products of anchors.

    Returns:
        The number of Concats saved.
    """
    found = [late for join in graph.nodes if (late := _late(join)) is not None]
    for late in found:
        _move(graph, late)
    if found:
        refresh(graph)
    return len(found)


@dataclass(frozen=True)
class _Late:
    """Rows of anchors, joined twice."""

    join: gs.Node
    gate: gs.Node
    take: gs.Node
    put: gs.Node
    flatten: gs.Node
    final: gs.Node


def _late(join: gs.Node) -> _Late | None:
    """The Concat of [N, 1, H, W, K] whose gated and decoded rows become [N, A*H*W, K] and are joined with others."""
    if join.op != "Concat" or axis_of(join, 5) != 1 or len(fixed_shape(join.outputs[0])) != 5:
        return None
    if any(len(fixed_shape(cells)) != 5 or cells.shape[1] != 1 for cells in join.inputs):
        return None
    gate = only_reader(join.outputs[0], "Sigmoid")
    readers = {node.op: node for node in gate.outputs[0].outputs} if gate is not None else {}
    if gate is None or len(gate.outputs[0].outputs) != 2 or set(readers) != {"Slice", "ScatterElements"}:
        return None
    put = readers["ScatterElements"]
    flatten = only_reader(put.outputs[0], "Reshape") if put.inputs[0] is gate.outputs[0] else None
    final = only_reader(flatten.outputs[0], "Concat") if flatten is not None else None
    if flatten is None or final is None or axis_of(final, 3) != 1:
        return None
    batch, anchors, height, width, values = fixed_shape(join.outputs[0])
    if fixed_shape(flatten.outputs[0]) != (batch, anchors * height * width, values):
        return None
    return _Late(join, gate, readers["Slice"], put, flatten, final)


def _move(graph: Graph, late: _Late) -> None:
    batch, anchors, height, width, values = late.join.outputs[0].shape
    name, cells = late.join.name, height * width
    taken, places, decoded = late.take.outputs[0], late.put.inputs[1], late.put.inputs[2]
    width_taken = taken.shape[-1]
    rows_shape = gs.Constant(f"{name}_rows_shape", np.array([batch, cells, values], np.int64))
    own_shape = gs.Constant(f"{name}_own_shape", np.array([batch, cells, width_taken], np.int64))
    cell_shape = gs.Constant(f"{name}_cell_shape", np.array([batch, 1, height, width, width_taken], np.int64))
    row = places.inputs[0].inputs[0]
    spread = gs.Variable(f"{name}_own_places", np.int64)
    graph.nodes.append(gs.Node("Expand", spread.name, {}, [row, own_shape], [spread]))
    bounds = late.take.inputs[1:3]
    axis = gs.Constant(f"{name}_values_axis", np.array([2], np.int64))
    parts = [gs.Variable(f"{name}_{anchor}_part", decoded.dtype) for anchor in range(anchors)]
    graph.nodes.append(split_into(decoded, parts, 1, [1] * anchors, f"{name}_parts"))
    taken_cells, rows = [], []
    for anchor, cell in enumerate(late.join.inputs):
        stem = f"{name}_{anchor}"
        flat, gated, head, own, part, written = (
            gs.Variable(f"{stem}_{suffix}", decoded.dtype)
            for suffix in ("rows", "gated", "head", "cells", "own", "written")
        )
        graph.nodes += [
            gs.Node("Reshape", flat.name, {}, [cell, rows_shape], [flat]),
            gs.Node(late.gate.op, gated.name, {}, [flat], [gated]),
            gs.Node("Slice", head.name, {}, [gated, *bounds, axis], [head]),
            gs.Node("Reshape", own.name, {}, [head, cell_shape], [own]),
            gs.Node("Reshape", part.name, {}, [parts[anchor], own_shape], [part]),
            gs.Node("ScatterElements", written.name, {"axis": 2}, [gated, spread, part], [written]),
        ]
        taken_cells.append(own)
        rows.append(written)
    late.take.outputs.clear()
    graph.nodes.append(gs.Node("Concat", taken.name, {"axis": 1}, taken_cells, [taken]))
    place = next(place for place, tensor in enumerate(late.final.inputs) if tensor is late.flatten.outputs[0])
    late.final.inputs = [*late.final.inputs[:place], *rows, *late.final.inputs[place + 1 :]]
