"""Weights that vanish beside the others of their layer, as a penalty in training leaves them, become zero.

Products of such numbers are subnormal (below 1.2e-38 in float32), and processors compute those many times slower.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import PROTOBUF_LIMIT, Graph, weight_bytes
from yocc.compiler.graph.operators import WEIGHTED

VANISHING = 1e-15
"""Of the largest weight of a layer, and absolutely: eight digits below what float32 resolves of it."""


def clear_vanishing(graph: Graph) -> int:
    """Set weights and biases of layers to zero that are below `VANISHING`.

    Models that one protobuf message cannot hold are left alone, as all of their weights would have to be read.

    Returns:
        How many numbers became zero.
    """
    if weight_bytes(graph) >= PROTOBUF_LIMIT:
        return 0
    cleared = 0
    layers = [node for node in graph.nodes if node.op in WEIGHTED and not node.domain]
    parameters = [tensor for node in layers for tensor in node.inputs[1:] if isinstance(tensor, gs.Constant)]
    for tensor in {id(tensor): tensor for tensor in parameters}.values():
        if tensor.dtype != np.float32 or not math.prod(tensor.shape):
            continue
        sizes = np.abs(tensor.values)
        vanishing = (sizes < VANISHING * min(1.0, float(sizes.max()))) & (sizes > 0)
        if vanishing.any():
            tensor.values = np.where(vanishing, np.float32(0), tensor.values)
            cleared += int(np.count_nonzero(vanishing))
    return cleared
