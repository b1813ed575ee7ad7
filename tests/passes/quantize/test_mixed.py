from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import onnx
import pytest

from tests.passes.feeding import Trial, run_pass, smooth, whole_graph
from tests.passes.graphs import build
from yocc.analysis.quant_params import range_params
from yocc.compiler.graph import Graph, clone, load, refresh, to_proto
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import Detection
from yocc.compiler.pipeline.target import Target, TensorScheme
from yocc.errors import OptionError
from yocc.models.yolov5 import Scale, build_yolov5
from yocc.passes.quantize import Quantize
from yocc.passes.quantize.mixed import (
    CODED_TIME,
    Unit,
    measured,
    modeled_time,
    output_errors,
    units,
    until_kept,
    within_time,
)
from yocc.passes.quantize.placement import place
from yocc.passes.quantize.weights import quantize_weights
from yocc.runtime.backends.onnxruntime import reference_executor

COARSE = dataclasses.replace(
    Target("inputs"),
    activations=TensorScheme(bits=5, signed=False, symmetric=False),
    weights=TensorScheme(bits=4, per_channel=True),
)


@cache
def model() -> onnx.ModelProto:
    """Eight layers of different importance, two of which read one tensor."""
    nodes = [
        "stem: a = Conv(x, w0, b0)",
        "relu: b = Relu(a)",
        "left: c = Conv(b, w1, b1)",
        "right: d = Conv(b, w2, b2)",
        "sigmoid: s = Sigmoid(c)",
        "gate: e = Mul(c, s)",
        "join: f = Concat<axis=1>(e, d)",
        "deep: g = Conv(f, w3, b3)",
        "relu2: h = Relu(g)",
        "deeper: i = Conv(h, w4, b4)",
        "relu3: j = Relu(i)",
        "wide: k = Conv(j, w5, b5)",
        "relu4: m = Relu(k)",
        "last: y = Conv(m, w6, b6)",
    ]
    shapes = {0: (8, 4), 1: (8, 8), 2: (8, 8), 3: (16, 16), 4: (16, 16), 5: (16, 16), 6: (8, 16)}
    weights: dict[str, object] = {f"w{place}": (*shape, 1, 1) for place, shape in shapes.items()}
    weights |= {f"b{place}": (shape[0],) for place, shape in shapes.items()}
    return to_proto(build(nodes, weights, ["y"]))


@cache
def detector() -> onnx.ModelProto:
    return build_yolov5(Scale(depth=0.33, width=0.125), classes=3, size=64, batch_norm="fused", decoded=False)


def context(target: Target, judged: list[float] | None = None) -> Trial:
    ctx = Trial(target, smooth(model(), 4), reference_executor(threads=1))
    if judged is not None:
        answers = iter(judged)
        ctx.judge = lambda *_: next(answers)
    return ctx


def quantized(ctx: Trial, **options: object) -> Graph:
    graph = load(model())
    ctx.origin = "quantize"
    run_pass(Quantize(bias_correction="none", **options), graph, ctx)
    refresh(graph)
    return graph


def quantized_layers(graph: Graph) -> set[str]:
    return {
        node.name
        for node in graph.nodes
        if node.op == "Conv" and node.inputs[1].inputs and node.inputs[1].inputs[0].op == "DequantizeLinear"
    }


UNITS = [Unit((name,), (), 0.1 * place, 1.0 / place) for place, name in enumerate("abcd", 1)]


def test_every_layer_is_in_one_unit_and_times_are_shares() -> None:
    graph = load(model())
    placement = place(graph, whole_graph())
    found = units(graph, placement, concrete_shapes(graph, {}))
    names = [name for unit in found for name in unit.layers]
    assert sorted(names) == sorted(placement.layers)
    assert 0.5 < sum(unit.time for unit in found) < 1
    assert {"left", "right"} in [set(unit.layers) for unit in found]
    for unit in found:
        (read,) = {node.inputs[0].name for node in graph.nodes if node.name in unit.layers}
        assert unit.tensors[0] == read


def test_time_is_modeled_from_what_stays_float() -> None:
    assert modeled_time(UNITS, frozenset("abcd")) == 1
    assert modeled_time(UNITS, frozenset()) == pytest.approx(CODED_TIME)
    assert modeled_time(UNITS, frozenset("ad")) == pytest.approx(0.75)


@pytest.mark.parametrize(("most", "kept"), [(0.5, ""), (0.55, "a"), (0.65, "ab"), (1.0, "abcd"), (0.2, "")])
def test_a_time_is_kept_by_the_choice_of_least_error(most: float, kept: str) -> None:
    assert within_time(UNITS, most) == set(kept)


def test_a_drop_is_kept_with_no_more_float_than_it_takes() -> None:
    def drop(kept: frozenset[str]) -> float:
        return sum(unit.error for unit in UNITS if unit.layers[0] not in kept)

    assert until_kept(UNITS, 9.0, drop) == (frozenset(), pytest.approx(drop(frozenset())))
    kept, lost = until_kept(UNITS, 0.6, drop)
    assert lost <= 0.6
    assert kept == {"a", "b"}
    assert until_kept(UNITS, 0.0, drop) == (frozenset("abcd"), 0)


