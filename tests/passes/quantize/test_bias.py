from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.oracles import run
from tests.passes.feeding import Pictures, context, drawn, whole_graph
from tests.passes.graphs import build
from yocc.analysis.quant_params import QuantParams, range_params, weight_params
from yocc.compiler.graph import Graph, clone, refresh, to_proto, verify
from yocc.compiler.pipeline.target import TensorScheme
from yocc.passes.quantize.bias import correct_biases
from yocc.rewrites.qdq import insert_qdq

COARSE = dataclasses.replace(whole_graph().weights, bits=4)
LAYERS = {
    "Conv": (["c: y = Conv(x, w, b)"], {"w": (6, 4, 3, 3), "b": (6,)}, 0),
    "Conv without bias": (["c: y = Conv(x, w)"], {"w": (6, 4, 3, 3)}, 0),
    "ConvTranspose": (["c: y = ConvTranspose(x, w, b)"], {"w": (4, 6, 2, 2), "b": (6,)}, 1),
    "Gemm": (["f: f = Flatten(x)", "c: y = Gemm<transB=1>(f, w, b)"], {"w": (6, 256), "b": (6,)}, 0),
    "Gemm with a bias row": (["f: f = Flatten(x)", "c: y = Gemm<transB=1>(f, w, b)"], {"w": (6, 256), "b": (1, 6)}, 0),
    "Gemm with one bias": (["f: f = Flatten(x)", "c: y = Gemm<transB=1>(f, w, b)"], {"w": (6, 256), "b": (1,)}, 0),
    "Gemm with half of its bias": (
        ["f: f = Flatten(x)", "c: y = Gemm<transB=1, beta=0.5>(f, w, b)"],
        {"w": (6, 256), "b": (6,)},
        0,
    ),
}


def quantized(graph: Graph, axis: int) -> tuple[dict[str, QuantParams], dict[tuple[str, int], QuantParams]]:
    node = next(node for node in graph.nodes if node.name == "c")
    tensors = {node.inputs[0].name: range_params(0.0, 1.0, TensorScheme(signed=False, symmetric=False))}
    return tensors, {("c", 1): weight_params(node.inputs[1].values, axis, COARSE)}


def mean_error(graph: Graph, exact: Graph, axis: int, feeds: Pictures) -> float:
    """Largest mean error of a channel between the quantized graph and the float one it came from."""
    pairs = clone(graph)
    insert_qdq(pairs, *quantized(pairs, axis))
    refresh(pairs)
    assert verify.problems(pairs) == []
    errors = [run(to_proto(pairs), arrays)["y"] - run(to_proto(exact), arrays)["y"] for arrays in feeds]
    mean = np.mean(errors, axis=0)
    return float(np.abs(mean.mean(axis=tuple(i for i in range(mean.ndim) if i != 1))).max())


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
@pytest.mark.parametrize("name", LAYERS)
def test_the_mean_error_of_each_channel_is_taken_out(name: str, opset: int) -> None:
    lines, weights, axis = LAYERS[name]
    graph = build(lines, weights, ["y"], opset=opset)
    exact = clone(graph)
    feeds = drawn(to_proto(graph), 8)
    before = mean_error(graph, exact, axis, feeds)
    assert correct_biases(graph, ["c"], *quantized(graph, axis), feeds, context()) == 1
    refresh(graph)
    after = mean_error(graph, exact, axis, feeds)
    assert before > 1e-3
    assert after < 1e-4


@pytest.mark.parametrize("name", ["Conv", "Gemm"])
def test_a_second_correction_repeats_the_first(name: str) -> None:
    """The error is measured against the graph as it is, bias and all, so that it does not depend on the bias."""
    lines, weights, axis = LAYERS[name]
    graph = build(lines, weights, ["y"])
    feeds = drawn(to_proto(graph), 8)
    biases = [bias_of(graph)]
    for _ in range(2):
        correct_biases(graph, ["c"], *quantized(graph, axis), feeds, context())
        refresh(graph)
        biases.append(bias_of(graph))
    np.testing.assert_allclose(biases[2] - biases[1], biases[1] - biases[0], atol=1e-4)


def bias_of(graph: Graph) -> np.ndarray:
    return np.array(next(node for node in graph.nodes if node.name == "c").inputs[2].values)


