from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.networks.topologies import TOPOLOGIES
from tests.oracles import run
from tests.passes.feeding import run_pass
from tests.passes.graphs import build
from tests.passes.prune.masking import check_removal, pruned_equals_masked, random_choice
from tests.strategies import RandomGraph, random_graphs
from yocc.analysis.coupling.channels import map_channels
from yocc.compiler.graph import convert_opset, load
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.passes.prune import Prune
from yocc.passes.prune.plan import plan_pruning


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=random_graphs(), share=st.sampled_from([0.2, 0.5, 0.9]), seed=st.integers(0, 99))
def test_pruned_equals_masked_on_random_graphs(graph: RandomGraph, share: float, seed: int) -> None:
    pruned_equals_masked(graph.build(), share=share, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_pruned_equals_masked_on_every_topology(name: str, share: float) -> None:
    removed = pruned_equals_masked(TOPOLOGIES[name](seed=3), share=share, seed=5)
    assert (removed > 0) == (name != "group_norm"), "channels normalized together must stay, all others can go"


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("name", ["yolov5n", "yolov5n_bn"])
def test_pruned_equals_masked_on_the_real_detector(shared_data: Path, name: str, ratio: float) -> None:
    graph = convert_opset(load(shared_data / "models" / f"{name}.onnx"), 13)
    plan = plan_pruning(graph, PassContext(Target("test")), ratio=ratio, criterion="auto", multiple=8)
    check_removal(graph, plan.channels, plan.kept)


@pytest.mark.parametrize(
    ("node", "weights", "opset"),
    [
        ("p: z = Pad(a, pads)", {"pads": [0, 0, 0, 0, 0, 8, 0, 0]}, 17),
        ("p: z = Pad(a, pads, value)", {"pads": [0, 3, 1, 1, 0, 5, 1, 1], "value": np.float32(0.5)}, 17),
        ("p: z = Pad(a, pads, , axes)", {"pads": [3, 5], "axes": [-3]}, 18),
        ("p: z = Pad<pads = [0, 0, 0, 0, 0, 8, 0, 0]>(a)", {}, 10),
    ],
    ids=["behind", "both", "axes", "attribute"],
)
def test_channels_that_a_pad_adds_are_removed(node: str, weights: dict[str, Any], opset: int) -> None:
    pads = 1 if "value" in weights else 0
    lines = ["c: a = Conv(x, w)", node, f"e: f = Conv<pads = [{pads}, {pads}, {pads}, {pads}]>(a, v)"]
    lines += ["s: g = Add(f, z)", "d: y = Conv(g, u)"]
    shapes = {"w": (8, 4, 1, 1), "v": (16, 8, 1, 1), "u": (2, 16, 1, 1)}
    graph = build(lines, {**shapes, **weights}, ["y"], opset=opset)
    channels = map_channels(graph, concrete_shapes(graph))
    kept = random_choice(channels, 0.5, seed=3)
    assert (~kept).sum() == 8
    check_removal(graph, channels, kept)


HEADS = [
    "q: q = MatMul(x, wq)",
    "k: k = MatMul(x, wk)",
    "v: v = MatMul(x, wv)",
    "rq: q1 = Reshape(q, apart)",
    "rk: k1 = Reshape(k, apart)",
    "rv: v1 = Reshape(v, apart_values)",
    "tq: q2 = Transpose<perm = [0, 2, 1, 3]>(q1)",
    "tk: k2 = Transpose<perm = [0, 2, 3, 1]>(k1)",
    "tv: v2 = Transpose<perm = [0, 2, 1, 3]>(v1)",
    "p: p = MatMul(q2, k2)",
    "s: s = Softmax<axis = -1>(p)",
    "c: c = MatMul(s, v2)",
    "tc: c1 = Transpose<perm = [0, 2, 1, 3]>(c)",
    "rc: c2 = Reshape(c1, together)",
    "o: y = MatMul(c2, wo)",
]


@pytest.mark.parametrize(
    ("heads", "keys", "values", "free"),
    [(2, 3, 8, {"v": 8}), (8, 3, 4, {"q": 8, "k": 8, "v": 8}), (8, 3, 12, {"v": 12})],
    ids=["values", "heads", "values of many heads"],
)
def test_values_or_whole_heads_of_attention_are_removed(
    heads: int, keys: int, values: int, free: dict[str, int]
) -> None:
    weights = {
        "wq": (6, heads * keys),
        "wk": (6, heads * keys),
        "wv": (6, heads * values),
        "wo": (heads * values, 5),
        "apart": [1, 4, heads, keys],
        "apart_values": [1, 4, heads, values],
        "together": [1, 4, heads * values],
    }
    graph = build(HEADS, weights, ["y"], shape=[1, 4, 6])
    channels = map_channels(graph, concrete_shapes(graph))
    assert {name: len(group.classes) for group in channels.groups for name in group.producers} == free
    check_removal(graph, channels, random_choice(channels, 0.5, seed=3))


def test_channels_of_a_stack_of_matrices_are_removed() -> None:
    lines = ["a: a = MatMul(x, w)", "r: b = Relu(a)", "e: c = MatMul(b, v)", "s: d = Relu(c)", "o: y = MatMul(d, u)"]
    shapes: dict[str, Any] = {"w": (3, 6, 8), "v": (8, 10), "u": (3, 10, 2)}
    graph = build(lines, shapes, ["y"], shape=[1, 3, 5, 6])
    plan = plan_pruning(graph, PassContext(Target("test")), ratio=0.3, criterion="auto", multiple=1)
    assert {name for group in plan.channels.groups for name in group.producers} == {"a", "e"}
    check_removal(graph, plan.channels, plan.kept)
    run_pass(Prune(ratio=0.3), graph, PassContext(Target("test", channel_multiple=1)))


def test_groups_of_a_transposed_convolution_are_cut_alike() -> None:
    lines = ["c: a = Conv(x, w)", "t: b = ConvTranspose<group = 4, strides = [2, 2]>(a, v, z)", "d: y = Conv(b, u)"]
    shapes = {"w": (8, 4, 1, 1), "v": (8, 3, 2, 2), "z": (12,), "u": (2, 12, 1, 1)}
    graph = build(lines, shapes, ["y"])
    channels = map_channels(graph, concrete_shapes(graph))
    assert [(group.producers, len(group.classes)) for group in channels.groups] == [(("c",), 2), (("t",), 3)]
    check_removal(graph, channels, random_choice(channels, 0.5, seed=3))


def test_weights_are_not_written_in_place() -> None:
    model = TOPOLOGIES["residual"](seed=0)
    before = model.SerializeToString(deterministic=True)
    pruned_equals_masked(model, share=0.5, seed=0)
    assert model.SerializeToString(deterministic=True) == before


def test_a_constant_that_two_operators_read_is_cut_for_each_on_its_own() -> None:
    """One bias vector serves two convolutions that lose different channels."""
    random = np.random.default_rng(0)
    weights = {
        "a_weight": random.normal(size=(8, 3, 1, 1)),
        "b_weight": random.normal(size=(8, 3, 1, 1)),
        "bias": random.normal(size=8),
        "a_end_weight": random.normal(size=(2, 8, 1, 1)),
        "b_end_weight": random.normal(size=(2, 8, 1, 1)),
    }
    nodes = []
    for branch in "ab":
        nodes.append(onnx.helper.make_node("Conv", ["x", f"{branch}_weight", "bias"], [branch], name=branch))
        nodes.append(onnx.helper.make_node("Relu", [branch], [f"{branch}_on"], name=f"{branch}_relu"))
        end = onnx.helper.make_node(
            "Conv", [f"{branch}_on", f"{branch}_end_weight"], [f"{branch}_out"], name=f"{branch}_end"
        )
        nodes.append(end)
    graph = onnx.helper.make_graph(
        nodes,
        "shared_bias",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 3, 4, 4])],
        [onnx.helper.make_tensor_value_info(f"{branch}_out", 1, [1, 2, 4, 4]) for branch in "ab"],
        [onnx.numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    assert run(model, {"x": np.zeros((1, 3, 4, 4), np.float32)})
    assert pruned_equals_masked(model, share=0.5, seed=2) == 8


def test_nodes_of_unknown_shape_behind_pruned_layers_are_left_alone() -> None:
    """How many rows NonMaxSuppression gives depends on data, and so does all that reads them."""
    weights = {
        "w": np.random.default_rng(0).normal(0, 0.3, (8, 3, 1, 1)),
        "v": np.random.default_rng(1).normal(0, 0.3, (6, 8, 1, 1)),
    }
    integers = {"flat": [1, 6, -1], "most": [5], "column": [2], "one": [1]}
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], name="first"),
        onnx.helper.make_node("Relu", ["c"], ["r"], name="relu"),
        onnx.helper.make_node("Conv", ["r", "v"], ["h"], name="last"),
        onnx.helper.make_node("Reshape", ["h", "flat"], ["f"], name="flatten"),
        onnx.helper.make_node("Split", ["f", "parts"], ["b", "s"], name="split", axis=1),
        onnx.helper.make_node("Transpose", ["b"], ["boxes"], name="rows", perm=[0, 2, 1]),
        onnx.helper.make_node("NonMaxSuppression", ["boxes", "s", "most"], ["chosen"], name="nms"),
        onnx.helper.make_node("Gather", ["chosen", "column"], ["places"], name="places", axis=1),
        onnx.helper.make_node("Slice", ["places", "zero", "most"], ["some"], name="some"),
        onnx.helper.make_node("Reshape", ["some", "all"], ["y"], name="result"),
    ]
    integers |= {"parts": [4, 2], "zero": [0], "all": [-1]}
    graph = onnx.helper.make_graph(
        nodes,
        "suppressed",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 3, 4, 4])],
        [onnx.helper.make_tensor_value_info("y", 7, ["n"])],
        [onnx.numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()]
        + [onnx.numpy_helper.from_array(np.array(values, np.int64), name) for name, values in integers.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    assert pruned_equals_masked(model, share=0.5, seed=0) == 4
