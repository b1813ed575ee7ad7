from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.networks.topologies import TOPOLOGIES
from tests.passes.feeding import run_pass, whole_graph
from tests.passes.graphs import build
from tests.strategies import RandomGraph, random_graphs
from yocc.compiler.graph import Graph, convert_opset, load, refresh
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.models.yolov5 import Scale, build_yolov5
from yocc.passes.fuse import Fuse
from yocc.passes.quantize.placement import CHOSEN, Placement, place

WHOLE = dataclasses.replace(whole_graph(), last_layers="float")
INPUTS = Target("inputs")
TARGETS = {"whole_graph": WHOLE, "inputs": INPUTS}
DETECTORS = ("yolov5", "yolov5_raw", "yolov8")


@cache
def detector(name: str) -> Graph:
    if name == "yolov8":
        graph = load(TOPOLOGIES["yolov8"](0))
        run_pass(Fuse(), graph, PassContext(WHOLE))
        refresh(graph)
        return graph
    tiny = Scale(depth=0.33, width=0.125)
    return load(build_yolov5(tiny, classes=3, size=64, batch_norm="fused", decoded=name == "yolov5"))


def quantized_tensors(placement: Placement) -> set[str]:
    return {name for group in placement.groups for name in group}


def group_of(placement: Placement, name: str) -> set[str]:
    return next((set(group) for group in placement.groups if name in group), set())


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("name", DETECTORS)
def test_last_layers_of_a_detector_and_its_decoding_stay_float(name: str, target: Target) -> None:
    graph = detector(name)
    placement = place(graph, target)
    last = [node for node, reason in placement.skipped.items() if "a last layer" in reason]
    assert len(last) == (3 if "yolov5" in name else 4)
    if "yolov5" in name:
        assert last == [f"/model.24/m.{level}/Conv" for level in range(3)]
    nodes = {node.name: node for node in graph.nodes}
    convolutions = {node.name for node in graph.nodes if node.op == "Conv"}
    assert not set(placement.layers) & set(last)
    # DFL's integral is a convolution of YOLOv8 that is no layer.
    assert set(placement.layers) | set(placement.skipped) >= convolutions
    decode = [node for node, reason in placement.skipped.items() if "decode" in reason]
    if name == "yolov5_raw":
        assert all(nodes[node].op in ("Reshape", "Transpose") for node in decode)
    else:
        assert {"Sigmoid", "Mul", "Concat"} <= {nodes[node].op for node in decode}
    tail = {tensor.name for node in decode + last for tensor in nodes[node].outputs}
    assert not quantized_tensors(placement) & tail


@pytest.mark.parametrize("name", DETECTORS)
def test_last_layers_that_are_products_get_codes_and_give_floats(name: str) -> None:
    graph = detector(name)
    placement = place(graph, whole_graph())
    products = {f"/model.24/m.{level}/Conv" for level in range(3)} if "yolov5" in name else set()
    left = {node for node, reason in placement.skipped.items() if "a last layer" in reason}
    assert (left == set()) == bool(products)
    assert set(placement.layers) >= products
    nodes = {node.name: node for node in graph.nodes}
    for layer in products:
        assert nodes[layer].inputs[0].name in quantized_tensors(placement)
        assert nodes[layer].outputs[0].name not in quantized_tensors(placement)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_whole_graph_is_quantized_without_a_gap_before_the_last_layers(name: str) -> None:
    graph = detector(name)
    placement = place(graph, WHOLE)
    expected = {tensor.name for node in graph.nodes if node.name not in placement.skipped for tensor in node.outputs}
    assert quantized_tensors(placement) == expected | {"images"}


@pytest.mark.parametrize("name", DETECTORS)
def test_only_inputs_of_layers_are_quantized_where_the_target_wants_that(name: str) -> None:
    graph = detector(name)
    placement = place(graph, INPUTS)
    nodes = {node.name: node for node in graph.nodes}
    assert quantized_tensors(placement) == {nodes[layer].inputs[0].name for layer in placement.layers}


