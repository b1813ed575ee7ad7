"""Products of the cells that are chosen only, where candidates are chosen by a few values of each cell.

A YOLOv5 head has 255 values at each of 6400 cells; `nms` and `top_candidates` rank by 3 of them and read the rows of a
thousand candidates. So the few values are computed for all cells, and the others for the cells of candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.runtime.backends.pointwise import Pointwise, pointwise
from yocc.runtime.backends.rewriting import TO_LAST, fixed_shape, only_reader

LEAST_CELLS = 2.0
"""Cells for each candidate from which on it saves time to compute those of candidates only."""


def multiply_chosen(graph: Graph) -> int:
    """Compute rows of quantized maps only where they are read, in place; the sums stay the same.

    Args:
        graph: a graph with Q/DQ pairs and shapes.

    Returns:
        The number of layers.
    """
    found = [table for transpose in graph.nodes if (table := _table(transpose, graph)) is not None]
    for table in found:
        _rewrite(graph, table)
    if found:
        refresh(graph)
    return len(found)


@dataclass(frozen=True)
class _Table:
    """Rows [N*H*W*A, K] that a layer writes, of which one column and some rows are read.

    Attributes:
        layer: writes them.
        cells: N*H*W.
        column: the Slice of one column.
        place: the column.
        rows: the Gather of rows.
    """

    layer: Pointwise
    cells: int
    column: gs.Node
    place: int
    rows: gs.Node


def _table(transpose: gs.Node, graph: Graph) -> _Table | None:
    if transpose.op != "Transpose" or list(transpose.attrs.get("perm", ())) != TO_LAST:
        return None
    source, flat = transpose.inputs[0], only_reader(transpose.outputs[0], "Reshape")
    if flat is None or not source.inputs or source.inputs[0].op != "Conv" or len(source.outputs) != 1:
        return None
    table, kept = flat.outputs[0], {tensor.name for tensor in graph.outputs}
    readers = {node.op: node for node in table.outputs}
    if len(table.outputs) != 2 or set(readers) != {"Slice", "Gather"}:
        return None
    if any(tensor.name in kept for tensor in (source, transpose.outputs[0], table)) or len(fixed_shape(table)) != 2:
        return None
    column, rows = readers["Slice"], readers["Gather"]
    layer, place = pointwise(source.inputs[0]), _column(column, table)
    if layer is None or place is None or rows.inputs[0] is not table or rows.attrs.get("axis", 0) != 0:
        return None
    if any(len(fixed_shape(node.outputs[0])) != 2 for node in (rows, column)) or len(layer.codes) % table.shape[1]:
        return None
    cells = table.shape[0] // (len(layer.codes) // table.shape[1])
    if cells < LEAST_CELLS * rows.outputs[0].shape[0]:
        return None
    return _Table(layer, cells, column, place, rows)


def _column(node: gs.Node, table: gs.Tensor) -> int | None:
    """The one column that a Slice takes."""
    bounds = [tensor.values.reshape(-1).tolist() for tensor in node.inputs[1:] if isinstance(tensor, gs.Constant)]
    if node.inputs[0] is not table or len(bounds) != len(node.inputs) - 1 or len(bounds) < 3:
        return None
    (begin, *more), (end, *_), (axis, *_), *steps = bounds
    if more or axis not in (1, -1) or end - begin != 1 or begin < 0 or any(step != [1] for step in steps):
        return None
    return int(begin)


def _rewrite(graph: Graph, table: _Table) -> None:
    layer, values = table.layer, table.rows.outputs[0]
    count, width = values.shape
    anchors = len(layer.codes) // width
    name = f"{layer.name}_chosen"
    codes, nodes = layer.rows((table.cells,))
    column, places = table.column.outputs[0], table.rows.inputs[1]
    each = gs.Constant(f"{name}_anchors", np.array([anchors], np.int64))
    firsts = gs.Constant(f"{name}_firsts", np.arange(count, dtype=np.int64) * anchors)
    ranked = gs.Variable(f"{name}_ranked", column.dtype)
    own, made, apart = (gs.Variable(f"{name}_{suffix}", dtype) for suffix, dtype in (
        ("codes", codes.dtype), ("values", values.dtype), ("apart", values.dtype),
    ))  # fmt: skip
    cell, start, anchor, row = (
        gs.Variable(f"{name}_{suffix}", np.int64) for suffix in ("cell", "start", "anchor", "row")
    )
    table.column.outputs.clear()
    table.rows.outputs.clear()
    graph.nodes += [
        *nodes,
        layer.product(codes, table.place + width * np.arange(anchors), f"{name}_rank", ranked),
        _reshaped(ranked, (table.cells * anchors, 1), column),
        gs.Node("Div", cell.name, {}, [places, each], [cell]),
        gs.Node("Mul", start.name, {}, [cell, each], [start]),
        gs.Node("Sub", anchor.name, {}, [places, start], [anchor]),
        gs.Node("Gather", own.name, {"axis": 0}, [codes, cell], [own]),
        layer.product(own, np.arange(len(layer.codes)), f"{name}_product", made),
        _reshaped(made, (count * anchors, width), apart),
        gs.Node("Add", row.name, {}, [firsts, anchor], [row]),
        gs.Node("Gather", f"{name}_rows", {"axis": 0}, [apart, row], [values]),
    ]


def _reshaped(source: gs.Variable, shape: tuple[int, ...], result: gs.Tensor) -> gs.Node:
    name = f"{source.name}_shaped"
    return gs.Node("Reshape", name, {}, [source, gs.Constant(f"{name}_shape", np.array(shape, np.int64))], [result])
