from __future__ import annotations

import numpy as np
import pytest

from tests.passes.graphs import build
from yocc.compiler.graph.sparsity import grouped, input_axis, sparse_layers


def weight(zeros: tuple[int, ...]) -> np.ndarray:
    values = np.ones((2, 8, 1, 1), np.float32)
    values[:, list(zeros)] = 0
    return values


@pytest.mark.parametrize(
    ("zeros", "sparse"),
    [((0, 1, 4, 7), True), ((0, 1, 2, 5, 6), True), ((0, 1, 2, 3), False), ((2, 3, 4), False), ((), False)],
)
def test_a_layer_is_sparse_when_each_four_input_channels_have_two_zeros(zeros: tuple[int, ...], sparse: bool) -> None:
    graph = build(["c: y = Conv(x, w)"], {"w": weight(zeros)}, ["y"], shape=[1, 8, 4, 4])
    assert sparse_layers(graph) == (("c",) if sparse else ())


def test_codes_behind_dequantize_linear_count() -> None:
    values = {"w": weight((0, 1, 4, 7)).astype(np.int8), "s": np.float32(0.1), "z": np.int8(0)}
    nodes = ["d: wd = DequantizeLinear(w, s, z)", "c: y = Conv(x, wd)"]
    graph = build(nodes, {name: np.asarray(value) for name, value in values.items()}, ["y"], shape=[1, 8, 4, 4])
    assert sparse_layers(graph) == ("c",)


def test_grouped_convolutions_are_none() -> None:
    graph = build(["c: y = Conv<group = 2>(x, w)"], {"w": np.zeros((2, 4, 1, 1), np.float32)}, ["y"], [1, 8, 4, 4])
    assert input_axis(graph.nodes[0]) is None
    assert sparse_layers(graph) == ()


def test_the_axis_of_input_channels() -> None:
    nodes = ["a: f = Flatten(x)", "b: g = Gemm(f, v)", "c: h = Gemm<transB = 1>(g, v)", "d: y = MatMul(h, v)"]
    graph = build(nodes, {"v": (64, 64)}, ["y"], [1, 1, 8, 8])
    assert [input_axis(node) for node in graph.nodes] == [None, 0, 1, 0]


def test_counts_that_are_no_multiple_of_four_have_no_groups() -> None:
    assert grouped(np.zeros((2, 6, 1, 1)), 1) is None
    assert grouped(np.zeros((2, 8, 3, 3)), 1).shape == (2, 3, 3, 2, 4)
