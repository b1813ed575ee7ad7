"""Some layers' weights as uint8, for kernels that overflow on uint8 times int8 where inputs are far above zero."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.heads import first_layers, straight_readers
from yocc.compiler.graph import Graph
from yocc.compiler.graph.operators import WEIGHTED

_HALF = 64
"""Largest code of weights of which two, times 255 each, add up to what 16 bits hold: 255 * 128 = 32640."""
_SIGNED = 48
"""Zero point from which on an input counts as signed; behind SiLU, HardSwish or LeakyRelu it is below."""


def store_unsigned(graph: Graph) -> int:
    """Store int8 weights as uint8 with a zero point raised by 128, which are the same values.

    On processors with AVX2 but no VNNI, onnxruntime adds pairs of uint8 times int8 products in 16 bits. Bright pictures
    take them beyond 32767, and so does what comes straight from another layer or a sum, with zero near the middle of
    the range. For uint8 times uint8 there is another kernel, which is slower on processors with VNNI. Weights of 7 bits
    stay as they are, as their pairs cannot overflow. All other layers read what an activation gives, mostly small
    values.

    Args:
        graph: a graph with Q/DQ pairs; changed in place.

    Returns:
        The number of weights.
    """
    stored = 0
    signed = [node for node in graph.nodes if not node.domain and node.op in WEIGHTED and _reads_signed(node)]
    for node in {node.name: node for node in (*first_layers(graph), *straight_readers(graph), *signed)}.values():
        makers = node.inputs[1].inputs
        if not makers or makers[0].op != "DequantizeLinear" or len(makers[0].inputs) < 3:
            continue
        weight, _, zero_point = makers[0].inputs
        if not all(isinstance(tensor, gs.Constant) and tensor.dtype == np.int8 for tensor in (weight, zero_point)):
            continue
        if len(weight.outputs) > 1:
            continue  # an embedding reads the same integers
        if np.abs(weight.values.astype(np.int16)).max(initial=0) <= _HALF:
            continue
        for slot, constant in ((0, weight), (2, zero_point)):
            raised = (constant.values.astype(np.int16) + 128).astype(np.uint8)
            makers[0].inputs[slot] = gs.Constant(f"{constant.name}_unsigned", raised)
        stored += 1
    return stored


def _reads_signed(node: gs.Node) -> bool:
    """Whether a layer's input has many negative values, by its zero point."""
    makers = node.inputs[0].inputs
    if not makers or makers[0].op != "DequantizeLinear" or len(makers[0].inputs) < 3:
        return False
    zero_point = makers[0].inputs[2]
    if not isinstance(zero_point, gs.Constant) or zero_point.dtype != np.uint8:
        return False
    return int(zero_point.values.max(initial=0)) >= _SIGNED
