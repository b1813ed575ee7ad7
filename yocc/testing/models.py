"""A small network that every backend can take, and an input for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 16
SIDE = 16


def tiny_model(seed: int = 0, *, batch: int | str = 1) -> onnx.ModelProto:
    """Conv, Relu, Conv with a BatchNormalization: [1, 3, 16, 16] to [1, 4, 16, 16]."""
    random = np.random.default_rng(seed)
    weights = {
        "w1": random.normal(0, 0.3, (CHANNELS, 3, 3, 3)),
        "b1": random.normal(0, 0.1, CHANNELS),
        "scale": random.uniform(0.5, 1.5, CHANNELS),
        "shift": random.normal(0, 0.1, CHANNELS),
        "mean": random.normal(0, 0.1, CHANNELS),
        "var": random.uniform(0.5, 1.5, CHANNELS),
        "w2": random.normal(0, 0.3, (4, CHANNELS, 1, 1)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c1", "scale", "shift", "mean", "var"], ["n1"], name="norm"),
        helper.make_node("Relu", ["n1"], ["r1"], name="relu"),
        helper.make_node("Conv", ["r1", "w2"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 4, SIDE, SIDE])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    # onnx's reference evaluator computes BatchNormalization as in training below opset 14.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def tiny_feed(seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """An input of that network, uniform in 0..1."""
    return {"x": np.random.default_rng(seed).random((1, 3, SIDE, SIDE), dtype=np.float32)}
