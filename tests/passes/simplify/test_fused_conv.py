from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.passes.feeding import context, run_pass
from yocc.compiler.graph import load, refresh, to_proto
from yocc.passes.simplify import Simplify
from yocc.passes.simplify.fused_conv import split_fused_convolutions
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession

FEEDS = {"x": np.random.default_rng(0).normal(size=(1, 4, 8, 8)).astype(np.float32)}


def model(activation: str, params: list[float], *, bias: bool = True, added: bool = False) -> onnx.ModelProto:
    random = np.random.default_rng(1)
    weights = {"w": (4, 4, 3, 3), "b": (4,)}
    inputs = ["x", "w", "b" if bias else ""] + (["x"] if added else [])
    attributes = {"activation_params": params} if params else {}
    if activation:
        attributes["activation"] = activation
    node = helper.make_node(
        "FusedConv", inputs, ["y"], "fused", domain="com.microsoft", pads=[1, 1, 1, 1], **attributes
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(random.normal(size=size).astype(np.float32), name) for name, size in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize(
    ("activation", "params"),
    [
        ("Relu", []),
        ("Sigmoid", []),
        ("Tanh", []),
        ("LeakyRelu", [0.1]),
        ("Clip", [-0.5, 1.5]),
        ("HardSigmoid", [0.2, 0.4]),
    ],
)
@pytest.mark.parametrize("added", [False, True])
def test_a_fused_convolution_becomes_its_parts(activation: str, params: list[float], added: bool) -> None:
    before = model(activation, params, bias=not added, added=added)
    graph = load(before)
    assert run_pass(Simplify(), graph, context()) > 0
    assert [node.op for node in graph.nodes] == ["Conv", *(["Add"] if added else []), activation]
    assert all(node.domain in (None, "") for node in graph.nodes)
    exact, found = (
        OnnxRuntimeSession(each.SerializeToString(), threads=1).run(FEEDS)["y"] for each in (before, to_proto(graph))
    )
    np.testing.assert_allclose(found, exact, atol=1e-5)


def test_an_activation_of_another_name_stays() -> None:
    graph = load(model("Softsign", []))
    assert split_fused_convolutions(graph) == 0
    assert [node.op for node in graph.nodes] == ["FusedConv"]


def test_without_an_activation_it_is_a_convolution() -> None:
    graph = load(model("", []))
    assert split_fused_convolutions(graph) == 1
    refresh(graph)
    assert [node.op for node in graph.nodes] == ["Conv"]
