from __future__ import annotations

import numpy as np

from tests.oracles import assert_same_function
from tests.passes.graphs import build
from yocc.compiler.graph import refresh, to_proto
from yocc.compiler.graph.nops import remove_nops
from yocc.passes.simplify.folding import fold_constants


def test_weight_arithmetic_becomes_a_weight() -> None:
    graph = build(
        ["t: a = Transpose<perm=[1, 0]>(v)", "m: w = Mul(a, g)", "p: y = MatMul(x, w)"],
        {"v": (60, 80), "g": (1, 60)},
        ["y"],
        shape=[1, 4, 8, 80],
    )
    before = to_proto(graph)
    assert fold_constants(graph) == 2
    refresh(graph)
    assert [node.op for node in graph.nodes] == ["MatMul"]
    assert_same_function(before, to_proto(graph), tolerance=1e-6)
    assert fold_constants(graph) == 0


def test_fp16_weights_behind_a_cast_become_fp32() -> None:
    values = np.random.default_rng(0).normal(size=(64, 4, 3, 3)).astype(np.float16)
    graph = build(["c: w = Cast<to=1>(w16)", "n: y = Conv(x, w)"], {"w16": values}, ["y"])
    assert fold_constants(graph) == 1
    weight = graph.nodes[0].inputs[1].values
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight, values.astype(np.float32))


def test_quantized_weights_stay_codes() -> None:
    codes = np.ones((64, 4, 3, 3), np.int8)
    graph = build(["d: w = DequantizeLinear(q, s)", "n: y = Conv(x, w)"], {"q": codes, "s": np.float32(0.1)}, ["y"])
    assert fold_constants(graph) == 0


def test_nothing_is_expanded_into_the_file() -> None:
    graph = build(["e: w = Expand(v, s)", "n: y = Add(x, w)"], {"v": (1, 4, 1, 1), "s": [1, 4, 512, 512]}, ["y"],
                  shape=[1, 4, 512, 512])  # fmt: skip
    assert fold_constants(graph) == 0


def test_random_numbers_stay_random() -> None:
    graph = build(["r: w = RandomNormalLike(v)", "n: y = Add(x, w)"], {"v": (1, 4, 1, 1)}, ["y"])
    assert fold_constants(graph) == 0


def test_constant_output_keeps_its_node() -> None:
    graph = build(["t: z = Transpose<perm=[1, 0]>(v)", "n: y = Relu(x)"], {"v": (3, 2)}, ["y", "z"])
    assert fold_constants(graph) == 0


def test_a_weight_that_several_layers_read_stays_one() -> None:
    graph = build(
        [
            "i: a = Identity(v)", "n: b = MatMul(x, a)", "j: c = Identity(v)", "o: d = MatMul(b, c)",
            "t: e = Transpose<perm=[1, 0]>(v)", "p: f = MatMul(d, e)",
            "u: h = Transpose<perm=[1, 0]>(v)", "q: y = MatMul(f, h)",
        ],
        {"v": (80, 80)},
        ["y"],
        shape=[1, 4, 8, 80],
    )  # fmt: skip
    before = to_proto(graph)
    assert fold_constants(graph) == 2
    assert remove_nops(graph) == 2
    refresh(graph)
    first, second, third, fourth = (node.inputs[1] for node in graph.nodes)
    assert first is second
    assert third is fourth
    assert_same_function(before, to_proto(graph), tolerance=1e-6)
