from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.compiler.graph.models import build, if_model, run, value, weight
from tests.passes.feeding import context
from yocc.compiler.graph import Graph, load, to_proto
from yocc.compiler.pipeline.partial import extract, run_until


def if_in_the_middle() -> onnx.ModelProto:
    """Mul, an If that captures the product and an input, Neg."""
    branches = {
        "then_branch": helper.make_graph([helper.make_node("Add", ["a", "x"], ["t"])], "t", [], [value("t", [4])]),
        "else_branch": helper.make_graph([helper.make_node("Relu", ["a"], ["e"])], "e", [], [value("e", [4])]),
    }
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["a"], name="mul"),
        helper.make_node("If", ["flag"], ["b"], name="if", **branches),
        helper.make_node("Neg", ["b"], ["y"], name="neg"),
    ]
    return build(nodes, [value("x", [4]), value("flag", [], TensorProto.BOOL)], [value("y", [4])], [weight("w", 4)])


def loop_in_the_middle() -> onnx.ModelProto:
    """Mul, a Loop whose body adds the captured product, Neg."""
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "a"], ["r"]), helper.make_node("Identity", ["go"], ["again"])],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("s", [4])],
        [value("again", [], TensorProto.BOOL), value("r", [4])],
    )
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["a"], name="mul"),
        helper.make_node("Loop", ["n", "", "x"], ["b"], name="loop", body=body),
        helper.make_node("Neg", ["b"], ["y"], name="neg"),
    ]
    return build(nodes, [value("x", [4]), value("n", [], TensorProto.INT64)], [value("y", [4])], [weight("w", 4)])


CASES = [
    (if_in_the_middle, {"flag": np.array(True)}, ["x", "flag"]),
    (if_in_the_middle, {"flag": np.array(False)}, ["x", "flag"]),
    (loop_in_the_middle, {"n": np.array(3)}, ["x", "n"]),
]


@pytest.mark.parametrize(("make", "more", "inputs"), CASES)
def test_what_a_subgraph_captures_is_an_input_of_the_part(make: object, more: dict, inputs: list[str]) -> None:
    model = make()
    graph = load(model)
    feed = {"x": np.linspace(-1, 1, 4, dtype=np.float32), **more}
    control = graph.nodes[1]
    part = extract(graph, [control], ["b"])
    assert sorted(tensor.name for tensor in part.inputs) == sorted({*inputs, "a"})
    wanted = run_until(graph, ["a", "b"], context())(feed)
    np.testing.assert_array_equal(-wanted["b"], run(model, **feed)[0])
    resumed = run_until(graph, ["y"], context(), given=["a", *feed])(wanted)
    np.testing.assert_array_equal(resumed["y"], run(model, **feed)[0])


def test_a_part_without_the_subgraph_needs_only_its_own_inputs() -> None:
    graph = load(if_in_the_middle())
    part = extract(graph, graph.nodes, ["y"])
    assert {tensor.name for tensor in part.inputs} == {"x", "flag"}
    assert [tensor.name for tensor in extract(graph, [graph.nodes[2]], ["y"]).inputs] == ["b"]


def test_captured_weights_come_along() -> None:
    graph = load(if_model())
    random = np.random.default_rng(0)
    node = next(node for node in graph.nodes if node.op == "If")
    part = extract(graph, [node], ["y"])
    feeds = {"mid": random.normal(size=1500).astype(np.float32), "flag": np.array(True)}
    weights = {name: tensor.values for name, tensor in graph.tensors().items() if name == "shared"}
    found = run(to_proto(part), **feeds)[0]
    inner = next(t.values for t in node.attrs["then_branch"].nodes[1].inputs if t.name == "inner")
    np.testing.assert_allclose(found, feeds["mid"] + weights["shared"] + inner, rtol=1e-6)


def odd_reader() -> Graph:
    """A part whose input has no type: one unknown operator gives it, and nothing that is known reads it."""
    nodes = [
        helper.make_node("Odd", ["x"], ["a"], name="odd", domain="d"),
        helper.make_node("Relu", ["a"], ["y"], name="relu"),
    ]
    return load(build(nodes, [value("x", [4])], [value("y", [4])], domains=["d"]))


def test_an_input_of_unknown_type_takes_that_of_what_it_is_given() -> None:
    graph = odd_reader()
    assert graph.tensors()["a"].dtype is None
    run_part = run_until(graph, ["y"], context(), given=["a"])
    for _ in range(2):
        found = run_part({"a": np.array([-1, 0, 1, 2], np.float32)})
        assert found["y"].tolist() == [0, 0, 1, 2]
