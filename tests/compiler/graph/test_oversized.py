from __future__ import annotations

import numpy as np
import pytest

from tests.passes.graphs import build
from yocc.compiler.graph import Graph
from yocc.compiler.graph.oversized import require_runnable_size
from yocc.compiler.graph.shapes import concrete_shapes, default_input_shapes
from yocc.errors import ModelError, OptionError


def _check(graph: Graph, side: int = 8) -> None:
    shapes = {**default_input_shapes(graph), "x": (1, 4, side, side)}
    require_runnable_size(graph, concrete_shapes(graph, shapes), shapes)


BOMBS = {
    "Expand": (["e: big = Expand(one, s)"], {"one": np.ones(1, np.float32), "s": [2**31]}),
    "ConstantOfShape": (["e: big = ConstantOfShape(s)"], {"s": [2**29]}),
    "Tile": (["e: big = Tile(one, s)"], {"one": np.ones(1, np.float32), "s": [2**31]}),
    "a product": (
        ["a: u = ConstantOfShape(s)", "b: v = ConstantOfShape(t)", "c: big = MatMul(u, v)"],
        {"s": [60000, 1], "t": [1, 60000]},
    ),
    "inside a branch": (
        [
            "c: big = If(k) <"
            "then_branch = t () => (float t) { u = ConstantOfShape(s) t = ReduceMax<keepdims = 0>(u) }, "
            "else_branch = e () => (float e) { e = ReduceMax<keepdims = 0>(x) }>"
        ],
        {"k": np.array(True), "s": [2**29]},
    ),
    "doubled": (
        ["a: d0 = ConstantOfShape(s)", *(f"d{k}: d{k + 1} = Concat<axis = 0>(d{k}, d{k})" for k in range(30))],
        {"s": [1]},
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_large_tensors_made_of_constants_are_rejected(name: str) -> None:
    nodes, weights = BOMBS[name]
    last = "d30" if name == "doubled" else "big"
    lines = [*nodes, f"r: m = ReduceMax<keepdims = 0>({last})", "y: y = Add(x, m)"]
    with pytest.raises(ModelError, match="GiB, too large to run"):
        _check(build(lines, weights, ["y"]))


def test_the_limit_is_exact() -> None:
    lines = ["e: big = ConstantOfShape(s)", "r: m = ReduceMax<keepdims = 0>(big)", "y: y = Add(x, m)"]
    _check(build(lines, {"s": [2**27]}, ["y"]))
    with pytest.raises(ModelError):
        _check(build(lines, {"s": [2**27 + 1]}, ["y"]))


def test_an_open_input_is_asked_for_a_smaller_size() -> None:
    lines = ["c: a = Conv(x, w)", "r: y = Relu(a)"]
    graph = build(lines, {"w": (8, 4, 1, 1)}, ["y"], shape=[1, 4, "h", "w"])
    _check(graph, 8192)
    with pytest.raises(OptionError, match=r"input shape x=1,4,16384,16384.*--input-shape"):
        _check(graph, 16384)


def test_a_fixed_input_is_the_models_own() -> None:
    graph = build(["c: y = Conv(x, w)"], {"w": (8, 4, 1, 1)}, ["y"], shape=[1, 4, 16384, 16384])
    with pytest.raises(ModelError, match=r"8\.0 GiB"):
        _check(graph, 16384)
