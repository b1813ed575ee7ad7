from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.oracles import assert_same_function
from tests.passes.feeding import run_pass
from tests.passes.graphs import Value, build
from yocc.compiler.graph import Graph, load, refresh, to_proto, verify
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.target import Target
from yocc.passes.fuse import Fuse


@pytest.fixture
def ctx() -> PassContext:
    return PassContext(target=Target("test"))


def fused(graph: Graph, ctx: PassContext) -> int:
    """Fuse, check that the function is kept and a second run finds nothing, and return the number of rewrites."""
    before = to_proto(graph)
    rewrites = run_pass(Fuse(), graph, ctx)
    refresh(graph)
    assert verify.problems(graph) == []
    assert_same_function(before, to_proto(graph), tolerance=1e-5)
    assert run_pass(Fuse(), graph, PassContext(target=ctx.target)) == 0
    return rewrites


def statistics(channels: int, name: str = "") -> dict[str, Value]:
    rng = np.random.default_rng(channels)
    values = {
        "g": rng.uniform(-2, 2, channels),
        "b": rng.normal(size=channels),
        "m": rng.normal(size=channels),
        "v": rng.uniform(0.01, 4, channels),
    }
    return {key + name: value.astype(np.float32) for key, value in values.items()}


NORM = "n: y = BatchNormalization<epsilon=0.001>(a, g, b, m, v)"
LAYERS: dict[str, tuple[str, dict[str, Value], int]] = {
    "conv": ("c: a = Conv(x, w)", {"w": (6, 4, 3, 3)}, 6),
    "conv with bias": ("c: a = Conv(x, w, d)", {"w": (6, 4, 3, 3), "d": np.arange(6, dtype=np.float32)}, 6),
    "grouped conv": ("c: a = Conv<group=2>(x, w)", {"w": (6, 2, 3, 3)}, 6),
    "depthwise conv": ("c: a = Conv<group=4>(x, w)", {"w": (8, 1, 3, 3)}, 8),
    "padded conv": ("c: a = Conv<pads=[1, 1, 1, 1]>(x, w)", {"w": (6, 4, 3, 3)}, 6),
    "transposed conv": ("c: a = ConvTranspose<strides=[2, 2]>(x, w)", {"w": (4, 6, 2, 2)}, 6),
    "grouped transposed conv": ("c: a = ConvTranspose<group=2>(x, w)", {"w": (4, 3, 2, 2)}, 6),
}


@pytest.mark.parametrize("what", LAYERS)
def test_batch_norm_goes_into(what: str, ctx: PassContext) -> None:
    line, weights, channels = LAYERS[what]
    graph = build([line, NORM], weights | statistics(channels), ["y"])
    assert fused(graph, ctx) == 1
    assert [node.op for node in graph.nodes] == [line.split(" = ")[1].split("(")[0].split("<")[0]]
    assert ctx.notes == []


GEMMS: dict[str, tuple[str, dict[str, Value]]] = {
    "plain": ("c: a = Gemm(f, w)", {"w": (256, 6)}),
    "transposed": ("c: a = Gemm<transB=1>(f, w)", {"w": (6, 256)}),
    "scaled": ("c: a = Gemm<alpha=0.5, beta=2.0>(f, w, d)", {"w": (256, 6), "d": np.arange(6, dtype=np.float32)}),
    "scalar bias": ("c: a = Gemm(f, w, d)", {"w": (256, 6), "d": np.array([3], np.float32)}),
}


@pytest.mark.parametrize("what", GEMMS)
def test_batch_norm_goes_into_gemm(what: str, ctx: PassContext) -> None:
    line, weights = GEMMS[what]
    graph = build(["f: f = Flatten(x)", line, NORM], weights | statistics(6), ["y"])
    assert fused(graph, ctx) == (2 if what == "scaled" else 1)


@pytest.mark.parametrize(
    "line",
    ["Add(a, k)", "Add(k, a)", "Sub(a, k)", "Sub(k, a)", "Mul(a, k)", "Mul(k, a)", "Div(a, k)"],
)
@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (6, 1, 1), (1,), ()])
def test_constant_arithmetic_goes_into_conv(line: str, shape: tuple[int, ...], ctx: PassContext) -> None:
    constant = np.random.default_rng(0).uniform(0.5, 2, shape).astype(np.float32)
    graph = build(["c: a = Conv(x, w)", f"n: y = {line}"], {"w": (6, 4, 3, 3), "k": np.array(constant)}, ["y"])
    assert fused(graph, ctx) == 1


