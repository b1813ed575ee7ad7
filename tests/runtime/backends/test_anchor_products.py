from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, clone, refresh, to_proto
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.graph.verify import problems
from yocc.compiler.stages.subject import taken_apart
from yocc.passes.simplify.fused_operators import split_fused_operators
from yocc.runtime.backends.anchor_products import multiply_anchors, multiply_cells

HEAD = [
    "q: g = QuantizeLinear(x, i, j)", "p: h = DequantizeLinear(g, i, j)", "d: k = DequantizeLinear<axis=0>(w, s, z)",
    "b: v = DequantizeLinear<axis=0>(f, l)", "c: a = Conv(h, k, v)", "r: e = Reshape(a, split)",
    "t: o = Transpose<perm=[0, 1, 3, 4, 2]>(e)", "n: y = Sigmoid(o)",
]  # fmt: skip
FEEDS = {"x": np.random.default_rng(1).normal(size=(2, 4, 8, 8)).astype(np.float32)}


def head(**other: Any) -> Graph:
    """Two anchors of five values, over four channels of 8 x 8 cells of two pictures."""
    random = np.random.default_rng(0)
    scale = random.uniform(0.01, 0.02, 10).astype(np.float32)
    constants: dict[str, Any] = {
        "split": np.array([2, 2, 5, 8, 8]),
        "i": np.float32(0.03),
        "j": np.uint8(120),
        "w": random.integers(-127, 128, (10, 4, 1, 1)).astype(np.int8),
        "s": scale,
        "z": np.zeros(10, np.int8),
        "f": random.integers(-5000, 5000, 10).astype(np.int32),
        "l": scale * np.float32(0.03),
    }
    lines = other.pop("lines", HEAD)
    graph = build(lines, constants | other, ["y"], shape=(2, 4, 8, 8))
    refresh(graph)
    return graph


def test_each_anchor_becomes_a_product_of_the_same_sums() -> None:
    graph = head()
    wanted = oracles.run(to_proto(graph), FEEDS)["y"]
    assert multiply_anchors(graph) == 1
    assert problems(graph) == []
    products = [node for node in graph.nodes if node.op in ("Conv", "MatMulIntegerToFloat")]
    assert [(node.op, node.domain) for node in products] == [("MatMulIntegerToFloat", "com.microsoft")] * 2
    np.testing.assert_allclose(oracles.run(to_proto(graph), FEEDS)["y"], wanted, rtol=0, atol=1e-6)


def test_a_scale_for_all_outputs_and_no_bias() -> None:
    lines = ["c: a = Conv(h, k)" if line.startswith("c:") else line for line in HEAD if not line.startswith("b:")]
    lines = ["d: k = DequantizeLinear(w, s, z)" if line.startswith("d:") else line for line in lines]
    graph = head(lines=lines, s=np.float32(0.02), z=np.int8(0))
    before = clone(graph)
    wanted = oracles.run(to_proto(before), FEEDS)["y"]
    # Without an axis of outputs it is not known how the codes divide.
    assert multiply_anchors(graph) == 0
    np.testing.assert_array_equal(oracles.run(to_proto(graph), FEEDS)["y"], wanted)


def test_float_layers_stay() -> None:
    lines = [line for line in HEAD if not line.startswith("d:")]
    graph = head(lines=[line.replace("(h, k, v)", "(h, w, v)") for line in lines], w=(10, 4, 1, 1))
    assert multiply_anchors(graph) == 0


def test_layers_that_read_floats_stay() -> None:
    lines = [line.replace("(h, k, v)", "(x, k, v)") for line in HEAD if line[0] not in "qp"]
    assert multiply_anchors(head(lines=lines)) == 0


CELLS = [*HEAD[:5], "t: o = Transpose<perm=[0, 2, 3, 1]>(a)", "n: y = Sigmoid(o)"]


@pytest.mark.parametrize("biased", [True, False])
def test_a_layer_moved_channels_last_becomes_one_product(*, biased: bool) -> None:
    lines = CELLS if biased else [line.replace("(h, k, v)", "(h, k)") for line in CELLS if line[0] != "b"]
    graph = head(lines=lines)
    wanted = oracles.run(to_proto(graph), FEEDS)["y"]
    assert multiply_cells(graph) == 1
    assert problems(graph) == []
    assert [node.op for node in graph.nodes if node.op in ("Conv", "MatMulIntegerToFloat")] == ["MatMulIntegerToFloat"]
    np.testing.assert_allclose(oracles.run(to_proto(graph), FEEDS)["y"], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "changed",
    [
        {"t": "t: o = Transpose<perm=[0, 3, 1, 2]>(a)"},
        {"n": "n: y, m = Split<axis=1>(o)", "c": "c: a = Conv<pads=[1, 1, 1, 1]>(h, k, v)"},
        {"n": "n: u = Sigmoid(o)\nm: g2 = Relu(a)\nz: r2 = ReduceMax<axes=[1, 2, 3]>(g2)\nw: y = Add(u, r2)"},
    ],
)
def test_other_layers_are_left_alone(changed: dict[str, str]) -> None:
    lines = [line for each in CELLS for line in changed.get(each[0], each).split("\n")]
    assert multiply_cells(head(lines=lines)) == 0


def test_products_are_taken_apart_into_operators_of_onnx() -> None:
    graph = head(lines=CELLS)
    wanted = oracles.run(to_proto(graph), FEEDS)["y"]
    multiply_cells(graph)
    whole = taken_apart(graph)
    assert totals(layer_costs(whole, concrete_shapes(whole, {}))).macs == 2 * 64 * 4 * 10
    assert split_fused_operators(graph) == 1
    graph.toposort()
    refresh(graph)
    assert {node.domain for node in graph.nodes} <= {None, "", "ai.onnx"}
    np.testing.assert_allclose(oracles.run(to_proto(graph), FEEDS)["y"], wanted, rtol=0, atol=1e-6)
