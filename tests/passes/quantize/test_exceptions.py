from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest

from tests.passes.feeding import Pictures, Trial, context, run_pass, whole_graph
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, load, refresh, to_proto
from yocc.compiler.graph.census import kind_of
from yocc.compiler.pipeline.passes import Detection
from yocc.compiler.pipeline.target import Target
from yocc.passes.quantize import Quantize
from yocc.passes.quantize.exceptions import find_exceptions, large_last_layers
from yocc.passes.quantize.placement import FOR_FLOAT
from yocc.runtime.backends.onnxruntime import OnnxRuntimeSession
from yocc.runtime.backends.unsigned import store_unsigned

WHOLE = whole_graph()
CLASSIFIER = ["c: a = Conv(x, w)", "r: b = Relu(a)", "p: d = GlobalAveragePool(b)", "f: e = Flatten(d)"]
WEIGHTS = {"w": (16, 4, 3, 3), "u": (16, 40)}
POSITIONS, CHANNELS = 24, 8


def pictures(model: onnx.ModelProto, count: int = 8) -> Pictures:
    shape = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    random = np.random.default_rng(3)
    return Pictures([{"x": random.normal(size=shape).astype(np.float32)} for _ in range(count)])


def built(graph: Graph) -> onnx.ModelProto:
    """As the backend writes it."""
    store_unsigned(graph)
    return to_proto(graph)


def quantize(graph: Graph, target: Target = WHOLE) -> tuple[Graph, Trial]:
    ctx = context(target, pictures(to_proto(graph)))
    run_pass(Quantize(), graph, ctx)
    refresh(graph)
    return graph, ctx


def decibels(before: onnx.ModelProto, after: onnx.ModelProto) -> float:
    feeds = list(pictures(before))
    pairs = [
        [OnnxRuntimeSession(model.SerializeToString(), threads=1).run(one)["y"] for one in feeds]
        for model in (before, after)
    ]
    exact, found = (np.concatenate(each) for each in pairs)
    return float(10 * np.log10(np.square(exact).sum() / np.square(exact - found).sum()))


@pytest.mark.parametrize("target", [WHOLE, Target("inputs")], ids=["whole_graph", "inputs"])
@pytest.mark.parametrize(
    "last", [["m: y = MatMul(e, u)"], ["m: s = MatMul(e, u)", "s: y = Softmax(s)"]], ids=["scores", "probabilities"]
)
def test_the_largest_layer_of_a_classifier_is_quantized_and_its_scores_are_not(last: list[str], target: Target) -> None:
    graph, ctx = quantize(build([*CLASSIFIER, *last], WEIGHTS, ["y"]), target)
    node = next(node for node in graph.nodes if node.name == "m")
    assert kind_of(node) == "int8"
    assert not {"MatMul", "m"} & set(ctx.details["quantize"].get("skipped", {}))
    assert all(reader.op != "QuantizeLinear" for reader in node.outputs[0].outputs)


def test_a_convolution_whose_results_are_averaged_is_quantized() -> None:
    nodes = [
        "c: a = Conv(x, w)",
        "r: b = Relu(a)",
        "l: s = Conv(b, v)",
        "q: t = Relu(s)",
        "p: y = GlobalAveragePool(t)",
    ]
    graph = build(nodes, {"w": (16, 4, 3, 3), "v": (40, 16, 1, 1)}, ["y"])
    assert large_last_layers(graph) == {"l"}
    before = to_proto(graph)
    graph, _ = quantize(graph)
    assert kind_of(next(node for node in graph.nodes if node.name == "l")) == "int8"
    assert decibels(before, built(graph)) > 30


def test_small_last_layers_and_maps_stay_float() -> None:
    nodes = ["c: a = Conv(x, w)", "r: b = Relu(a)", "l: y = Conv(b, v)"]
    assert large_last_layers(build(nodes, {"w": (16, 4, 3, 3), "v": (40, 16, 1, 1)}, ["y"])) == frozenset()
    small = build([*CLASSIFIER, "m: y = MatMul(e, u)"], {**WEIGHTS, "u": (16, 1)}, ["y"])
    assert large_last_layers(small) == frozenset()


