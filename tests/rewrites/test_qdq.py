from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper

from tests.oracles import assert_same_function, random_feeds, run
from tests.passes.graphs import build
from tests.strategies import RandomGraph, random_graphs
from yocc.analysis.quant_params import SMALLEST_SCALE, QuantParams, range_params, weight_params
from yocc.compiler.graph import Graph, clone, convert_opset, load, refresh, to_proto, verify
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.graph.printer import print_graph
from yocc.compiler.pipeline.target import TensorScheme
from yocc.errors import InternalError
from yocc.passes.quantize.weights import _channel_axis
from yocc.rewrites.qdq import insert_qdq, quantize_bias, store_quantized, strip_qdq

WEIGHTS = TensorScheme(per_channel=True)
SCHEMES = {
    f"{'int' if signed else 'uint'}{bits}{'_symmetric' if symmetric else ''}": TensorScheme(
        bits=bits, signed=signed, symmetric=symmetric
    )
    for bits in (8, 16)
    for signed in (True, False)
    for symmetric in (True, False)
}


def quantize_linear(values: np.ndarray, params: QuantParams) -> np.ndarray:
    """Codes as onnxruntime computes them."""
    attributes = {} if params.axis is None else {"axis": params.axis}
    kind = helper.np_dtype_to_tensor_dtype(params.zero_point.dtype)
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"], **attributes)],
        "quantize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, values.shape)],
        [helper.make_tensor_value_info("y", kind, values.shape)],
        [
            onnx.numpy_helper.from_array(params.scale, "scale"),
            onnx.numpy_helper.from_array(params.zero_point, "zero"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return run(model, {"x": values})["y"]


@pytest.mark.parametrize("name", SCHEMES)
@settings(max_examples=30, deadline=None)
@given(
    values=hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(-1e3, 1e3, width=32)),
    low=st.floats(-200, 10),
    width=st.floats(0, 400),
)
def test_codes_are_those_of_onnxruntime(name: str, values: np.ndarray, low: float, width: float) -> None:
    scheme = SCHEMES[name]
    params = range_params(low, low + width, scheme)
    # The lowest signed code is left out by a symmetric scheme, but not by QuantizeLinear.
    expected = np.maximum(quantize_linear(values, params).astype(np.int64), scheme.lowest)
    np.testing.assert_array_equal(params.quantize(values, scheme).astype(np.int64), expected)


def test_halves_are_rounded_to_even() -> None:
    params = QuantParams(np.array(2.0, np.float32), np.array(0, np.int8))
    values = np.array([-5, -3, -1, 1, 3, 5, 7], np.float32)
    assert params.quantize(values, TensorScheme()).tolist() == [-2, -2, 0, 0, 2, 2, 4]
    assert quantize_linear(values, params).tolist() == [-2, -2, 0, 0, 2, 2, 4]


@pytest.mark.parametrize("name", SCHEMES)
@given(low=st.floats(-1e6, 1e6), high=st.floats(-1e6, 1e6))
def test_a_range_is_quantized_within_half_a_step_and_zero_exactly(name: str, low: float, high: float) -> None:
    scheme = SCHEMES[name]
    low, high = min(low, high), max(low, high)
    params = range_params(low, high, scheme)
    values = np.array([low, high, (low + high) / 2, 0.0], np.float32)
    back = (params.quantize(values, scheme).astype(np.float64) - params.zero_point) * params.scale
    assert back[3] == 0
    np.testing.assert_allclose(back, values, rtol=1e-5, atol=float(params.scale) * 1.01)
    assert params.scale >= SMALLEST_SCALE


@pytest.mark.parametrize("name", SCHEMES)
def test_zero_points_lie_where_the_scheme_says(name: str) -> None:
    scheme = SCHEMES[name]
    zero_point = int(range_params(-3.0, 1.0, scheme).zero_point)
    if scheme.symmetric:
        assert zero_point == (0 if scheme.signed else (scheme.highest + 1) // 2)
    else:
        assert zero_point == pytest.approx(scheme.lowest + 0.75 * (scheme.highest - scheme.lowest), abs=1)


@given(weight=hnp.arrays(np.float32, (3, 4, 2), elements=st.floats(-10, 10, width=32)), axis=st.sampled_from([0, 1, 2]))
def test_weight_scales_hold_the_largest_magnitude_of_each_channel(weight: np.ndarray, axis: int) -> None:
    params = weight_params(weight, axis, WEIGHTS)
    assert params.scale.shape == params.zero_point.shape == (weight.shape[axis],)
    largest = np.abs(np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)).max(axis=1)
    np.testing.assert_allclose(params.scale, np.maximum(largest / 127, SMALLEST_SCALE), rtol=1e-6)
    codes = params.quantize(weight, WEIGHTS)
    assert np.abs(codes.astype(int)).max() <= 127
    np.testing.assert_array_equal(codes, quantize_linear(weight, params))


def test_a_channel_of_zeros_has_a_scale() -> None:
    weight = np.zeros((2, 3, 1, 1), np.float32)
    weight[1] = 1.0
    params = weight_params(weight, 0, WEIGHTS)
    assert (params.scale > 0).all()
    assert not params.quantize(weight, WEIGHTS)[0].any()


def test_an_unsigned_weight_has_its_zero_in_the_middle() -> None:
    scheme = TensorScheme(signed=False)
    weight = np.array([[-1.0, 0.5], [0.0, 1.0]], np.float32)
    params = weight_params(weight, 0, scheme)
    assert params.zero_point.tolist() == [128, 128]
    back = (params.quantize(weight, scheme).astype(float) - 128) * params.scale[:, None]
    np.testing.assert_allclose(back, weight, atol=0.01)


def test_scales_of_a_weight_respect_their_floor() -> None:
    weight = np.ones((2, 2), np.float32)
    params = weight_params(weight, 0, WEIGHTS, floor=np.array([0.5, 0.0]))
    np.testing.assert_allclose(params.scale, [0.5, 1 / 127], rtol=1e-6)


def everything_quantized(graph: Graph) -> int:
    """Pairs behind all float activations and layer weights."""
    outputs = {tensor.name for tensor in graph.outputs}
    names = [
        name
        for name, tensor in graph.tensors().items()
        if not hasattr(tensor, "values") and tensor.dtype == np.float32 and name not in outputs
    ]
    weights = {
        (node.name, 1): weight_params(node.inputs[1].values, _channel_axis(node), WEIGHTS)
        for node in graph.nodes
        if node.op in WEIGHTED
    }
    return insert_qdq(graph, {name: range_params(-4.0, 4.0, TensorScheme()) for name in names}, weights)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=random_graphs())
