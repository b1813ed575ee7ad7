from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yocc.api.inspection import inspect_model
from yocc.compiler.graph import load
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.subject import examine, taken_apart
from yocc.errors import ModelError


def _fused() -> bytes:
    """A layer that onnxruntime has fused with its Relu, and one behind it."""
    random = np.random.default_rng(0)
    weights = {"w": (16, 3, 3, 3), "v": (4, 16, 1, 1)}
    nodes = [
        helper.make_node(
            "FusedConv", ["x", "w"], ["a"], name="one", domain="com.microsoft", pads=[1] * 4, activation="Relu"
        ),
        helper.make_node("Conv", ["a", "v"], ["y"], name="two"),
    ]
    graph = helper.make_graph(
        nodes,
        "fused",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [
            numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def test_what_onnxruntime_has_fused_counts_as_the_layers_it_is() -> None:
    model = _fused()
    graph = load(model)
    facts = examine(graph, model, None).facts
    assert facts.parameters == 16 * 27 + 4 * 16
    assert facts.macs == (16 * 27 + 4 * 16) * 64
    assert facts.nodes == 2
    assert [node.op for node in graph.nodes] == ["FusedConv", "Conv"]


def test_inspecting_counts_alike() -> None:
    inspection = inspect_model(load(_fused()), Target("here"), None)
    assert (inspection.totals.parameters, inspection.totals.macs, inspection.nodes) == (496, 496 * 64, 2)
    assert [layer.op for layer in inspection.layers] == ["Conv", "Conv"]


def test_other_graphs_are_not_copied() -> None:
    graph = load(_fused())
    whole = taken_apart(graph)
    assert taken_apart(whole) is whole


def test_what_contradicts_itself_behind_an_operator_that_onnx_does_not_know_is_the_models_fault() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (float[1,3,8,8] x) => (float[a,b] y) {
            h = com.microsoft.Gelu(x)
            y = Gemm(h, w)
        }"""
    )
    model.graph.initializer.append(numpy_helper.from_array(np.ones((8, 4), np.float32), "w"))
    with pytest.raises(ModelError, match=r"contradicts itself: .*Input 0 expected to have rank 2"):
        examine(load(model), model, None)


def test_fused_products_one_behind_another_count_as_products() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (float[2,8] x) => (float[a,b] y) {
            h = com.microsoft.FusedMatMul<transB = 1, alpha = 0.5>(x, w)
            i = com.microsoft.Gelu(h)
            y = com.microsoft.FusedMatMul(i, v)
        }"""
    )
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in (("w", (6, 8)), ("v", (6, 5)))
    )
    facts = examine(load(model), model.SerializeToString(), None).facts
    assert (facts.parameters, facts.macs) == (78, 2 * 78)
