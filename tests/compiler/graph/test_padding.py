from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx import ModelProto, helper, numpy_helper

from tests.oracles import run
from yocc.compiler.graph.padding import explicit_pads

WEIGHT = np.random.default_rng(0).normal(size=(3, 2, 4, 3)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(1, 2, 11, 8)).astype(np.float32)


def model(attributes: dict[str, object]) -> ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], **attributes)],
        "conv",
        [helper.make_tensor_value_info("x", 1, X.shape)],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
@pytest.mark.parametrize("automatic", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
def test_stated_pads_do_what_automatic_ones_do(automatic: str, strides: list[int]) -> None:
    attributes = {"auto_pad": automatic, "strides": strides}
    pads = explicit_pads(gs.Node("Conv", attrs=attributes), X.shape[2:], WEIGHT.shape[2:])
    wanted = run(model(attributes), {"x": X})["y"]
    found = run(model({"pads": pads, "strides": strides}), {"x": X})["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_dilated_kernels_reach_farther() -> None:
    node = gs.Node("Conv", attrs={"auto_pad": "SAME_UPPER", "dilations": [2, 1]})
    assert explicit_pads(node, (11, 8), (4, 3)) == [3, 1, 3, 1]


def test_pads_that_are_stated_are_taken_as_they_are() -> None:
    assert explicit_pads(gs.Node("Conv", attrs={"pads": [1, 2, 3, 4]}), (9, 9), (3, 3)) == [1, 2, 3, 4]
    assert explicit_pads(gs.Node("Conv"), (9, 9), (3, 3)) == [0, 0, 0, 0]