def test_stripping_gives_back_what_pairs_were_put_into(spec: RandomGraph) -> None:
    graph = convert_opset(load(spec.build()), 13)
    refresh(graph)
    before = print_graph(graph)
    inserted = everything_quantized(graph)
    quantized = clone(graph)
    refresh(quantized)
    assert verify.problems(quantized) == []
    assert print_graph(quantized) != before
    assert strip_qdq(graph) == inserted
    refresh(graph)
    assert print_graph(graph) == before


def test_outputs_that_are_copies_of_a_quantized_tensor_stay_exact() -> None:
    graph = build(["i: same = Identity(x)", "c: y = Conv(x, w)"], {"w": (4, 4, 1, 1)}, ["same", "y"])
    refresh(graph)
    exact = to_proto(graph)
    params = range_params(-1.0, 1.0, TensorScheme(signed=False, symmetric=False))
    assert insert_qdq(graph, {"x": params}, {}) == 1
    refresh(graph)
    feeds = random_feeds(exact, 0)
    np.testing.assert_array_equal(run(to_proto(graph), feeds)["same"], feeds["x"])
    assert not np.array_equal(run(to_proto(graph), feeds)["y"], run(exact, feeds)["y"])


@pytest.mark.slow
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=random_graphs(max_steps=6))
def test_storing_codes_changes_no_result(spec: RandomGraph) -> None:
    graph = convert_opset(load(spec.build()), 13)
    everything_quantized(graph)
    refresh(graph)
    model = to_proto(graph)
    stored = store_quantized(graph, WEIGHTS)
    assert stored > 0
    refresh(graph)
    assert verify.problems(graph) == []
    assert_same_function(model, to_proto(graph), tolerance=0.0, feeds=random_feeds(model, 0))


