from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

from tests.networks.topologies import TOPOLOGIES
from tests.oracles import run
from tests.passes.feeding import Pictures, context, drawn, run_pass, whole_graph
from tests.passes.graphs import build
from tests.samples import strange_model
from tests.strategies import RandomGraph, random_graphs
from yocc.analysis.observers import OBSERVERS
from yocc.compiler.graph import Graph, convert_opset, load, refresh, to_proto, verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target, TensorScheme
from yocc.errors import CalibrationError, OptionError
from yocc.models.yolov5 import Scale, build_yolov5
from yocc.passes.fuse import Fuse
from yocc.passes.quantize import Quantize

WHOLE = whole_graph()
FLOAT_LAST = dataclasses.replace(WHOLE, last_layers="float")
INPUTS = Target("inputs")
SIXTEEN = dataclasses.replace(WHOLE, activations=TensorScheme(bits=16, signed=False, symmetric=False))
TARGETS = {"whole_graph": WHOLE, "inputs": INPUTS}


def prepared(model: onnx.ModelProto, target: Target = WHOLE) -> tuple[Graph, PassContext]:
    graph = load(model)
    ctx = context(target, drawn(model))
    graph = convert_opset(graph, Quantize().min_opset(ctx))
    run_pass(Fuse(), graph, ctx)
    refresh(graph)
    return graph, ctx


def quantized(graph: Graph, ctx: PassContext, quantize: Quantize | None = None) -> Graph:
    quantize = quantize or Quantize()
    quantize.requires(graph, ctx)
    ctx.origin = "quantize"
    run_pass(quantize, graph, ctx)
    quantize.ensures(graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    return graph


def signal_to_noise(exact: onnx.ModelProto, quantized: onnx.ModelProto, feeds: Pictures) -> float:
    """The worst output's signal-to-noise ratio in dB, its mean taken out of the signal."""
    worst = np.inf
    results = [(run(exact, arrays), run(quantized, arrays)) for arrays in feeds]
    for name in results[0][0]:
        signal = np.stack([a[name] for a, _ in results]).astype(np.float64)
        noise = np.stack([b[name] for _, b in results]) - signal
        power = np.square(signal - signal.mean()).mean()
        if power > 1e-12 * max(np.square(signal).mean(), 1e-12):
            worst = min(worst, 10 * np.log10(power / max(np.square(noise).mean(), 1e-30)))
    return float(worst)


def detector() -> onnx.ModelProto:
    return build_yolov5(Scale(depth=0.33, width=0.125), classes=3, size=64)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=random_graphs(max_steps=8))
def test_a_quantized_random_graph_stays_close_to_what_it_was(target: Target, spec: RandomGraph) -> None:
    graph, ctx = prepared(spec.build(), target)
    exact = to_proto(graph)
    quantized(graph, ctx)
    assert signal_to_noise(exact, to_proto(graph), ctx.feeds) > 12


@pytest.mark.slow
@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("name", ["residual", "c2f", "unet", "yolov8", "inverted_residual", "squeeze_excite_gemm"])
def test_a_quantized_topology_stays_close(name: str, target: Target, observer: str) -> None:
    graph, ctx = prepared(TOPOLOGIES[name](0), target)
    exact = to_proto(graph)
    quantized(graph, ctx, Quantize(observer=observer))
    # The divergence weighs how often values are, not how large: it cuts tails that squared errors would keep.
    # A mean of extremes cuts off what half of the pictures hold.
    limit = {"entropy": 10, "average": 16}.get(observer, 20)
    assert signal_to_noise(exact, to_proto(graph), ctx.feeds) > limit


def test_sixteen_bits_are_much_closer_than_eight() -> None:
    found = {}
    for bits, target in (
        (8, WHOLE),
        (16, dataclasses.replace(SIXTEEN, weights=TensorScheme(bits=16, per_channel=True), bias="float")),
    ):
        graph, ctx = prepared(TOPOLOGIES["residual"](0), target)
        exact = to_proto(graph)
        quantized(graph, ctx, Quantize(observer="minmax"))
        assert graph.opset >= (21 if bits == 16 else 13)
        found[bits] = signal_to_noise(exact, to_proto(graph), ctx.feeds)
    assert found[16] > found[8] + 30


