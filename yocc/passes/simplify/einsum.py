"""Einsum with a weight matrix as the MatMul it is, which every pass and target knows."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph


def products_from_einsum(graph: Graph) -> int:
    """Replace Einsum of an activation and a constant matrix, summed over the activation's last axis.

    Covers `...c,cd->...d` and `...c,dc->...d` in any letters, with an ellipsis or without; a matrix whose axes are
    exchanged is transposed. Everything else stays.

    Returns:
        How many were replaced.
    """
    return sum(_replace(node) for node in graph.nodes if node.op == "Einsum" and not node.domain)


def _replace(node: gs.Node) -> bool:
    matrix = node.inputs[1] if len(node.inputs) == 2 else None
    shape = node.inputs[0].shape
    if not isinstance(matrix, gs.Constant) or isinstance(node.inputs[0], gs.Constant) or len(matrix.shape) != 2:
        return False
    exchanged = _exchanged(str(node.attrs["equation"]))
    # Einsum may repeat an axis of one element, which MatMul does not.
    if exchanged is None or not shape or shape[-1] != matrix.shape[1 if exchanged else 0]:
        return False
    if exchanged:
        values = np.ascontiguousarray(matrix.values.T)
        node.inputs[1] = gs.Constant(f"{node.outputs[0].name}_transposed_weight", values)
    node.op, node.attrs = "MatMul", {}
    return True


def _exchanged(equation: str) -> bool | None:
    """Whether the matrix is to be transposed; None where the equation is no product with a matrix."""
    terms, arrow, result = equation.replace(" ", "").partition("->")
    first, second = terms.split(",")
    letters = first.replace("...", "")
    if not arrow or len(second) != 2 or "." in second or len({*letters, *second}) != len(letters) + 1 or not letters:
        return None
    summed = letters[-1]
    if summed not in second or len(set(letters)) != len(letters):
        return None
    kept = second.replace(summed, "")
    if len(kept) != 1 or result != first[:-1] + kept:
        return None
    return second[0] == kept
