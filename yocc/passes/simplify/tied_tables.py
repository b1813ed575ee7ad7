"""Tables of embeddings that the last layer multiplies by transposed, as in language models: one constant for both."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.writing import Writer


def share_tied_tables(graph: Graph) -> int:
    """Let lookups read columns of the transposed table that matrix products read.

    Folded, `MatMul(x, Transpose(table))` would get a copy of the table. `Gather(table, ids)` is the same as taking
    columns of the transposed one and moving them last, which moves no more than what was looked up.

    Returns:
        How many lookups were changed.
    """
    ends = {tensor.name for tensor in graph.outputs}
    return sum(_share(graph, node, ends) for node in list(graph.nodes) if node.op == "Transpose" and not node.domain)


def _share(graph: Graph, transpose: gs.Node, ends: set[str]) -> int:
    table, turned = transpose.inputs[0], transpose.outputs[0]
    if not isinstance(table, gs.Constant) or len(table.shape) != 2 or table.name in ends or turned.name in ends:
        return 0
    if list(transpose.attrs.get("perm", [1, 0])) != [1, 0] or not all(node.op == "MatMul" for node in turned.outputs):
        return 0
    others = [node for node in table.outputs if node is not transpose]
    if not others or not turned.outputs or not all(_is_lookup(node, table) for node in others):
        return 0
    for lookup in others:
        _take_columns(graph, lookup, turned)
    return len(others)


def _is_lookup(node: gs.Node, table: gs.Constant) -> bool:
    """Whether a node looks rows of a table up, by indices of which one size is open at most."""
    if node.op != "Gather" or node.domain or node.inputs[0] is not table or node.inputs[1].shape is None:
        return False
    opened = [size for size in node.inputs[1].shape if not isinstance(size, int)]
    return int(node.attrs.get("axis", 0)) in (0, -2) and len(opened) < 2


def _take_columns(graph: Graph, lookup: gs.Node, turned: gs.Tensor) -> None:
    """Write a lookup of rows as one of columns.

    A Transpose right in front of a matrix product that moves more than two axes takes onnxruntime 1.32 down in half
    precision (MatmulTransposeFusion), so that indices are looked up in a row.
    """
    ids, result, name = lookup.inputs[1], lookup.outputs[0], lookup.name
    sizes = [size if isinstance(size, int) else -1 for size in ids.shape]
    writer = Writer(graph)
    if len(sizes) != 1:
        ids = writer.node("Reshape", f"{name}_row", [ids, writer.table("row", np.array([-1], np.int64))], ids.dtype)
    lookup.outputs.clear()
    columns = gs.Variable(f"{result.name}_columns", result.dtype)
    lookup.inputs, lookup.outputs, lookup.attrs["axis"] = [turned, ids], [columns], 1
    rows = result if len(sizes) == 1 else gs.Variable(f"{result.name}_rows", result.dtype)
    graph.nodes.append(gs.Node("Transpose", f"{name}_last", {"perm": [1, 0]}, [columns], [rows]))
    if rows is not result:
        shape = gs.Constant(f"{result.name}_shape", np.array([*sizes, turned.shape[0]], np.int64))
        graph.nodes.append(gs.Node("Reshape", f"{name}_sizes", {}, [rows, shape], [result]))