def test_a_chain_is_fused_to_its_end(ctx: PassContext) -> None:
    graph = build(
        ["c: a = Conv(x, w)", NORM.replace("y =", "e ="), "k1: f = Mul(e, k)", "k2: h = Add(f, k)", "r: y = Relu(h)"],
        {"w": (6, 4, 3, 3), "k": (6, 1, 1)} | statistics(6),
        ["y"],
    )
    assert fused(graph, ctx) == 3
    assert [node.op for node in graph.nodes] == ["Conv", "Relu"]


def test_shared_weight_is_split_and_not_written_to(ctx: PassContext) -> None:
    graph = build(
        ["c1: a = Conv(x, w, d)", NORM.replace("y =", "e ="), "c2: f = Conv(x, w, d)", "s: y = Sub(e, f)"],
        {"w": (6, 4, 3, 3), "d": np.arange(6, dtype=np.float32)} | statistics(6),
        ["y"],
    )
    weight, bias = graph.tensors()["w"].values, graph.tensors()["d"].values
    copies = weight.copy(), bias.copy()
    assert fused(graph, ctx) == 1
    np.testing.assert_array_equal(weight, copies[0])
    np.testing.assert_array_equal(bias, copies[1])
    assert len({node.inputs[1].name for node in graph.nodes if node.op == "Conv"}) == 2


STAYS: dict[str, tuple[list[str], dict[str, Value], list[str], str]] = {
    "output between": (["c: a = Conv(x, w)", NORM], {"w": (6, 4, 3, 3)}, ["a", "y"], "output of the graph"),
    "second reader": (
        ["c: a = Conv(x, w)", NORM.replace("y =", "e ="), "r: f = Relu(a)", "s: y = Add(e, f)"],
        {"w": (6, 4, 3, 3)},
        ["y"],
        "2 nodes read",
    ),
    "no layer before": (
        ["c: e = Conv(x, w)", "r: a = Relu(e)", NORM],
        {"w": (6, 4, 3, 3)},
        ["y"],
        "follows Relu",
    ),
    "quantized weights": (
        ["d: w = DequantizeLinear(q, s)", "c: a = Conv(x, w)", NORM],
        {"q": np.ones((6, 4, 3, 3), np.int8), "s": np.float32(0.1)},
        ["y"],
        "computed",
    ),
}


@pytest.mark.parametrize("what", STAYS)
def test_batch_norm_stays_with_a_reason(what: str, ctx: PassContext) -> None:
    nodes, weights, outputs, reason = STAYS[what]
    graph = build(nodes, weights | statistics(6), outputs)
    assert fused(graph, ctx) == 0
    assert [note.node for note in ctx.notes] == ["n"]
    assert reason in ctx.notes[0].message


ARITHMETIC_STAYS: dict[str, tuple[str, Value]] = {
    "per position": ("Add(a, k)", (1, 1, 6, 6)),
    "per position and channel": ("Mul(a, k)", (6, 6, 6)),
    "rank above the layer's": ("Add(a, k)", (1, 1, 6, 1, 1)),
    "batch made by broadcasting": ("Add(a, k)", (3, 6, 1, 1)),
    "reciprocal": ("Div(k, a)", (1, 6, 1, 1)),
    "division by zero": ("Div(a, k)", np.zeros((1, 6, 1, 1), np.float32)),
    "square": ("Mul(a, a)", ()),
}


@pytest.mark.parametrize("what", ARITHMETIC_STAYS)
def test_arithmetic_stays(what: str, ctx: PassContext) -> None:
    line, constant = ARITHMETIC_STAYS[what]
    weights: dict[str, Value] = {"w": (6, 4, 3, 3)} | ({"k": constant} if "k" in line else {})
    graph = build(["c: a = Conv(x, w)", f"n: y = {line}"], weights, ["y"])
    assert run_pass(Fuse(), graph, ctx) == 0
    assert [node.op for node in graph.nodes] == ["Conv", line.split("(")[0]]


def test_gemm_bias_that_differs_by_row_stays(ctx: PassContext) -> None:
    graph = build(
        ["f: f = Reshape(x, s)", "c: a = Gemm(f, w, d)", "n: y = Mul(a, k)"],
        {"s": [2, 128], "w": (128, 6), "d": (2, 6), "k": (6,)},
        ["y"],
    )
    assert fused(graph, ctx) == 0


