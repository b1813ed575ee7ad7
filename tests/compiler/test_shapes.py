from __future__ import annotations

import numpy as np
import pytest
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


@pytest.mark.parametrize(("opset", "parameters"), [(18, 2), (21, 4)])
def test_group_normalisation_keeps_the_shape(opset: int, parameters: int) -> None:
    constants = {name: np.ones(parameters, np.float32) for name in ("scale", "bias")}
    constants["w"] = np.ones((5, 4, 1, 1), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("GroupNormalization", ["x", "scale", "bias"], ["n"], num_groups=2),
            helper.make_node("Conv", ["n", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4, 3, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5, 3, 6])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    loaded = load(model)
    shapes = concrete_shapes(loaded, {"x": (2, 4, 3, 6)})
    assert shapes.shapes["n"] == (2, 4, 3, 6)
    assert totals(layer_costs(loaded, shapes)).macs == 2 * 5 * 4 * 3 * 6


@pytest.mark.parametrize(("second", "expected"), [("Neg", (1, 3, 8, 8)), ("GlobalMaxPool", None)])
def test_what_both_branches_of_an_if_give_in_one_shape_is_known(second: str, expected: tuple[int, ...] | None) -> None:
    branches = [
        helper.make_graph(
            [helper.make_node(op, ["x"], [f"{op}_y"])], op, [], [helper.make_tensor_value_info(f"{op}_y", 1, None)]
        )
        for op in ("Relu", second)
    ]
    graph = helper.make_graph(
        [helper.make_node("If", ["flag"], ["y"], name="if", then_branch=branches[0], else_branch=branches[1])],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, "h", "w"])],
    )
    loaded = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert concrete_shapes(loaded).shapes.get("y") == expected
