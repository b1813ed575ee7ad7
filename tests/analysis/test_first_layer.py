"""What a first layer makes of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.graphs import Value, build
from yocc.analysis.first_layer import find_first_layer, respond
from yocc.runtime.backends.onnxruntime import reference_executor

KERNEL: dict[str, Value] = {"w": np.ones((2, 3, 1, 1), np.float32), "b": np.array([3, -3], np.float32)}
NORMALIZED: dict[str, Value] = {
    **KERNEL, "g": np.ones(2, np.float32), "o": np.zeros(2, np.float32), "m": np.array([4.5, -1.5], np.float32),
    "v": np.array([0.25, 0.25], np.float32),
}  # fmt: skip
BEHIND = ["n: d = BatchNormalization(c, g, o, m, v)", "r: y = Relu(d)"]


def _feeds(factor: float) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    return [{"x": (factor * random.random((1, 3, 8, 8))).astype(np.float32)} for _ in range(2)]


def test_a_bias_that_drowns_the_picture_is_seen() -> None:
    graph = build(["s: a = Slice(x, e, f)", "c: c = Conv(a, w, b)", "r: y = Relu(c)"], {**KERNEL, "e": [0], "f": [1]},
                  ["y"], [1, 3, 8, 8])  # fmt: skip
    layer = find_first_layer(graph, "x")
    assert layer is not None
    assert layer.name == "c"
    assert layer.statistics is None
    assert len(layer.model.graph.node) == 2
    run = reference_executor(threads=1)(layer.model)
    small, large = (respond(layer, run, _feeds(factor)) for factor in (1 / 255, 1.0))
    assert small.bias > 200
    assert 3 < large.bias < 10
    assert large.divergence is None
    assert respond(layer, run, [{"x": np.zeros((1, 3, 8, 8), np.float32)}]).bias == np.inf


def test_a_batch_normalization_knows_what_it_was_trained_on() -> None:
    layer = find_first_layer(build(["c: c = Conv(x, w, b)", *BEHIND], NORMALIZED, ["y"], [1, 3, 8, 8]), "x")
    assert layer is not None
    run = reference_executor(threads=1)(layer.model)
    alike, unlike = (respond(layer, run, _feeds(factor)).divergence for factor in (1.0, 3.0))
    assert alike is not None
    assert unlike is not None
    assert alike < 0.1 < 1 < unlike
    still = respond(layer, run, [{"x": np.zeros((1, 3, 8, 8), np.float32)}])
    assert still.divergence is None


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        (["m: y = MatMul(x, k)"], {"k": (8, 8)}),
        (["c: a = Conv(x, w, b)", "e: d = Conv(x, w, b)", "s: y = Add(a, d)"], {}),
        (["a: a = Add(x, x)", "s: s = Shape(a)", "t: y = Cast<to=1>(s)"], {}),
    ],
)
def test_other_graphs_have_no_first_layer(nodes: list[str], weights: dict[str, Value]) -> None:
    assert find_first_layer(build(nodes, {**KERNEL, **weights}, ["y"], [1, 3, 8, 8]), "x") is None


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        (["c: c = Conv(x, w, b)", *BEHIND], {"m": np.zeros(2, np.float32), "v": np.ones(2, np.float32)}),
        (["c: c = Conv(x, w, b)", "i: k = Identity(m)", BEHIND[0].replace("o, m", "o, k"), BEHIND[1]], {}),
    ],
)
def test_an_untrained_or_computed_normalization_says_nothing(nodes: list[str], weights: dict[str, Value]) -> None:
    layer = find_first_layer(build(nodes, {**NORMALIZED, **weights}, ["y"], [1, 3, 8, 8]), "x")
    assert layer is not None
    assert layer.statistics is None
