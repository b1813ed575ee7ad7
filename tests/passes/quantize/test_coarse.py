from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.oracles import run
from tests.passes.feeding import context, run_pass, smooth, whole_graph
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, clone, load, refresh, to_proto
from yocc.compiler.pipeline.target import Target, TensorScheme
from yocc.passes.quantize import Quantize, coarse
from yocc.passes.quantize.coarse import TOO_COARSE

WHOLE = whole_graph()
TARGETS = {"whole_graph": WHOLE, "inputs": dataclasses.replace(Target("inputs"), activations=WHOLE.activations)}
NODES = [
    "stem: a = Conv(x, w1, b1)",
    "sigmoid: s = Sigmoid(a)",
    "gate: c = Mul(a, s)",
    "depthwise: d = Conv<group=8, pads=[1, 1, 1, 1]>(c, w2, b2)",
    "relu: e = Relu(d)",
    "wide: f = Conv(e, w3, b3)",
    "relu2: g = Relu(f)",
    "last: y = Conv(g, w4, b4)",
]


def network(largest: float) -> Graph:
    """A depthwise layer that reads eight channels, one of them so many times as large and weighted so much less."""
    random = np.random.default_rng(0)
    shapes = {"w1": (8, 4, 1, 1), "w2": (8, 1, 3, 3), "w3": (64, 8, 1, 1), "w4": (4, 64, 1, 1)}
    weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights |= {f"b{name[1]}": random.normal(size=shape[:1]).astype(np.float32) for name, shape in shapes.items()}
    weights["w1"][0] *= largest
    weights["w2"][0] /= largest
    graph = load(to_proto(build(NODES, weights, ["y"])))
    refresh(graph)
    return graph


def decibels(graph: Graph, result: Graph) -> float:
    exact, quantized = to_proto(graph), to_proto(result)
    pairs = [(run(exact, one)["y"], run(quantized, one)["y"]) for one in list(smooth(exact, 16))[8:]]
    signal, noise = (np.stack([pair[0] for pair in pairs]), np.stack([b - a for a, b in pairs]))
    return float(10 * np.log10(signal.var() / np.square(noise).mean()))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_depthwise_layer_behind_an_outlier_channel_stays_float(target: Target) -> None:
    graph = network(300.0)
    result, ctx = clone(graph), context(target, smooth(to_proto(graph), 8))
    run_pass(Quantize(), result, ctx)
    refresh(result)
    reasons = ctx.results["quantize"].skipped
    left = {name for name, reason in reasons.items() if reason == TOO_COARSE}
    assert left == ({"stem", "depthwise"} if target is WHOLE else {"depthwise"})
    assert set(ctx.details["quantize"]["coarse"]["inputs"]) == {"c"}
    assert decibels(graph, result) > 25


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_layers_whose_channels_are_alike_are_quantized(target: Target) -> None:
    graph = network(1.0)
    ctx = context(target, smooth(to_proto(graph), 8))
    run_pass(Quantize(), graph, ctx)
    assert TOO_COARSE not in ctx.results["quantize"].skipped.values()
    assert "coarse" not in ctx.details["quantize"]


def test_a_dead_channel_is_no_reason_to_leave_a_layer_float() -> None:
    graph = network(1.0)
    weights = {tensor.name: tensor for tensor in graph.tensors().values()}
    values = weights["w1"].values.copy()
    values[2:4] *= 1e-6
    weights["w1"].values = values
    ctx = context(WHOLE, smooth(to_proto(graph), 8))
    run_pass(Quantize(), graph, ctx)
    assert TOO_COARSE not in ctx.results["quantize"].skipped.values()


def test_layers_fitted_behind_a_depthwise_layer_see_its_corrected_bias() -> None:
    """What a fitted layer makes up for must not be taken out of the layer before it afterwards."""
    graph = network(1.0)
    target = dataclasses.replace(Target("inputs"), weights=TensorScheme(bits=4))
    pictures = smooth(to_proto(graph), 8)
    result = clone(graph)
    run_pass(Quantize(), result, context(target, pictures))
    refresh(result)
    exact, quantized = to_proto(graph), to_proto(result)
    pairs = [(run(exact, one)["y"], run(quantized, one)["y"]) for one in pictures]
    change = np.stack([b - a for a, b in pairs]).mean(axis=(0, 1, 3, 4))
    spread = np.stack([a for a, _ in pairs]).std(axis=(0, 1, 3, 4))
    assert np.abs(change / spread).max() < 0.05


def test_what_the_second_layer_of_a_pair_reads_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [*NODES[:5], "first: p = Conv(e, w5)", "wide: f = Conv(p, w3, b3)", *NODES[6:]]
    random = np.random.default_rng(0)
    shapes = {"w1": (8, 4, 1, 1), "w2": (8, 1, 3, 3), "w5": (3, 8, 1, 1), "w3": (64, 3, 1, 1), "w4": (4, 64, 1, 1)}
    weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights |= {f"b{n}": random.normal(size=shapes[f"w{n}"][:1]).astype(np.float32) for n in (1, 2, 3, 4)}
    graph = load(to_proto(build(nodes, weights, ["y"])))  # type: ignore[arg-type]
    refresh(graph)
    monkeypatch.setattr(coarse, "LOST", 1.0)
    monkeypatch.setattr(coarse, "LOST_STRAIGHT", 0.0)
    seen: list[str] = []

    def around(graph: Graph, name: str, *_: object) -> frozenset[str]:  # noqa: ARG001 # in place of another
        seen.append(name)
        return frozenset()

    monkeypatch.setattr(coarse, "_around", around)
    run_pass(Quantize(), graph, context(WHOLE, smooth(to_proto(graph), 8)))
    assert seen == ["p"]


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_a_convolution_writes_may_enter_a_product_along_another_axis(target: Target) -> None:
    nodes = ["stem: a = Conv(x, w1)", "product: b = MatMul(a, w2)", "relu: c = Relu(b)", "last: y = MatMul(c, w3)"]
    graph = build(nodes, {"w1": (9, 4, 1, 1), "w2": (8, 16), "w3": (16, 5)}, ["y"])
    refresh(graph)
    result, ctx = clone(graph), context(target, smooth(to_proto(graph), 8))
    run_pass(Quantize(), result, ctx)
    refresh(result)
    assert {"stem", "product"} & set(ctx.results["quantize"].layers)
    assert decibels(graph, result) > 25
