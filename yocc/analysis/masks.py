"""Masks: numbers far beyond all others, such as -1e9 or minus infinity in front of a Softmax, which are no range."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.statistics import TensorStatistics
from yocc.compiler.graph import Graph
from yocc.compiler.graph.operators import WEIGHTED

LEAST = 1000.0
"""Least magnitude of a sentinel."""
GAP = 64
"""All other values are smaller than a sentinel by this factor at least, which leaves them 4 of 255 steps at most."""


def is_masked(statistics: TensorStatistics) -> bool:
    """Whether the largest values of a tensor are sentinels: nothing lies between them and far smaller ones."""
    largest = max(abs(statistics.low), abs(statistics.high))
    if largest < LEAST or not np.isfinite(largest):
        return False
    magnitudes = np.abs(statistics.centres)
    between = (magnitudes > largest / GAP) & (magnitudes < largest / 2)
    small = magnitudes <= largest / GAP
    return bool(statistics.counts[small].any() and not statistics.counts[between].any())


def infinite_tensors(graph: Graph) -> set[str]:
    """Names of tensors that infinite constants may make infinite: what is computed of them before a next layer."""
    found: set[str] = set()
    for node in graph.nodes:
        if node.op in WEIGHTED:
            continue
        if any(tensor.name in found or _is_infinite(tensor) for tensor in node.inputs):
            found |= {tensor.name for tensor in node.outputs if tensor.name}
    return found


def _is_infinite(tensor: gs.Tensor) -> bool:
    if not isinstance(tensor, gs.Constant) or np.dtype(tensor.dtype).kind != "f":
        return False
    return bool(np.isinf(tensor.values).any())
