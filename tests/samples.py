"""Small models made by hand, for tests that need one and do not care which."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from yocc.testing.models import CHANNELS, SIDE, tiny_feed, tiny_model

__all__ = ["CHANNELS", "SIDE", "tiny_feed", "tiny_model"]


def strange_model() -> onnx.ModelProto:
    """The same with a layer before it, and an operator in the middle that only its owner knows."""
    model = tiny_model()
    random = np.random.default_rng(7)
    for name, shape in (("w0", (CHANNELS, 3, 1, 1)), ("w1", (CHANNELS, CHANNELS, 3, 3))):
        tensor = numpy_helper.from_array(random.normal(0, 0.3, shape).astype(np.float32), name)
        for old in [old for old in model.graph.initializer if old.name == name]:
            model.graph.initializer.remove(old)
        model.graph.initializer.append(tensor)
    first = model.graph.node[0]
    first.input[0] = "r0"
    model.graph.node.insert(0, helper.make_node("Conv", ["x", "w0"], ["c0"], name="zeroth"))
    model.graph.node.insert(1, helper.make_node("Relu", ["c0"], ["r0"], name="relu0"))
    model.graph.node[4].op_type, model.graph.node[4].domain = "Whiten", "strange.kernels"
    model.opset_import.append(helper.make_opsetid("strange.kernels", 1))
    return model


def scalar_model() -> onnx.ModelProto:
    """`x` [1, 2] times the scalar `gain`."""
    make = helper.make_tensor_value_info
    inputs = [make("x", TensorProto.FLOAT, [1, 2]), make("gain", TensorProto.FLOAT, [])]
    node = helper.make_node("Mul", ["x", "gain"], ["y"], name="product")
    graph = helper.make_graph([node], "scalar", inputs, [make("y", TensorProto.FLOAT, [1, 2])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