def test_a_drop_nothing_keeps_leaves_all_float_and_says_so() -> None:
    assert until_kept(UNITS, 0.1, lambda _: 0.5) == (frozenset("abcd"), 0.5)
    ctx = context(COARSE, judged=[0.5] * 30)
    assert quantized_layers(quantized(ctx, max_drop=0.1)) == set()
    assert any("is not reachable" in note.message for note in ctx.notes if note.level == "warning")


def test_a_promise_that_full_coding_keeps_leaves_nothing_float() -> None:
    ctx = context(COARSE, judged=[0.95])
    everything = place(load(model()), COARSE).layers
    assert quantized_layers(quantized(ctx, max_drop=0.1)) == set(everything)
    assert ctx.details["quantize"]["mixed"]["float_layers"] == []


@pytest.mark.slow
@pytest.mark.parametrize("sensitivity", ["measured", "hawq"])
@pytest.mark.parametrize("target", [COARSE, whole_graph()], ids=["inputs", "whole_graph"])
def test_layers_left_float_bring_the_outputs_nearer(target: Target, sensitivity: str) -> None:
    drops = {}
    for most in (0.5, 0.7, 1.0):
        ctx = context(target)
        graph = quantized(ctx, max_latency=most, sensitivity=sensitivity)
        facts = ctx.details["quantize"]["mixed"]
        assert not quantized_layers(graph) & set(facts["float_layers"])
        assert facts["modeled_time"] <= max(most, facts["modeled_time_all_quantized"])
        drops[most] = facts["drop"]
    assert drops[1.0] == pytest.approx(0, abs=1e-4)
    assert drops[0.7] < drops[0.5]


def test_errors_are_measured_where_gradients_are_not_known() -> None:
    unknown = onnx.ModelProto.FromString(model().SerializeToString())
    next(node for node in unknown.graph.node if node.name == "relu3").op_type = "Hardmax"
    ctx = context(COARSE)
    graph = load(unknown)
    run_pass(Quantize(max_latency=0.7, sensitivity="hawq", rounding="nearest", bias_correction="none"), graph, ctx)
    assert any("measured instead" in note.message and "Hardmax" in note.message for note in ctx.notes)
    assert ctx.details["quantize"]["mixed"]["float_layers"]


@pytest.mark.slow
def test_a_measured_promise_is_kept_on_a_real_graph() -> None:
    ctx = context(COARSE)
    quantized(ctx, max_latency=0.5)
    whole = ctx.details["quantize"]["mixed"]["drop"]
    ctx = context(COARSE)
    quantized(ctx, max_drop=whole / 2)
    facts = ctx.details["quantize"]["mixed"]
    assert facts["drop"] <= whole / 2
    assert facts["modeled_time"] < 1
    listed = [row["layer"] for row in ctx.details["quantize"]["sensitivity"]]
    assert sorted(listed) == sorted(place(load(model()), COARSE).layers)
    assert all(np.isfinite(row["score_error"]) for row in ctx.details["quantize"]["sensitivity"])


def test_score_and_box_errors_are_told_apart() -> None:
    ctx = Trial(
        COARSE, smooth(detector(), 1), reference_executor(threads=1), detection=Detection(classes=3, objectness=True)
    )
    graph = load(detector())
    placement = place(graph, COARSE)
    few = units(graph, placement, concrete_shapes(graph, {}))[-2:]
    tensors = {name: range_params(-1, 1, COARSE.activations) for unit in few for name in unit.tensors}
    weights = quantize_weights(graph, placement, tensors, ctx)
    assert ctx.feeds is not None
    for unit in measured(graph, few, tensors, weights, ctx.feeds, ctx):
        assert unit.score_error > 0
        assert unit.box_error > 0
        assert unit.score_error != unit.box_error


def test_boxes_behind_the_classes_of_a_layer_are_told_apart() -> None:
    ctx = Trial(COARSE, detection=Detection(classes=2, objectness=False, behind=4))
    exact = {"both": np.random.default_rng(0).normal(size=(1, 6, 2, 2))}
    for channel, errors in ((0, (True, False)), (5, (False, True))):
        changed = exact["both"].copy()
        changed[:, channel] += 1
        assert tuple(error > 0 for error in output_errors(exact, {"both": changed}, ctx)) == errors


def test_the_graph_measured_on_is_not_changed() -> None:
    graph = load(model())
    before = {node.name: node.inputs[1].values for node in graph.nodes if node.op == "Conv"}
    ctx = context(COARSE, judged=[1.0] * 30)
    run_pass(Quantize(max_drop=1.0), clone(graph), ctx)
    assert all(np.array_equal(node.inputs[1].values, before[node.name]) for node in graph.nodes if node.op == "Conv")


@pytest.mark.parametrize("options", [{"max_drop": -0.1}, {"max_latency": 1.5}, {"max_drop": 0.1, "max_latency": 0.7}])
def test_promises_that_cannot_be_meant_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        Quantize(**options)