def test_last_layers_of_a_detector_stay_float() -> None:
    graph = build([*CLASSIFIER, "m: y = MatMul(e, u)"], WEIGHTS, ["y"])
    ctx = context(WHOLE)
    assert find_exceptions(graph, ctx).large_last == {"m"}
    detector = dataclasses.replace(ctx, detection=Detection(3, True, False))
    assert find_exceptions(graph, detector).large_last == frozenset()
    assert find_exceptions(graph, dataclasses.replace(ctx, protected=frozenset({"y"}))).large_last == frozenset()


def attention(mask: np.ndarray) -> Graph:
    """Attention over positions with a mask on the scores, and a small layer behind it."""
    nodes = [
        "q: q = MatMul(x, wq)", "k: k = MatMul(x, wk)", "v: v = MatMul(x, wv)", "t: kt = Transpose<perm=[0,2,1]>(k)",
        "s: scores = MatMul(q, kt)", "add: masked = Add(scores, mask)", "soft: p = Softmax<axis=-1>(masked)",
        "o: mixed = MatMul(p, v)", "l: y = MatMul(mixed, wo)",
    ]  # fmt: skip
    weights = dict.fromkeys(("wq", "wk", "wv", "wo"), (CHANNELS, CHANNELS))
    random = np.random.default_rng(5)
    weights = {name: 0.3 * random.normal(size=shape).astype(np.float32) for name, shape in weights.items()}
    return build(nodes, {**weights, "mask": mask.astype(np.float32)}, ["y"], [1, POSITIONS, CHANNELS])


@pytest.mark.parametrize("sentinel", [-1e9, -1e4, -np.inf, float(np.finfo(np.float32).min)])
def test_a_mask_is_no_range(sentinel: float) -> None:
    graph = attention(np.triu(np.full((POSITIONS, POSITIONS), sentinel), 1) if np.isfinite(sentinel) else _causal())
    before = to_proto(graph)
    graph, ctx = quantize(graph)
    tensors = ctx.details["quantize"]["tensors"]
    assert "masked" not in tensors
    assert {"x", "p"} <= tensors.keys()
    assert any("far beyond all others" in note.message for note in ctx.notes)
    assert decibels(before, built(graph)) > 25


def _causal() -> np.ndarray:
    return np.where(np.triu(np.ones((POSITIONS, POSITIONS)), 1) > 0, -np.inf, 0)


def test_a_layer_that_reads_a_mask_stays_float() -> None:
    mask = np.zeros((1, 4, 8, 8), np.float32)
    mask[..., 4:] = 1e8
    nodes = ["a: m = Add(x, mask)", "c: b = Conv(m, w)", "r: d = Relu(b)", "e: e = Conv(d, v)", "l: y = Conv(e, u)"]
    graph = build(nodes, {"mask": mask, "w": (8, 4, 3, 3), "v": (8, 8, 1, 1), "u": (4, 8, 1, 1)}, ["y"])
    graph, ctx = quantize(graph, Target("inputs"))
    assert "mask" in ctx.details["quantize"]["skipped"]["c"]


def test_probabilities_over_many_positions_have_the_range_that_they_reach() -> None:
    graph = attention(np.zeros((POSITIONS, POSITIONS)))
    for name in ("wq", "wk"):
        graph.tensors()[name].values = graph.tensors()[name].values * np.float32(0.2)
    before = to_proto(graph)
    graph, ctx = quantize(load(before))
    low, high = ctx.details["quantize"]["tensors"]["p"]["quantized"]
    assert low == 0
    assert high < 0.2
    assert decibels(before, built(graph)) > 25


def test_squares_and_variances_that_nothing_quantized_reads_stay_float() -> None:
    nodes = [
        "c: a = Conv(x, w)", "s: b = Mul(a, a)", "r: m = ReduceMean<axes=[1, 2, 3]>(b)", "e: v = Add(m, eps)",
        "q: d = Sqrt(v)", "n: f = Div(a, d)", "k: g = Conv(f, u)", "l: y = Conv(g, t)",
    ]  # fmt: skip
    weights = {"w": (8, 4, 3, 3), "eps": np.float32([1e-5]), "u": (8, 8, 1, 1), "t": (4, 8, 1, 1)}
    _, ctx = quantize(build(nodes, weights, ["y"]))
    details = ctx.details["quantize"]
    assert details["skipped"]["s"] == details["skipped"]["e"] == FOR_FLOAT
    assert {"a", "f"} <= details["tensors"].keys()
    assert not {"b", "m", "v", "d"} & details["tensors"].keys()
