from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from tests.compiler.graph.models import build, run, value
from yocc.compiler.graph import load, refresh, to_proto, verify
from yocc.compiler.graph.single import to_single


def test_names_that_widening_makes_are_free() -> None:
    half = TensorProto.FLOAT16
    nodes = [
        helper.make_node("Cast", ["x"], ["x_fp32"], name="x_fp32_cast", to=TensorProto.FLOAT),
        helper.make_node("Softmax", ["x_fp32"], ["y_fp32"], name="softmax"),
        helper.make_node("Cast", ["y_fp32"], ["y"], name="y_cast", to=half),
    ]
    model = build(nodes, [value("x", [1, 4], half)], [value("y", [1, 4], half)])
    graph = load(model)
    assert to_single(graph)
    refresh(graph)
    assert verify.problems(graph) == []
    assert len({node.name for node in graph.nodes}) == len(graph.nodes)
    feed = np.array([[1, 2, 3, 4]], np.float16)
    np.testing.assert_allclose(run(to_proto(graph), x=feed)[0], run(model, x=feed)[0], atol=1e-3)