def test_concat_pooling_and_nearest_resize_share_one_scale() -> None:
    graph = detector("yolov5")
    placement = place(graph, WHOLE)
    shared = [
        node for node in graph.nodes if node.op in ("Concat", "MaxPool", "Resize") and "model.24" not in node.name
    ]
    assert {node.op for node in shared} == {"Concat", "MaxPool", "Resize"}
    for node in shared:
        data = node.inputs if node.op == "Concat" else node.inputs[:1]
        assert {tensor.name for tensor in data} <= group_of(placement, node.outputs[0].name)


def test_each_tensor_is_in_one_group_and_groups_are_no_larger_than_they_must_be() -> None:
    graph = detector("yolov5")
    placement = place(graph, WHOLE)
    names = [name for group in placement.groups for name in group]
    assert len(names) == len(set(names))
    alone = [group for group in placement.groups if len(group) == 1]
    assert len(alone) > len(placement.groups) / 2
    assert group_of(placement, "images") == {"images"}


def split_graph() -> Graph:
    lines = [
        "c: a = Conv(x, w)",
        "s: b, d = Split<axis=1>(a, sizes)",
        "e: f = Conv(b, v)",
        "g: h = Conv(d, u)",
        "j: i = Concat<axis=1>(f, h)",
        "k: y = Conv(i, t)",
    ]
    weights = {"w": (4, 4, 1, 1), "v": (4, 2, 1, 1), "u": (4, 2, 1, 1), "t": (4, 8, 1, 1), "sizes": [2, 2]}
    graph = build(lines, weights, ["y"])
    refresh(graph)
    return graph


def test_split_shares_a_scale_where_the_target_moves_codes_through_it() -> None:
    graph = split_graph()
    assert group_of(place(graph, WHOLE), "a") == {"a", "b", "d"}
    assert group_of(place(graph, WHOLE), "i") == {"f", "h", "i"}
    without = dataclasses.replace(WHOLE, shared_scale_ops=WHOLE.shared_scale_ops - {"Split"})
    assert group_of(place(graph, without), "a") == {"a"}


def test_what_the_target_cannot_compute_stays_float_and_says_so() -> None:
    graph = split_graph()
    placement = place(graph, dataclasses.replace(WHOLE, int8_ops=WHOLE.int8_ops - {"Conv"}))
    assert placement.layers == ()
    assert placement.skipped["c"] == "the target has no int8 Conv"
    graph = build(["c: a = Conv(x, w)", "t: b = Tanh(a)", "d: y = Conv(b, w)"], {"w": (4, 4, 1, 1)}, ["y"])
    refresh(graph)
    placement = place(graph, WHOLE)
    assert placement.skipped["t"] == "the target has no int8 Tanh"
    assert quantized_tensors(placement) == {"x", "a"}
    assert "t" not in place(graph, INPUTS).skipped


def test_an_interpolating_resize_stays_float() -> None:
    lines = ["c: a = Conv(x, w)", 'r: b = Resize<mode="linear">(a, , scales)', "d: e = Conv(b, w)", "f: y = Conv(e, w)"]
    graph = build(lines, {"w": (4, 4, 1, 1), "scales": np.array([1, 1, 2, 2], np.float32)}, ["y"])
    refresh(graph)
    placement = place(graph, WHOLE)
    assert placement.skipped["r"] == "it interpolates, which makes new values"
    assert group_of(placement, "a") == {"a"}
    assert group_of(placement, "b") == {"b"}


def test_scales_bounds_and_biases_are_never_quantized() -> None:
    """They are float tensors that a node reads, and their values are no activations."""
    lines = [
        "n: bias = Neg(raw_bias)",
        "c: a = Conv(x, w, bias)",
        "s: scales = Abs(raw_scales)",
        "r: b = Resize(a, , scales)",
        "m: least = Abs(raw_least)",
        "l: d = Clip(b, least)",
        "e: y = Conv(d, w)",
    ]
    weights = {
        "w": (4, 4, 1, 1),
        "raw_bias": (4,),
        "raw_scales": np.array([1, 1, 2, 2], np.float32),
        "raw_least": np.array(0, np.float32),
    }
    graph = build(lines, weights, ["y"])
    refresh(graph)
    for target in TARGETS.values():
        assert not quantized_tensors(place(graph, target)) & {"bias", "scales", "least"}
    assert quantized_tensors(place(graph, WHOLE)) == {"x", "a", "b", "d"}


