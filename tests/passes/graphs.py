from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from yocc.compiler.graph import Graph, load

SILU_READ_BY_TWO = [
    "c1: a = Conv(x, w1)",
    "s: g = Sigmoid(a)",
    "m: h = Mul(a, g)",
    "c2: y = Conv(h, w2)",
    "c3: z = Conv(h, w3)",
    "n: v = Neg(h)",
]
"""For `build`: a layer behind SiLU, whose result two layers read, and something that is none."""
Value = tuple[int, ...] | list[int] | np.ndarray[Any, Any]


def build(
    nodes: Sequence[str],
    weights: Mapping[str, Value],
    outputs: Sequence[str],
    shape: Sequence[int | str] | None = None,
    opset: int = 17,
) -> Graph:
    """A graph from lines such as `c1: y = Conv(x, w)`: a node's name, then the node in onnx's own text form.

    A weight given as a tuple is a shape, filled with reproducible normal values.
    """
    parsed = []
    for line in nodes:
        name, body = line.split(": ", 1)
        node = onnx.parser.parse_node(body)
        node.name = name
        parsed.append(node)
    graph = helper.make_graph(
        parsed,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape or [1, 4, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [_initializer(name, shape) for name, shape in weights.items()],
    )
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


def _initializer(name: str, value: Value) -> onnx.TensorProto:
    if isinstance(value, list):
        value = np.array(value, np.int64)
    if isinstance(value, tuple):
        value = np.random.default_rng(sum(map(ord, name))).normal(size=value).astype(np.float32)
    return onnx.numpy_helper.from_array(value, name)