def test_a_layer_without_bias_gets_one() -> None:
    lines, weights, axis = LAYERS["Conv without bias"]
    graph = build(lines, weights, ["y"])
    correct_biases(graph, ["c"], *quantized(graph, axis), drawn(to_proto(graph)), context())
    assert bias_of(graph).shape == (6,)
    assert bias_of(graph).dtype == np.float32


@pytest.mark.parametrize(
    ("line", "weights"),
    [
        ("c: y = MatMul(x, w)", {"w": (8, 6)}),
        ("c: y = Conv(x, w, computed)", {"w": (6, 4, 1, 1)}),
    ],
)
def test_layers_whose_bias_cannot_be_changed_are_passed_over(line: str, weights: dict[str, tuple[int, ...]]) -> None:
    lines = ["r: computed = Relu(raw)", line] if "computed" in line else [line]
    graph = build(lines, {**weights, "raw": (6,)}, ["y"])
    before = to_proto(graph).SerializeToString(deterministic=True)
    assert correct_biases(graph, ["c"], *quantized(graph, 0), drawn(to_proto(graph)), context()) == 0
    assert to_proto(graph).SerializeToString(deterministic=True) == before


def test_errors_of_one_layer_are_not_counted_again_in_the_next() -> None:
    """Behind a layer whose outputs are all shifted by quantization, an exact layer needs no correction."""
    lines = ["c: a = Conv(x, w)", "r: b = Relu(a)", "d: y = Conv(b, v, e)"]
    graph = build(lines, {"w": (6, 4, 3, 3), "v": (5, 6, 1, 1), "e": (5,)}, ["y"])
    before = np.array(graph.nodes[2].inputs[2].values)
    correct_biases(graph, ["c", "d"], *quantized(graph, 0), drawn(to_proto(graph)), context())
    np.testing.assert_allclose(graph.nodes[2].inputs[2].values, before, atol=1e-6)
    assert np.abs(bias_of(graph)).max() > 1e-3


def test_without_quantized_activations_only_what_the_weights_change_is_taken_out() -> None:
    """Nagel et al. 2019: the change of the weights times the mean inputs."""
    lines, weights, axis = LAYERS["Conv"]
    graph = build(lines, weights, ["y"])
    node = next(node for node in graph.nodes if node.name == "c")
    weight, bias = node.inputs[1].values, node.inputs[2].values
    params = weight_params(weight, axis, COARSE)
    middle = float(params.zero_point.flat[0])
    change = (params.quantize(weight, COARSE) - middle) * params.scale.reshape(-1, 1, 1, 1) - weight
    feeds = drawn(to_proto(graph), 8)
    mean = np.mean([arrays["x"] for arrays in feeds], axis=0)[0]
    places = [(y, x) for y in range(6) for x in range(6)]
    windows = np.mean([mean[:, y : y + 3, x : x + 3] for y, x in places], axis=0)
    assert correct_biases(graph, ["c"], {}, {("c", 1): params}, feeds, context()) == 1
    corrected = next(node for node in graph.nodes if node.name == "c").inputs[2].values
    np.testing.assert_allclose(corrected, bias - np.einsum("oikl,ikl->o", change, windows), atol=1e-5)


def test_subgraphs_read_the_quantized_tensors_of_the_graph_around_them() -> None:
    branches = (
        "then_branch = t () => (float[1,6,6,6] t) { t = Relu(b) }, "
        "else_branch = e () => (float[1,6,6,6] e) { n = Neg(b) e = Abs(n) }"
    )
    lines = ["c: a = Conv(x, w, u)", "r: b = Relu(a)", f"i: d = If(k) <{branches}>", "l: y = Conv(d, v, e0)"]
    weights = {"w": (6, 4, 3, 3), "u": (6,), "k": np.array(True), "v": (5, 6, 1, 1), "e0": (5,)}
    graph = build(lines, weights, ["y"])
    scheme = TensorScheme(signed=False, symmetric=False)
    tensors = {"x": range_params(0.0, 1.0, scheme), "b": range_params(0.0, 2.0, scheme)}
    before = np.array(graph.nodes[3].inputs[2].values)
    assert correct_biases(graph, ["c", "l"], tensors, {}, drawn(to_proto(graph)), context()) == 2
    assert not np.array_equal(graph.nodes[3].inputs[2].values, before)