def test_layers_that_are_not_float32_are_left_alone() -> None:
    lines = ["h: a = Cast<to=10>(x)", "c: b = Conv(a, w)", "f: d = Cast<to=1>(b)", "e: y = Conv(d, v)"]
    weights = {"w": np.ones((4, 4, 1, 1), np.float16), "v": (4, 4, 1, 1)}
    graph = build(lines, weights, ["y"])
    refresh(graph)
    for target in TARGETS.values():
        placement = place(graph, target)
        assert placement.skipped["c"] == "its weight is float16, not float32"
        assert not quantized_tensors(placement) & {"a", "b"}


def test_a_weight_computed_at_run_time_stays_float() -> None:
    lines = ["r: v = Relu(w)", "c: a = Conv(x, v)", "d: y = Conv(a, w)"]
    graph = build(lines, {"w": (4, 4, 1, 1)}, ["y"])
    refresh(graph)
    assert place(graph, WHOLE).skipped["c"] == "its weight is computed at run time"


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=random_graphs())
def test_rules_that_hold_for_every_graph(target: Target, spec: RandomGraph) -> None:
    graph = convert_opset(load(spec.build()), 13)
    refresh(graph)
    placement = place(graph, target)
    tensors, quantized = graph.tensors(), quantized_tensors(placement)
    assert not quantized & {tensor.name for tensor in graph.outputs}
    assert all(tensors[name].dtype == np.float32 for name in quantized)
    for node in graph.nodes:
        if node.name in placement.layers:
            assert node.op in target.int8_ops & WEIGHTED
            assert node.name not in placement.skipped
        elif node.op in WEIGHTED:
            assert placement.skipped[node.name]
    touching = target.int8_ops | target.shared_scale_ops
    for name in quantized:
        users = [*tensors[name].inputs, *tensors[name].outputs]
        assert any(user.op in touching and user.name not in placement.skipped for user in users)
    assert place(graph, target) == placement


def test_additions_code_what_no_layer_adds_up_itself() -> None:
    nodes = [
        "a: p = Conv(x, w1)",
        "r: q = Relu(p)",
        "b: s = Conv(q, w2)",
        "add: t = Add(q, s)",
        "c: u = Conv(x, w3)",
        "d: v = Conv(t, w4)",
        "sum: o = Add(u, v)",
        "last: y = Conv(o, w5)",
    ]
    graph = build(nodes, {f"w{number}": (4, 4, 1, 1) for number in range(1, 6)}, ["y"])
    plain, added = (place(graph, dataclasses.replace(INPUTS, added_inputs=wish)) for wish in ("float", "quantize"))
    # `s` and `v` are written by the layers their additions are fused into.
    assert quantized_tensors(added) - quantized_tensors(plain) == {"u"}
    assert {"q", "t"} <= quantized_tensors(plain)
    assert not {"s", "v"} & quantized_tensors(added)


def test_residual_branches_behind_an_activation_are_quantized_on_both_sides() -> None:
    graph = detector("yolov5")
    added = quantized_tensors(place(graph, dataclasses.replace(INPUTS, added_inputs="quantize")))
    sums = [node for node in graph.nodes if node.op == "Add" and "/m/" in node.name]
    assert sums
    assert all({tensor.name for tensor in node.inputs} <= added for node in sums)


def test_scales_are_shared_through_tensors_without_codes_where_the_target_wants_that() -> None:
    nodes = [
        "a: p = Relu(x)",
        "up: q = Concat<axis = 1>(p, x)",
        "b: r = Concat<axis = 1>(p, p)",
        "c: s = Conv(q, w1)",
        "d: t = Conv(r, w2)",
        "add: u = Add(s, t)",
        "last: y = Conv(u, w3)",
    ]
    graph = build(nodes, {"w1": (4, 8, 1, 1), "w2": (4, 8, 1, 1), "w3": (4, 4, 1, 1)}, ["y"])
    assert group_of(place(graph, INPUTS), "q") == {"q"}
    connected = place(graph, dataclasses.replace(INPUTS, scale_sharing="connected"))
    assert group_of(connected, "q") == {"q", "r"}
    assert group_of(connected, "u") == set()


