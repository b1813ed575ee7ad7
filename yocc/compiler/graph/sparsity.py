"""2:4 structured sparsity: of each four neighboring input channels at least two weights are zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import constant_behind
from yocc.compiler.graph.layers import output_axis

GROUP, KEPT = 4, 2


def input_axis(node: gs.Node) -> int | None:
    """The axis of input channels of a layer whose kernels may be sparse; None for other nodes."""
    if node.op == "Conv":
        return 1 if node.attrs.get("group", 1) == 1 else None
    if node.op == "Gemm":
        return 1 - output_axis(node, 2)
    weight = constant_behind(node, 1) if node.op == "MatMul" and len(node.inputs) > 1 else None
    return 0 if weight is not None and len(weight.shape) == 2 else None


def grouped(weight: np.ndarray[Any, Any], axis: int) -> np.ndarray[Any, Any] | None:
    """The weight with its groups of four input channels last, shape [..., channels / 4, 4]; None for other counts."""
    if weight.ndim <= axis or weight.shape[axis] % GROUP:
        return None
    moved = np.moveaxis(weight, axis, -1)
    return moved.reshape(*moved.shape[:-1], -1, GROUP)


def sparse_layers(graph: Graph) -> tuple[str, ...]:
    """Names of the layers whose weights have at least two zeros in each group of four input channels."""
    found = []
    for node in graph.nodes:
        axis = input_axis(node)
        weight = constant_behind(node, 1) if axis is not None else None
        if axis is None or weight is None:
            continue
        groups = grouped(weight.values, axis)
        if groups is not None and groups.size and int(np.count_nonzero(groups, axis=-1).max()) <= KEPT:
            found.append(node.name)
    return tuple(found)