def test_negative_variance_stays(ctx: PassContext) -> None:
    numbers = statistics(6) | {"v": np.array([1, 1, 1, 1, 1, -1], np.float32)}
    graph = build(["c: a = Conv(x, w)", NORM], {"w": (6, 4, 3, 3)} | numbers, ["y"])
    assert run_pass(Fuse(), graph, ctx) == 0
    assert "would not stay finite" in ctx.notes[0].message


def test_half_precision_that_would_overflow_stays(ctx: PassContext) -> None:
    half = onnx.TensorProto.FLOAT16
    weights: dict[str, Value] = {"w": np.full((6, 4, 3, 3), 300, np.float16), "k": np.array([[[[300]]]], np.float16)}
    graph = build(
        [f"i: h = Cast<to={half}>(x)", "c: a = Conv(h, w)", "n: e = Mul(a, k)", "o: y = Cast<to=1>(e)"], weights, ["y"]
    )
    assert run_pass(Fuse(), graph, ctx) == 0


def test_arithmetic_is_done_in_double_precision(ctx: PassContext) -> None:
    """Mean and product nearly cancel: in float32 the bias would keep only two digits."""
    numbers = {
        "g": np.array([1.1], np.float32),
        "b": np.array([3001.7], np.float32),
        "m": np.array([2728.8], np.float32),
        "v": np.array([0.99999], np.float32),
    }
    graph = build(["c: a = Conv(x, w)", NORM], {"w": (1, 4, 1, 1)} | numbers, ["y"])
    run_pass(Fuse(), graph, ctx)
    g, b, m, v = (float(numbers[key][0]) for key in "gbmv")
    epsilon = float(np.float32(0.001))
    exact = b - m * g / (v + epsilon) ** 0.5
    assert graph.nodes[0].inputs[2].values[0] == pytest.approx(exact, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "count"), [("yolov5n_bn.onnx", 57), ("ultraface_rfb320_op9.onnx", 35)])
def test_real_detectors_lose_all_their_batch_norms(shared_data: Path, ctx: PassContext, file: str, count: int) -> None:
    graph = load(shared_data / "models" / file)
    assert fused(graph, ctx) >= count
    assert not any(node.op == "BatchNormalization" for node in graph.nodes)
    assert ctx.notes == []


@pytest.mark.slow
def test_detector_without_batch_norm_is_left_alone(shared_data: Path, ctx: PassContext) -> None:
    assert fused(load(shared_data / "models" / "yolov5n.onnx"), ctx) == 0


def test_a_shared_weight_stays_shared_where_only_biases_change(ctx: PassContext) -> None:
    nodes = ["c0: a = Conv(x, w)", "b0: y = Add(a, s)", "c1: c = Conv(x, w)", "b1: z = Sub(c, t)"]
    graph = build(nodes, {"w": (6, 4, 3, 3), "s": (1, 6, 1, 1), "t": (1, 6, 1, 1)}, ["y", "z"])
    before = to_proto(graph)
    assert run_pass(Fuse(), graph, ctx) == 2
    refresh(graph)
    assert graph.nodes[0].inputs[1] is graph.nodes[1].inputs[1]
    assert_same_function(before, to_proto(graph), tolerance=1e-5)


def test_the_factors_of_a_gemm_go_into_its_constants(ctx: PassContext) -> None:
    """With factors left, OpenVINO computes nonsense on 8-bit integers with one thread."""
    lines = ["f: f = Reshape(x, s)", "c: y = Gemm<alpha=0.5, beta=2.0>(f, w, d)"]
    weights = {"w": (256, 6), "d": np.arange(6, dtype=np.float32)}
    graph = build(lines, {"s": np.array([1, 256]), **weights}, ["y"])
    assert fused(graph, ctx) == 1
    (gemm,) = [node for node in graph.nodes if node.op == "Gemm"]
    assert (gemm.attrs["alpha"], gemm.attrs["beta"]) == (1.0, 1.0)
    np.testing.assert_array_equal(gemm.inputs[2].values, 2 * np.arange(6, dtype=np.float32))


def test_a_weight_that_another_layer_reads_keeps_the_factor_beside_it(ctx: PassContext) -> None:
    lines = ["f: f = Reshape(x, s)", "c: y = Gemm<alpha=0.5>(f, w)", "d: z = MatMul(f, w)"]
    graph = build(lines, {"s": np.array([1, 256]), "w": (256, 6)}, ["y", "z"])
    assert fused(graph, ctx) == 0
    assert next(node for node in graph.nodes if node.op == "Gemm").attrs["alpha"] == 0.5