@pytest.mark.parametrize(
    ("channels", "outputs", "thin"),
    [(3, 16, True), (8, 16, False), (16, 8, False), (8, 8, True), (12, 64, True), (16, 16, False), (15, 15, True)],
)
def test_layers_too_thin_to_pay_stay_float(channels: int, outputs: int, thin: bool) -> None:
    nodes = ["c: p = Conv(x, w)", "last: y = Conv(p, v)"]
    weights = {"w": (outputs, channels, 1, 1), "v": (16, outputs, 1, 1)}
    graph = build(nodes, weights, ["y"], [1, channels, 8, 8])
    left = place(graph, dataclasses.replace(INPUTS, least_channels=16)).skipped
    assert ("16 channels" in left.get("c", "")) == thin


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_layer_kept_float_takes_with_it_what_only_it_reads_and_makes(target: Target) -> None:
    nodes = [
        "one: a = Conv(x, w1)",
        "relu: b = Relu(a)",
        "two: c = Conv(b, w2)",
        "sigmoid: s = Sigmoid(c)",
        "gate: d = Mul(c, s)",
        "three: e = Conv(d, w3)",
        "last: y = Conv(e, w4)",
    ]
    weights = {f"w{place}": (4, 4, 1, 1) for place in range(1, 5)}
    graph = build(nodes, weights, ["y"])
    refresh(graph)
    before = quantized_tensors(place(graph, target))
    kept = place(graph, target, {"two"})
    after = quantized_tensors(kept)
    assert "two" not in kept.layers
    assert kept.skipped["two"] == CHOSEN
    # Layer `one` computes its Relu too, and what it writes is quantized in any case.
    assert before - after == ({"c", "s"} if target is WHOLE else {"b"})
    assert {"d"} & before <= after


@pytest.mark.parametrize(
    ("outputs", "more", "between"),
    [(["y"], [], False), (["y", "a"], [], True), (["y", "z"], ["other: z = Conv(a, w2)"], True)],
)
def test_what_only_a_relu_reads_is_quantized_behind_it(outputs: list[str], more: list[str], between: bool) -> None:
    nodes = [
        "one: a = Conv(x, w1)",
        "relu: b = Relu(a)",
        "two: c = Conv(b, w2)",
        "sum: d = Add(c, b)",
        "relu2: e = Relu(d)",
        "last: y = Conv(e, w3)",
        *more,
    ]
    graph = build(nodes, {f"w{place}": (4, 4, 1, 1) for place in range(1, 4)}, outputs)
    refresh(graph)
    found = quantized_tensors(place(graph, WHOLE))
    assert {"b", "e"} <= found
    assert "d" not in found
    assert ("a" in found) == (between and "a" not in outputs)
    if outputs == ["y"]:
        assert found == {"x", "b", "c", "e"}


@pytest.mark.parametrize("constant", [True, False])
def test_what_only_a_clip_with_constant_bounds_reads_is_quantized_behind_it(*, constant: bool) -> None:
    nodes = ["one: a = Conv(x, w1)", "clip: b = Clip(a, l, h)", "two: y = Conv(b, w2)"]
    weights: dict[str, Any] = {"w1": (4, 4, 1, 1), "w2": (4, 4, 1, 1), "l": np.float32(-0.2), "h": np.float32(6)}
    if not constant:
        nodes.insert(1, "most: h = ReduceMax<keepdims=0>(a)")
        del weights["h"]
    graph = build(nodes, weights, ["y"])
    refresh(graph)
    found = quantized_tensors(place(graph, dataclasses.replace(WHOLE, int8_ops=WHOLE.int8_ops | {"Clip"})))
    assert ("a" in found) == (not constant)
    assert "b" in found


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=random_graphs(max_steps=10))
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_keeping_every_layer_float_leaves_no_weight_quantized_and_adds_no_code(
    target: Target, spec: RandomGraph
) -> None:
    graph = convert_opset(load(spec.build()), 13)
    refresh(graph)
    whole = place(graph, target)
    none = place(graph, target, set(whole.layers))
    assert none.layers == ()
    assert quantized_tensors(none) <= quantized_tensors(whole)