LAYERS = {
    "Conv": ("y = Conv<group=1>(x, w)", (6, 4, 3, 3), 0),
    "depthwise": ("y = Conv<group=4>(x, w)", (8, 1, 3, 3), 0),
    "ConvTranspose": ("y = ConvTranspose(x, w)", (4, 6, 2, 2), 1),
    "grouped ConvTranspose": ("y = ConvTranspose<group=2>(x, w)", (4, 3, 2, 2), None),
    "Gemm": ("y = Gemm(f, w)", (256, 5), 1),
    "Gemm transposed": ("y = Gemm<transB=1>(f, w)", (5, 256), 0),
    "MatMul": ("y = MatMul(f, w)", (256, 5), 1),
    "batched MatMul": ("y = MatMul(x, w)", (4, 8, 5), None),
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_output_channel_of_a_layer_has_its_scale(name: str) -> None:
    """Channels of very different size: with scales along any other axis the small ones would drown."""
    text, shape, axis = LAYERS[name]
    graph = build(["f: f = Flatten(x)", f"l: {text}"], {"w": shape}, ["y"])
    refresh(graph)
    node = next(node for node in graph.nodes if node.name == "l")
    assert _channel_axis(node) == axis
    if axis is not None:
        sizes = 4.0 ** -np.arange(shape[axis])
        node.inputs[1].values = node.inputs[1].values * np.expand_dims(
            sizes, [i for i in range(len(shape)) if i != axis]
        ).astype(np.float32)
    weight = node.inputs[1].values
    insert_qdq(graph, {}, {("l", 1): weight_params(weight, axis, WEIGHTS)})
    store_quantized(graph, WEIGHTS)
    refresh(graph)
    assert verify.problems(graph) == []
    back = run(to_proto(graph), random_feeds(to_proto(graph), 0), taps=["w_dequantized"])["w_dequantized"]
    others = None if axis is None else tuple(index for index in range(len(shape)) if index != axis)
    step = np.abs(weight).max(axis=others, keepdims=True) / 127
    assert (np.abs(back - weight) <= 0.51 * step).all()


@pytest.mark.parametrize(("scales", "pairs"), [((1, 1), 1), ((1, 2), 2)])
def test_a_weight_that_two_layers_read_has_a_pair_for_each_coding(scales: tuple[int, int], pairs: int) -> None:
    lines = ["a: b = Conv(x, w)", "r: c = Relu(b)", "d: y = Conv(c, w)"]
    graph = build(lines, {"w": (4, 4, 1, 1)}, ["y"])
    before = print_graph(graph)
    weight = graph.tensors()["w"].values
    quant_params = {
        (name, 1): weight_params(weight * scale, 0, WEIGHTS) for name, scale in zip("ad", scales, strict=True)
    }
    assert insert_qdq(graph, {}, quant_params) == pairs
    refresh(graph)
    assert verify.problems(graph) == []
    assert len({node.inputs[1].name for node in graph.nodes if node.op == "Conv"}) == pairs
    stripped = clone(graph)
    strip_qdq(stripped)
    refresh(stripped)
    assert print_graph(stripped) == before
    assert store_quantized(graph, WEIGHTS) == pairs
    refresh(graph)
    assert verify.problems(graph) == []


def test_names_that_are_taken_are_not_taken_again() -> None:
    """Exporters call things `conv1_scale` too."""
    lines = ["a: b = Conv(x, b_codes)", "m: b_dequantized = Mul(b, b_scale)", "r: y = Relu(b_dequantized)"]
    graph = build(lines, {"b_codes": (4, 4, 1, 1), "b_scale": np.full(1, 2, np.float32)}, ["y"], opset=21)
    before = print_graph(graph)
    exact = to_proto(graph)
    names = ["b", "b_dequantized"]
    insert_qdq(graph, {name: range_params(-20, 20, TensorScheme(bits=16)) for name in names}, {})
    refresh(graph)
    assert verify.problems(graph) == []
    assert_same_function(exact, to_proto(graph), tolerance=1e-3)
    strip_qdq(graph)
    refresh(graph)
    assert print_graph(graph) == before


def test_stripping_leaves_pairs_with_several_readers_whole() -> None:
    scales = {"s": np.array(0.5, np.float32), "z": np.array(0, np.int8)}
    lines = [
        "q: c = QuantizeLinear(x, s, z)",
        "d1: a = DequantizeLinear(c, s, z)",
        "d2: b = DequantizeLinear(c, s, z)",
        "add: y = Add(a, b)",
    ]
    graph = build(lines, scales, ["y"])
    assert strip_qdq(graph) == 2
    refresh(graph)
    assert [node.op for node in graph.nodes] == ["Add"]
    assert [tensor.name for tensor in graph.nodes[0].inputs] == ["x", "x"]


def test_pairs_of_others_with_other_types_are_left_alone() -> None:
    scales = {"s": np.array(1.0, np.float32), "z": np.array(0, np.uint8), "w": np.full((4, 4, 1, 1), 200, np.float32)}
    lines = ["q: c = QuantizeLinear(w, s, z)", "d: e = DequantizeLinear(c, s, z)", "conv: y = Conv(x, e)"]
    graph = build(lines, scales, ["y"])
    assert store_quantized(graph, WEIGHTS) == 0
    without_zero = build([lines[0].replace(", z)", ")"), lines[1], lines[2]], scales, ["y"])
    assert store_quantized(without_zero, WEIGHTS) == 0


def bias_graph(bias: np.ndarray) -> Graph:
    weights = {"w": (5, 256), "b": bias}
    return build(["f: f = Flatten(x)", "l: y = Gemm<transB=1>(f, w, b)"], weights, ["y"])


def test_a_bias_becomes_int32_with_the_product_of_the_scales() -> None:
    bias = np.array([0.5, -3.0, 0.0, 1e-4, 7.25], np.float32)
    graph = bias_graph(bias)
    input_scale, weight_scale = np.array(0.01, np.float32), np.linspace(0.001, 0.005, 5).astype(np.float32)
    layer = graph.nodes[1]
    assert quantize_bias(graph, layer, input_scale, weight_scale)
    codes, scale, zero_point = layer.inputs[2].inputs[0].inputs
    assert codes.values.dtype == zero_point.values.dtype == np.int32
    np.testing.assert_array_equal(scale.values, input_scale * weight_scale)
    assert not zero_point.values.any()
    np.testing.assert_allclose(codes.values * scale.values.astype(float), bias, atol=float(scale.values.max()) / 2)
    refresh(graph)
    assert verify.problems(graph) == []


@pytest.mark.parametrize("shape", [(), (1,), (1, 5)])
def test_a_bias_that_is_no_vector_of_channels_stays_float(shape: tuple[int, ...]) -> None:
    graph = bias_graph(np.ones(shape, np.float32))
    scales = np.full(5, 0.001, np.float32)
    assert not quantize_bias(graph, graph.nodes[1], np.array(0.01, np.float32), scales)
    assert graph.nodes[1].inputs[2].name == "b"


def test_a_layer_without_bias_has_none_to_code() -> None:
    graph = build(["l: y = Conv(x, w)"], {"w": (4, 4, 1, 1)}, ["y"])
    assert not quantize_bias(graph, graph.nodes[0], np.array(1, np.float32), np.ones(4, np.float32))


def test_a_bias_beyond_int32_is_an_error_of_ours() -> None:
    graph = bias_graph(np.full(5, 1e6, np.float32))
    with pytest.raises(InternalError, match="overflows int32"):
        quantize_bias(graph, graph.nodes[1], np.array(1e-6, np.float32), np.full(5, 1e-6, np.float32))


@pytest.mark.parametrize(("readers", "quantized"), [(None, {"next", "shortcut"}), (frozenset({"next"}), {"next"})])
def test_pairs_stand_in_front_of_the_readers_they_are_for(readers: frozenset[str] | None, quantized: set[str]) -> None:
    graph = build(["first: m = Relu(x)", "next: b = Neg(m)", "shortcut: y = Add(m, b)"], {}, ["y"])
    refresh(graph)
    before = print_graph(graph)
    insert_qdq(graph, {"m": dataclasses.replace(range_params(-1.0, 1.0, TensorScheme()), readers=readers)}, {})
    pair = next(node for node in graph.nodes if node.op == "DequantizeLinear")
    assert {node.name for node in pair.outputs[0].outputs} == quantized
    assert strip_qdq(graph) == 1
    refresh(graph)
    assert print_graph(graph) == before
