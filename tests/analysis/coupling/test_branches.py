from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.passes.prune.masking import pruned_equals_masked
from yocc.analysis.coupling.channels import map_channels
from yocc.compiler.graph import load
from yocc.compiler.graph.shapes import concrete_shapes

SIDES = [16, 6, 6]


def weight(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(sum(map(ord, name))).normal(0, 0.3, shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def branch(name: str, nodes: list[onnx.NodeProto], shape: list[int], *constants: onnx.TensorProto) -> onnx.GraphProto:
    ports = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [1, *shape])]
    return helper.make_graph(nodes, name, [], ports, list(constants))


def choosing(then: onnx.GraphProto, other: onnx.GraphProto) -> onnx.ModelProto:
    """A layer, an If that captures what it makes, and two layers behind; shapes are stated everywhere."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("If", ["flag"], ["q"], name="choice", then_branch=then, else_branch=other),
        helper.make_node("Conv", ["q", "v"], ["d"], name="second"),
        helper.make_node("Relu", ["d"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "u"], ["y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "choosing",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 6])],
        [weight("w", 16, 3, 3, 3), weight("v", 12, 16, 1, 1), weight("u", 4, 12, 1, 1)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def elementwise() -> onnx.ModelProto:
    then = [helper.make_node("Relu", ["c"], ["t0"]), helper.make_node("Sigmoid", ["t0"], ["t1"])]
    return choosing(branch("then", then, SIDES), branch("else", [helper.make_node("Neg", ["c"], ["e0"])], SIDES))


def convolving() -> onnx.ModelProto:
    then = [helper.make_node("Conv", ["c", "inner"], ["t0"], pads=[0, 0, 0, 0])]
    return choosing(
        branch("then", then, SIDES, weight("inner", 16, 16, 1, 1)),
        branch("else", [helper.make_node("Neg", ["c"], ["e0"])], SIDES),
    )


def reading_a_weight() -> onnx.ModelProto:
    """A branch reads the weight of the layer behind."""
    then = [
        helper.make_node("ReduceMean", ["v"], ["t0"], axes=[0, 1, 2, 3], keepdims=1),
        helper.make_node("Mul", ["c", "t0"], ["t1"]),
    ]
    return choosing(branch("then", then, SIDES), branch("else", [helper.make_node("Neg", ["c"], ["e0"])], SIDES))


def uneven() -> onnx.ModelProto:
    then = [helper.make_node("Relu", ["c"], ["t0"])]
    other = [helper.make_node("Shape", ["c"], ["s"]), helper.make_node("ConstantOfShape", ["s"], ["e0"])]
    return choosing(branch("then", then, SIDES), branch("else", other, SIDES))


@pytest.mark.parametrize("seed", [0, 1])
def test_channels_go_through_branches_that_compute_element_by_element(seed: int) -> None:
    model = elementwise()
    channels = map_channels(load(model), concrete_shapes(load(model)))
    assert [group.producers for group in channels.groups] == [("first",), ("second",)]
    assert pruned_equals_masked(model, share=0.5, seed=seed) == 8 + 6


@pytest.mark.parametrize("build", [convolving, reading_a_weight, uneven])
def test_channels_that_other_branches_read_stay_for_that_reason(build: Callable[[], onnx.ModelProto]) -> None:
    model = build()
    channels = map_channels(load(model), concrete_shapes(load(model)))
    assert "subgraph" in channels.reasons["first"].text
    assert [group.producers for group in channels.groups] == [("second",)]
    assert pruned_equals_masked(model, share=0.5, seed=0) == 6


def test_branches_of_different_shapes_keep_what_they_read() -> None:
    then = [helper.make_node("Relu", ["c"], ["t0"])]
    other = [helper.make_node("Neg", ["x"], ["e0"])]
    bodies = branch("then", then, SIDES), branch("else", other, [3, 6, 6])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("If", ["flag"], ["q"], name="choice", then_branch=bodies[0], else_branch=bodies[1]),
        helper.make_node("GlobalMaxPool", ["q"], ["p"], name="pool"),
        helper.make_node("ReduceMax", ["p"], ["y"], name="top", axes=[1], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "uneven",
        [helper.make_tensor_value_info("x", 1, [1, 3, 6, 6]), helper.make_tensor_value_info("flag", 9, [])],
        [helper.make_tensor_value_info("y", 1, ["n", 1, 1])],
        [weight("w", 16, 3, 3, 3)],
    )
    loaded = load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert map_channels(loaded, concrete_shapes(loaded)).groups == ()


def test_channels_a_loop_reads_stay() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["before", "c"], ["after"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, [1, *SIDES]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, [1, *SIDES]),
        ],
    )
    model = elementwise()
    loop = helper.make_node("Loop", ["count", "", "c"], ["q"], name="loop", body=body)
    model.graph.node[1].CopyFrom(loop)
    model.graph.initializer.append(numpy_helper.from_array(np.array(3, np.int64), "count"))
    del model.graph.input[1:]
    channels = map_channels(load(model), concrete_shapes(load(model)))
    assert "subgraph" in channels.reasons["first"].text
    pruned_equals_masked(model, share=0.5, seed=0)
