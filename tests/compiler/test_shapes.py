from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from yocc.compiler.cost import layer_costs, totals
from yocc.compiler.graph import load
from yocc.compiler.shapes import concrete_shapes


def test_small_weights_behind_codes_have_a_shape() -> None:
    """Values no evaluator computes leave the shape to inference."""
    constants = {
        "codes": np.ones((4, 3, 1, 1), np.int8),
        "scale": np.full(4, 0.1, np.float32),
        "zero": np.zeros(4, np.int8),
    }
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["weight"], axis=0),
            helper.make_node("Conv", ["x", "weight"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    loaded = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))
    shapes = concrete_shapes(loaded)
    assert shapes.shapes["weight"] == (4, 3, 1, 1)
    assert totals(layer_costs(loaded, shapes)).macs == 4 * 3 * 8 * 8