@pytest.mark.slow
def test_the_detector_keeps_its_head_float() -> None:
    graph, ctx = prepared(detector(), FLOAT_LAST)
    exact = to_proto(graph)
    quantized(graph, ctx)
    layers = [node for node in graph.nodes if node.op == "Conv"]
    int8 = [node for node in layers if node.inputs[1].inputs and node.inputs[1].inputs[0].op == "DequantizeLinear"]
    assert len(layers) - len(int8) == 3
    assert all(node.inputs[2].inputs[0].inputs[0].dtype == np.int32 for node in int8)
    assert signal_to_noise(exact, to_proto(graph), ctx.feeds) > 20


@pytest.mark.slow
def test_last_layers_that_are_products_keep_float_outputs() -> None:
    graph, ctx = prepared(detector())
    exact = to_proto(graph)
    quantized(graph, ctx)
    last = [node for node in graph.nodes if node.name in {f"/model.24/m.{level}/Conv" for level in range(3)}]
    assert [node.inputs[1].inputs[0].op for node in last] == ["DequantizeLinear"] * 3
    assert {reader.op for node in last for reader in node.outputs[0].outputs} == {"Reshape"}
    assert signal_to_noise(exact, to_proto(graph), ctx.feeds) > 20


@pytest.mark.slow
def test_notes_name_everything_that_stays_float() -> None:
    graph, ctx = prepared(detector(), FLOAT_LAST)
    quantized(graph, ctx)
    noted = {note.node: note.message for note in ctx.notes if note.message.startswith("Stays float")}
    details = ctx.details["quantize"]
    assert noted == {name: f"Stays float: {reason}." for name, reason in details["skipped"].items()}
    assert sum("a last layer" in message for message in noted.values()) == 3
    weighted = {node.name for node in graph.nodes if node.op in ("Conv", "Gemm", "MatMul", "ConvTranspose")}
    assert weighted == set(details["layers"]) | (weighted & set(noted))


