"""Weights of recurrent layers stored in half precision, where the layers themselves compute in fp32."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import onnx_graphsurgeon as gs
from onnx import TensorProto

from yocc.compiler.graph import Graph
from yocc.compiler.graph.nops import captured_names
from yocc.compiler.graph.operators import RECURRENT
from yocc.compiler.graph.writing import Writer
from yocc.passes.fp16.choose import HALF_MAX
from yocc.passes.fp16.types import HALF, SINGLE

LEAST = 256
"""Values in a weight, from which on its half is more than the Cast takes."""


def store_recurrent_weights(graph: Graph, ops: Collection[str]) -> int:
    """Put a Cast from fp16 behind the weights of LSTM, GRU and RNN; runtimes compute it once, when they load the model.

    Args:
        graph: after `retype`; changed in place.
        ops: operators that may read weights that are computed.

    Returns:
        How many weights are fp16 now.
    """
    outer = {tensor.name for tensor in graph.outputs} | captured_names(graph)
    found: dict[str, gs.Constant] = {}
    for node in graph.nodes:
        for slot in RECURRENT.get(node.op, ()) if not node.domain else ():
            constant = node.inputs[slot] if slot < len(node.inputs) else None
            if isinstance(constant, gs.Constant) and constant.name not in outer and _fits(constant, ops):
                found[constant.name] = constant
    writer = Writer(graph)
    for constant in found.values():
        readers = list(constant.outputs)
        half = writer.constant(f"{constant.name}_fp16", constant.values.astype(HALF))
        single = writer.node("Cast", f"{constant.name}_fp32", [half], SINGLE, {"to": int(TensorProto.FLOAT)})
        for reader in readers:
            for slot, tensor in enumerate(reader.inputs):
                if tensor is constant:
                    reader.inputs[slot] = single
    return len(found)


def _fits(constant: gs.Constant, ops: Collection[str]) -> bool:
    if constant.dtype != SINGLE or math.prod(constant.shape) < LEAST:
        return False
    return all(reader.op in ops for reader in constant.outputs) and bool(np.abs(constant.values).max() <= HALF_MAX)
