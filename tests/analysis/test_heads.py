from __future__ import annotations

import pytest

from tests.passes.graphs import build
from yocc.analysis.heads import decode_nodes, final_layers, first_layers, straight_readers
from yocc.compiler.graph import Graph, load
from yocc.compiler.graph.layers import is_weighted


def names(graph: Graph) -> list[str]:
    return [node.name for node in final_layers(graph)]


def test_two_heads_joined_by_concat_are_both_final() -> None:
    graph = build(
        ["c0: a = Conv(x, w0)", "r0: b = Relu(a)", "c1: p = Conv(b, w1)", "c2: q = Conv(b, w2)",
         "s: s = Sigmoid(q)", "cat: y = Concat<axis=1>(p, s)"],
        {"w0": (4, 4, 1, 1), "w1": (2, 4, 1, 1), "w2": (3, 4, 1, 1)},
        ["y"],
    )  # fmt: skip
    assert names(graph) == ["c1", "c2"]
    assert decode_nodes(graph) == {"s", "cat"}


def test_distribution_integral_belongs_to_decode() -> None:
    graph = build(
        ["c0: a = Conv(x, w0)", "split: b = Reshape(a, sides)", "t: c = Transpose<perm=[0, 2, 1, 3]>(b)",
         "soft: d = Softmax<axis=1>(c)", "dfl: e = Conv(d, w1)", "join: y = Reshape(e, flat)"],
        {"w0": (16, 4, 1, 1), "w1": (1, 4, 1, 1), "sides": [1, 4, 4, 64], "flat": [1, 4, 64]},
        ["y"],
    )  # fmt: skip
    assert names(graph) == ["c0"]
    assert decode_nodes(graph) == {"split", "t", "soft", "dfl", "join"}


def test_wide_layer_behind_softmax_is_still_a_layer() -> None:
    graph = build(
        ["c0: a = Conv(x, w0)", "soft: b = Softmax<axis=1>(a)", "c1: y = Conv(b, w1)"],
        {"w0": (4, 4, 1, 1), "w1": (3, 4, 1, 1)},
        ["y"],
    )
    assert names(graph) == ["c1"]
    assert decode_nodes(graph) == set()


def test_of_a_residual_sum_only_the_later_branch_is_final() -> None:
    graph = build(
        ["c0: a = Conv(x, w0)", "r0: b = Relu(a)", "c1: c = Conv(b, w1)", "add: y = Add(b, c)"],
        {"w0": (4, 4, 1, 1), "w1": (4, 4, 1, 1)},
        ["y"],
    )
    assert names(graph) == ["c1"]
    assert decode_nodes(graph) == {"add"}


def test_layer_that_is_an_output_and_goes_on_is_final_but_starts_no_decode() -> None:
    graph = build(
        ["c0: a = Conv(x, w0)", "r0: feature = Relu(a)", "c1: y = Conv(feature, w1)"],
        {"w0": (4, 4, 1, 1), "w1": (2, 4, 1, 1)},
        ["feature", "y"],
    )
    assert names(graph) == ["c0", "c1"]
    assert decode_nodes(graph) == set()


def test_matmul_of_two_activations_is_no_layer() -> None:
    graph = build(
        ["c0: a = Conv(x, w0)", "m: b = MatMul(a, a)", "s: y = Sigmoid(b)"],
        {"w0": (4, 4, 1, 1)},
        ["y"],
    )
    assert names(graph) == ["c0"]
    assert decode_nodes(graph) == {"m", "s"}


def test_weights_behind_a_cast_are_weights() -> None:
    graph = build(
        ["cast: w = Cast<to=1>(w16)", "c0: y = Conv(x, w)"],
        {"w16": (4, 4, 1, 1)},
        ["y"],
    )
    assert names(graph) == ["c0"]


def test_graph_without_layers_has_neither() -> None:
    graph = build(["r: y = Relu(x)"], {}, ["y"])
    assert names(graph) == []
    assert decode_nodes(graph) == set()


@pytest.mark.parametrize(
    ("file", "layers", "channels"),
    [("yolov5n.onnx", 3, {255}), ("yolov5n_dynamic.onnx", 3, {255}), ("ultraface_rfb320_op9.onnx", 8, {4, 6, 8, 12})],
)
def test_heads_of_real_detectors(shared_data, file: str, layers: int, channels: set[int]) -> None:
    graph = load(shared_data / "models" / file)
    final = final_layers(graph)
    assert len(final) == layers
    assert {node.inputs[1].shape[0] for node in final} <= channels
    decode = decode_nodes(graph)
    assert not any(is_weighted(node) for node in graph.nodes if node.name in decode)
    assert {graph.outputs[0].inputs[0].name} <= decode


def test_first_layers_see_the_input_through_no_other_layer() -> None:
    graph = build(
        [
            "half: h = Relu(x)",
            "c0: a = Conv(h, w0)",
            "c1: b = Conv(x, w1)",
            "sum: s = Add(a, b)",
            "c2: y = Conv(s, w2)",
        ],
        {"w0": (4, 4, 1, 1), "w1": (4, 4, 1, 1), "w2": (2, 4, 1, 1)},
        ["y"],
    )
    assert [node.name for node in first_layers(graph)] == ["c0", "c1"]
    assert names(graph) == ["c2"]


def test_layers_that_read_another_one_straight() -> None:
    nodes = [
        "a: t = Conv(x, w)",
        "b: u = Conv(t, w)",
        "r: v = Relu(u)",
        "c: y = Conv<group = 4>(v, d)",
        "e: z = Conv(y, w)",
        "f: p = Conv(z, w)",
        "g: q = Conv(z, w)",
    ]
    graph = build(nodes, {"w": (4, 4, 1, 1), "d": (4, 1, 1, 1)}, ["p", "q"])
    assert [node.name for node in straight_readers(graph)] == ["b"]
