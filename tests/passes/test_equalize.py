from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.oracles import run
from tests.passes.feeding import context, run_pass, smooth
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, clone, refresh, to_proto
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.pipeline.target import Target, TensorScheme
from yocc.passes.equalize import Equalize
from yocc.passes.quantize import Quantize

UNEVEN = 4.0 ** np.arange(-3, 3)


def _weights(**shapes: tuple[int, ...]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def _uneven(weights: dict[str, Any], name: str, axis: int = 0) -> dict[str, Any]:
    shape = [1] * weights[name].ndim
    shape[axis] = len(UNEVEN)
    return weights | {name: (weights[name] * UNEVEN.reshape(shape)).astype(np.float32)}


def _chain(*between: str, outputs: tuple[str, ...] = ("y",)) -> Graph:
    weights = _uneven(_weights(w1=(6, 4, 3, 3), b1=(6,), w2=(5, 6, 1, 1), b2=(5,)), "w1")
    return build(["c1: a = Conv<pads=[1,1,1,1]>(x, w1, b1)", *between, "c2: y = Conv(m, w2, b2)"], weights, [*outputs])


def _equalized(graph: Graph, count: int) -> Graph:
    """The same function, to the bit, with so many pairs equalized."""
    result = clone(graph)
    ctx = PassContext(Target("any"))
    assert run_pass(Equalize(), result, ctx) == count
    refresh(result)
    feeds = {"x": np.random.default_rng(1).normal(size=graph.inputs[0].shape).astype(np.float32)}
    np.testing.assert_array_equal(run(to_proto(result), feeds)["y"], run(to_proto(graph), feeds)["y"])
    return result


def _spread(graph: Graph, name: str = "c1") -> float:
    """How much larger the largest channel of a layer is than the smallest."""
    weight = next(node for node in graph.nodes if node.name == name).inputs[1].values
    sizes = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    return float(sizes.max() / sizes.min())


@pytest.mark.parametrize(
    "between",
    [
        ["r: m = Relu(a)"],
        ["r: m = LeakyRelu<alpha=0.1>(a)"],
        ["i: m = Identity(a)"],
        ["r: r = Relu(a)", "p: m = MaxPool<kernel_shape=[2,2]>(r)"],
        ["p: p = AveragePool<kernel_shape=[2,2], pads=[1,1,1,1]>(a)", "r: m = Relu(p)"],
        ["p: m = GlobalAveragePool(a)"],
    ],
    ids=["relu", "leaky", "identity", "max pool", "average pool", "global"],
)
def test_channels_are_evened_out_and_outputs_stay(between: list[str]) -> None:
    graph = _chain(*between)
    assert _spread(_equalized(graph, 1)) < _spread(graph) / 8


@pytest.mark.parametrize(
    "graph",
    [
        _chain("s: s = Sigmoid(a)", "m: m = Mul(a, s)"),
        _chain("h: m = HardSwish(a)"),
        _chain("r: m = Relu(a)", "o: other = Sigmoid(m)", outputs=("y", "other")),
        _chain("r: m = Relu(a)", outputs=("y", "m")),
    ],
    ids=["silu", "hardswish", "another reader", "an output"],
)
def test_what_is_not_sound_stays(graph: Graph) -> None:
    before, ctx = to_proto(graph), PassContext(Target("any"))
    assert run_pass(Equalize(), graph, ctx) == 0
    assert to_proto(graph) == before
    assert "Nothing to equalize" in ctx.notes[0].message


def test_a_shared_weight_stays() -> None:
    weights = _uneven(_weights(w1=(6, 6, 1, 1)), "w1")
    graph = build(["c1: a = Conv(x, w1)", "r: m = Relu(a)", "c2: y = Conv(m, w1)"], weights, ["y"], [1, 6, 4, 4])
    assert run_pass(Equalize(), graph, PassContext(Target("any"))) == 0


def test_depthwise_and_grouped_layers() -> None:
    weights = _weights(w1=(6, 4, 1, 1), w2=(6, 1, 3, 3), b2=(6,), w3=(4, 3, 1, 1))
    lines = [
        "c1: a = Conv(x, w1)",
        "r1: b = Relu(a)",
        "c2: c = Conv<group=6, pads=[1,1,1,1]>(b, w2, b2)",
        "r2: d = Relu(c)",
        "c3: y = Conv<group=2>(d, w3)",
    ]
    graph = build(lines, _uneven(weights, "w1"), ["y"])
    result = _equalized(graph, 2)
    assert _spread(result) < _spread(graph) / 8


def test_gemm_and_transposed_convolutions() -> None:
    weights = _weights(w1=(4, 6), b1=(6,), w2=(5, 6), w3=(3, 5))
    lines = [
        "g1: a = Gemm(x, w1, b1)",
        "r1: b = Relu(a)",
        "g2: c = Gemm<transB=1>(b, w2)",
        "g3: y = Gemm<transB=1, alpha=0.5>(c, w3)",
    ]
    _equalized(build(lines, _uneven(weights, "w1", 1), ["y"], [2, 4]), 2)
    weights = _uneven(_weights(w1=(4, 6, 2, 2), b1=(6,), w2=(6, 5, 2, 2)), "w1", 1)
    lines = ["c1: a = ConvTranspose(x, w1, b1)", "r: b = Relu(a)", "c2: y = ConvTranspose(b, w2)"]
    _equalized(build(lines, weights, ["y"]), 1)


def test_channels_of_zeros_keep_their_size() -> None:
    graph = _chain("r: m = Relu(a)")
    first = next(node for node in graph.nodes if node.name == "c1")
    first.inputs[1].values[2] = 0
    assert np.isfinite(next(node for node in _equalized(graph, 1).nodes if node.name == "c1").inputs[2].values).all()


def test_int8_with_one_scale_for_a_weight_gains() -> None:
    """What it was invented for."""

    def error(graph: Graph) -> float:
        target = Target("inputs", weights=TensorScheme(bits=8, per_channel=False))
        quantized, feeds = clone(graph), smooth(to_proto(graph), 8)
        run_pass(Quantize(rounding="nearest"), quantized, context(target, feeds))
        refresh(quantized)
        pairs = [(run(to_proto(quantized), arrays)["y"], run(to_proto(graph), arrays)["y"]) for arrays in feeds]
        return float(np.mean([np.square(found - wanted).mean() for found, wanted in pairs]))

    weights = _weights(w1=(6, 4, 3, 3), b1=(6,), w2=(6, 6, 1, 1), w3=(4, 6, 1, 1))
    weights = _uneven(weights, "w1") | {"b1": (weights["b1"] * UNEVEN).astype(np.float32)}
    weights["w2"] = (weights["w2"] / UNEVEN.reshape(1, -1, 1, 1)).astype(np.float32)
    lines = [
        "c1: a = Conv(x, w1, b1)",
        "r1: b = Relu(a)",
        "c2: c = Conv(b, w2)",
        "r2: d = Relu(c)",
        "c3: y = Conv(d, w3)",
    ]
    graph = build(lines, weights, ["y"])
    refresh(graph)
    assert error(_equalized(graph, 2)) < 0.2 * error(graph)


def test_it_is_a_pass_of_pipelines() -> None:
    graph, runs = Pipeline.parse("equalize").run(_chain("r: m = Relu(a)"), PassContext(Target("any")))
    assert runs[0].rewrites == 1
    assert _spread(graph) < _spread(_chain("r: m = Relu(a)")) / 8
