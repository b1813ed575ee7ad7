from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from tests.networks.topologies import TOPOLOGIES
from tests.oracles import run
from tests.passes.feeding import context, drawn, smooth
from yocc.analysis.stepping import Stepper, by_depth
from yocc.compiler.graph import Graph, load, to_proto
from yocc.compiler.pipeline.passes import Arrays


def convolutions_read(graph: Graph) -> list[str]:
    """What each convolution reads, in order."""
    return list(dict.fromkeys(node.inputs[0].name for node in graph.nodes if node.op == "Conv"))


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 4096, 2**30], ids=["no room", "some room", "room"])
@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_steps_give_what_a_whole_run_gives(name: str, room: int) -> None:
    model = TOPOLOGIES[name](seed=0)
    graph = load(model)
    feeds = drawn(model, 2)
    layers = {node.name for node in graph.nodes if node.op in ("Conv", "Gemm", "MatMul")}
    stepper = Stepper(graph, feeds, context(), room=room)
    for group in by_depth(graph, layers):
        taps = [node.outputs[0].name for node in group]
        found = list(stepper.step(taps))
        assert len(found) == len(feeds)
        for arrays, values in zip(feeds, found, strict=True):
            exact = run(to_proto(graph), arrays, taps=taps)
            for tap in taps:
                np.testing.assert_allclose(values[tap], exact[tap], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_a_layer_may_change_until_it_is_passed(name: str) -> None:
    model = TOPOLOGIES[name](seed=0)
    graph = load(model)
    feeds = smooth(model, 3)
    stepper = Stepper(graph, feeds, context())
    for read in convolutions_read(graph):
        list(stepper.step([read]))
        for node in graph.nodes:
            if node.op == "Conv" and node.inputs[0].name == read:
                # A constant of its own: others may share the one it had.
                halved = node.inputs[1].values * np.float32(0.5)
                node.inputs[1] = gs.Constant(f"{node.name}_halved", halved)
    exact = to_proto(graph)
    for found, arrays in zip(stepper.step([tensor.name for tensor in graph.outputs]), feeds, strict=True):
        for output, expected in run(exact, arrays).items():
            np.testing.assert_allclose(found[output], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_nothing_is_computed_twice(name: str) -> None:
    model = TOPOLOGIES[name](seed=0)
    graph, ctx = load(model), context()
    inner = ctx.executor
    assert inner is not None
    counted: list[int] = []

    def counting(proto: onnx.ModelProto) -> Callable[[Arrays], Arrays]:
        compute = inner(proto)
        size = sum(node.op_type == "Conv" for node in proto.graph.node)

        def computed(arrays: Arrays) -> Arrays:
            counted.append(size)
            return compute(arrays)

        return computed

    ctx.executor = counting
    stepper = Stepper(graph, smooth(model, 3), ctx)
    for read in convolutions_read(graph):
        list(stepper.step([read]))
    assert sum(counted) <= 3 * sum(node.op == "Conv" for node in graph.nodes)


def test_kept_tensors_spare_the_nodes_before_them() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    graph = load(model)
    sizes = []
    ctx = context()
    executor = ctx.executor
    assert executor is not None

    def counting(proto: onnx.ModelProto) -> Callable[[Arrays], Arrays]:
        sizes.append(len(proto.graph.node))
        return executor(proto)

    ctx.executor = counting
    stepper = Stepper(graph, drawn(model, 1), ctx)
    for node in graph.nodes:
        list(stepper.step([node.outputs[0].name]))
    assert sum(sizes) == len(graph.nodes)


def test_groups_do_not_feed_each_other() -> None:
    graph = load(TOPOLOGIES["c2f"](seed=0))
    layers = {node.name for node in graph.nodes if node.op == "Conv"}
    groups = by_depth(graph, layers)
    assert {node.name for group in groups for node in group} == layers
    for group in groups:
        made = {tensor.name for node in group for tensor in node.outputs}
        seen = set(made)
        for node in graph.nodes:
            if any(tensor.name in seen for tensor in node.inputs):
                assert not any(node is other for other in group)
                seen.update(tensor.name for tensor in node.outputs)


def test_depth_counts_what_a_subgraph_captures() -> None:
    branches = {
        name: onnx.helper.make_graph(
            [onnx.helper.make_node("Relu", ["a"], [name])],
            name,
            [],
            [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4])],
        )
        for name in ("then_branch", "else_branch")
    }
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        onnx.helper.make_node("If", ["flag"], ["b"], name="if", **branches),
        onnx.helper.make_node("MatMul", ["b", "w"], ["y"], name="second"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [
            onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4]),
            onnx.helper.make_tensor_value_info("flag", onnx.TensorProto.BOOL, []),
        ],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])],
        [onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")],
    )
    loaded = load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8))
    assert [[node.name for node in group] for group in by_depth(loaded, ["first", "second"])] == [["first"], ["second"]]