def test_details_state_ranges_and_pictures() -> None:
    graph, ctx = prepared(TOPOLOGIES["residual"](0))
    quantized(graph, ctx)
    details = ctx.details["quantize"]
    assert (details["calibration"], details["pictures"]) == ("made for a test", 4)
    image = details["tensors"]["images"]
    assert 0 <= image["low"] < image["high"] <= 1
    assert image["scale"] == pytest.approx(image["high"] / 255, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_same_pictures_give_the_same_bytes(target: Target) -> None:
    written = []
    for _ in range(2):
        graph, ctx = prepared(detector(), target)
        written.append(to_proto(quantized(graph, ctx)).SerializeToString(deterministic=True))
    assert written[0] == written[1]


def test_biases_fit_int32_behind_channels_of_zeros() -> None:
    """A dead channel has the smallest scale there is, and its bias would overflow at it."""
    graph = build(
        ["c: a = Conv(x, w, b)", "r: e = Relu(a)", "d: y = Conv(e, v)"],
        {"w": np.zeros((4, 4, 1, 1), np.float32), "b": np.full(4, 3e4, np.float32), "v": (4, 4, 1, 1)},
        ["y"],
    )
    refresh(graph)
    exact = to_proto(graph)
    ctx = context(WHOLE, drawn(exact))
    quantized(graph, ctx)
    arrays = next(iter(ctx.feeds))
    a, b = run(exact, arrays)["y"], run(to_proto(graph), arrays)["y"]
    np.testing.assert_allclose(b, a, rtol=0.02, atol=200)


@pytest.mark.slow
def test_sigmoids_are_quantized_from_zero_to_one_and_pictures_whole() -> None:
    graph, ctx = prepared(TOPOLOGIES["c2f"](0))
    sigmoids = [node.outputs[0].name for node in graph.nodes if node.op == "Sigmoid"]
    quantized(graph, ctx)
    tensors = ctx.details["quantize"]["tensors"]
    assert sigmoids
    for name in sigmoids:
        assert (tensors[name]["scale"], tensors[name]["zero_point"]) == (pytest.approx(1 / 255), 0)


def test_the_input_of_a_silu_is_clipped_where_silu_is_flat() -> None:
    lines = ["c: a = Conv(x, w)", "s: b = Sigmoid(a)", "m: e = Mul(a, b)", "d: y = Conv(e, v)"]
    weight = np.diag([-20.0, 5.0, 5.0, 5.0]).astype(np.float32).reshape(4, 4, 1, 1)
    graph = build(lines, {"w": weight, "v": (4, 4, 1, 1)}, ["y"])
    refresh(graph)
    ctx = context(WHOLE, drawn(to_proto(graph)))
    quantized(graph, ctx)
    found = ctx.details["quantize"]["tensors"]["a"]
    assert found["low"] < -19
    assert -12 < -found["zero_point"] * found["scale"] < -3


def test_without_pictures_it_is_refused() -> None:
    graph = load(TOPOLOGIES["residual"](0))
    with pytest.raises(CalibrationError, match="needs pictures"):
        Quantize().requires(graph, context(WHOLE))


def test_where_no_layer_is_quantized_every_reason_is_told() -> None:
    graph = build(["c: a = Conv(x, w)", "r: y = Relu(a)"], {"w": np.ones((4, 4, 1, 1), np.float32)}, ["y"])
    refresh(graph)
    ctx = context(dataclasses.replace(WHOLE, int8_ops=frozenset({"Gemm"})), drawn(to_proto(graph)))
    result = Quantize().run(graph, ctx)
    (warned,) = (note.message for note in ctx.notes if note.level == "warning")
    assert result.rewrites == 0
    reason = result.skipped["c"]
    assert warned == f"No layer of this model can compute in int8: {reason}, 'c' for one."


def test_an_unknown_observer_is_refused() -> None:
    with pytest.raises(OptionError, match="no observer 'guess'"):
        Quantize(observer="guess")


def test_a_model_without_layers_stays_float_with_a_warning() -> None:
    graph = build(["r: a = Relu(x)", "s: y = Sigmoid(a)"], {}, ["y"])
    refresh(graph)
    before = to_proto(graph).SerializeToString(deterministic=True)
    ctx = context(WHOLE, drawn(to_proto(graph)))
    assert run_pass(Quantize(), graph, ctx) == 0
    assert [note.message for note in ctx.notes if note.level == "warning"] == [
        "No layer of this model can compute in int8."
    ]
    assert to_proto(graph).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("option", ["rounding", "bias_correction", "sensitivity"])
def test_a_choice_that_is_none_is_refused(option: str) -> None:
    with pytest.raises(OptionError, match=f"no {option}=guess"):
        Quantize(**{option: "guess"})


def test_a_constant_tensor_is_warned_of() -> None:
    graph, ctx = prepared(TOPOLOGIES["residual"](0))
    zeros = {name: np.zeros_like(values) for name, values in next(iter(ctx.feeds)).items()}
    ctx.feeds = Pictures([zeros])
    quantized(graph, ctx)
    warned = [note for note in ctx.notes if note.level == "warning"]
    assert ("images", True) in {(note.node, "constant at 0" in note.message) for note in warned}


@pytest.mark.slow
def test_bias_correction_can_be_left_out_and_brings_the_mean_nearer() -> None:
    errors = {}
    for correct in ("none", "analytic", "empirical"):
        graph, ctx = prepared(detector())
        exact = to_proto(graph)
        quantized(graph, ctx, Quantize(bias_correction=correct, rounding="nearest"))
        layers = [node for node in graph.nodes if node.op == "Conv" and node.name.startswith("/model.24/m.")]
        last = [node.outputs[0].name for node in layers]
        means = []
        for arrays in ctx.feeds or ():
            a, b = run(exact, arrays, taps=last), run(to_proto(graph), arrays, taps=last)
            means.append([np.mean(b[name] - a[name], axis=(0, 2, 3)) for name in last])
        errors[correct] = float(np.square(np.concatenate(np.mean(means, axis=0))).mean())
    assert errors["analytic"] < errors["none"]
    assert errors["empirical"] < errors["none"]
    assert errors["analytic"] != errors["empirical"]


@pytest.mark.parametrize("bits", [8, 16])
def test_the_opset_holds_the_codes(bits: int) -> None:
    target = WHOLE if bits == 8 else SIXTEEN
    assert Quantize().min_opset(context(target)) == (13 if bits == 8 else 21)


def test_a_model_that_does_not_run_here_stays_float_and_a_warning_says_so() -> None:
    graph = load(strange_model())
    ctx = context(whole_graph(), Pictures([{"x": np.zeros((1, 3, 16, 16), np.float32)}]))
    assert run_pass(Quantize(), graph, ctx) == 0
    (note,) = [note for note in ctx.notes if note.level == "warning"]
    assert "Nothing is quantized" in note.message
    assert "Whiten" in note.message
