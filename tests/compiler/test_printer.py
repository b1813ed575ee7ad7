from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.samples import tiny_model
from yocc.compiler.graph import load
from yocc.compiler.printer import print_graph


def test_text_is_as_expected() -> None:
    assert print_graph(load(tiny_model())).splitlines() == [
        "graph 'tiny' opset 17 (x float32[1,3,16,16]) -> (y float32[1,4,16,16])",
        "  first: c1 float32[1,16,16,16] = Conv(x, w1:float32[16,3,3,3], b1:float32[16]) {pads=[1,1,1,1]}",
        "  norm: n1 float32[1,16,16,16] = BatchNormalization(c1, scale:float32[16], shift:float32[16], "
        "mean:float32[16], var:float32[16])",
        "  relu: r1 float32[1,16,16,16] = Relu(n1)",
        "  last: y float32[1,4,16,16] = Conv(r1, w2:float32[4,16,1,1])",
    ]


def test_equal_graphs_print_alike_and_others_do_not() -> None:
    first, second = load(tiny_model(1)), load(tiny_model(2))
    assert print_graph(first) == print_graph(second)
    second.nodes[0].attrs["pads"] = [1, 1, 1, 2]
    assert print_graph(first) != print_graph(second)


def test_short_constants_open_shapes_and_domains_are_shown() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["x", "shape"], ["r"], name="reshape"),
            helper.make_node("Strange", ["r", ""], ["y"], name="strange", domain="my.ops", factor=0.5),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([1, -1], np.int64), "shape")],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("my.ops", 1)]
    text = print_graph(load(helper.make_model(graph, opset_imports=opsets, ir_version=8)))
    assert "x float32[n,?]" in text
    assert "Reshape(x, int64[1, -1])" in text
    assert "my.ops:Strange(r" in text
    assert "{factor=0.5}" in text
