from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.compiler.graph.models import build, run, value, weight
from yocc.compiler.graph import clone, convert_opset, load, node_proto, to_proto
from yocc.errors import InternalError

INTS, FLOATS, STRINGS = onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS, onnx.AttributeProto.STRINGS


def with_empty(node: onnx.NodeProto, **kinds: int) -> onnx.NodeProto:
    node.attribute.extend(helper.make_attribute(name, [], attr_type=kind) for name, kind in kinds.items())
    return node


def kinds_of(node: onnx.NodeProto) -> dict[str, int]:
    return {attribute.name: attribute.type for attribute in node.attribute}


def reducing(opset: int = 13) -> onnx.ModelProto:
    node = with_empty(helper.make_node("ReduceMean", ["x"], ["y"], name="mean", keepdims=1), axes=INTS)
    return build([node], [value("x", [1, 3, 4, 4])], [value("y", [1, 1, 1, 1])], opset=opset)


def test_an_empty_list_survives_and_the_model_runs() -> None:
    model = reducing()
    graph = load(model)
    feed = np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)
    for one in (graph, clone(graph)):
        written = to_proto(one)
        assert kinds_of(written.graph.node[0]) == {"keepdims": onnx.AttributeProto.INT, "axes": INTS}
        np.testing.assert_array_equal(run(written, x=feed)[0], run(model, x=feed)[0])


def test_lists_of_operators_onnx_does_not_know_keep_their_type() -> None:
    node = with_empty(helper.make_node("Odd", ["x"], ["y"], name="odd", domain="d"), a=INTS, b=FLOATS, c=STRINGS)
    graph = load(build([node], [value("x", [1])], [value("y", [1])], domains=["d"]))
    assert kinds_of(to_proto(graph).graph.node[0]) == {"a": INTS, "b": FLOATS, "c": STRINGS}
    assert kinds_of(node_proto(graph.nodes[0])) == {"a": INTS, "b": FLOATS, "c": STRINGS}


def test_inside_a_subgraph() -> None:
    branches = {
        name: helper.make_graph(
            [with_empty(helper.make_node("ReduceMax", ["x"], [name]), axes=INTS)], name, [], [value(name, [1, 1])]
        )
        for name in ("then_branch", "else_branch")
    }
    node = helper.make_node("If", ["flag"], ["y"], name="if", **branches)
    model = build([node], [value("x", [2, 2]), value("flag", [], TensorProto.BOOL)], [value("y", [1, 1])], opset=13)
    written = to_proto(load(model))
    for attribute in written.graph.node[0].attribute:
        assert "axes" in kinds_of(attribute.g.node[0])
    assert run(written, x=np.eye(2, dtype=np.float32), flag=np.array(True))[0].tolist() == [[1.0]]


def test_a_node_alone_and_a_newer_opset() -> None:
    graph = load(reducing(11))
    assert node_proto(graph.nodes[0]).input == ["x"]
    assert node_proto(graph.nodes[0]).output == ["y"]
    assert "axes" in kinds_of(node_proto(graph.nodes[0]))
    assert convert_opset(graph, 13).opset == 13


def test_a_list_that_a_pass_made_has_the_type_of_the_definition() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="conv")]
    graph = load(build(nodes, [value("x", [1, 3, 8, 8])], [value("y", None)], [weight("w", 2, 3, 3, 3)]))
    graph.nodes[0].attrs["pads"] = []
    assert kinds_of(node_proto(graph.nodes[0]))["pads"] == INTS
    graph.nodes[0].attrs = {"odd": []}
    with pytest.raises(InternalError, match="'odd' of 'conv'"):
        node_proto(graph.nodes[0])
