from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.passes.graphs import build
from tests.runtime.backends.test_anchor_products import FEEDS, HEAD
from yocc.compiler.graph import Graph, refresh, to_proto
from yocc.compiler.graph.verify import problems
from yocc.runtime.backends.anchor_products import multiply_cells
from yocc.runtime.backends.chosen_products import multiply_chosen

TABLE = [
    *HEAD[:5], "t: o = Transpose<perm=[0, 2, 3, 1]>(a)", "r: e = Reshape(o, rows)",
    "s: m = Slice(e, from, to, along)", "u: n = Reshape(m, flat)", "k: values, best = TopK(n, most)",
    "g: v2 = Gather<axis=0>(e, best)", "y: y = Sigmoid(v2)",
]  # fmt: skip


def table(lines: list[str] = TABLE, **other: Any) -> Graph:
    """The best 7 rows of 2 pictures, 64 cells and 2 anchors of five values, by the fourth value."""
    random = np.random.default_rng(0)
    scale = random.uniform(0.01, 0.02, 10).astype(np.float32)
    constants: dict[str, Any] = {
        "rows": np.array([256, 5]), "flat": np.array([-1]), "most": np.array([7]),
        "from": np.array([3]), "to": np.array([4]), "along": np.array([1]),
        "i": np.float32(0.03), "j": np.uint8(120), "s": scale, "z": np.zeros(10, np.int8),
        "w": random.integers(-127, 128, (10, 4, 1, 1)).astype(np.int8),
        "f": random.integers(-5000, 5000, 10).astype(np.int32), "l": scale * np.float32(0.03),
    }  # fmt: skip
    graph = build(lines, constants | other, ["y"], shape=(2, 4, 8, 8))
    refresh(graph)
    return graph


def test_other_values_are_computed_for_chosen_cells_only() -> None:
    graph = table()
    wanted = oracles.run(to_proto(graph), FEEDS)["y"]
    assert multiply_chosen(graph) == 1
    assert multiply_cells(graph) == 0
    assert problems(graph) == []
    products = [node for node in graph.nodes if node.op == "MatMulIntegerToFloat"]
    assert sorted(node.inputs[1].shape for node in products) == [(4, 2), (4, 10)]
    np.testing.assert_allclose(oracles.run(to_proto(graph), FEEDS)["y"], wanted, rtol=0, atol=1e-6)


ROWS = {"from": np.array([0]), "to": np.array([100])}


@pytest.mark.parametrize(
    ("changed", "other"),
    [
        pytest.param({}, {"most": np.array([100])}, id="too many rows"),
        pytest.param({}, {"to": np.array([5])}, id="two columns"),
        pytest.param({"s": "s: m = Slice(e, from, to)"}, ROWS, id="rows are sliced"),
        pytest.param({"y": "y: q1 = ReduceSum<keepdims=0>(e)\nz: y = Add(v2, q1)"}, {}, id="all rows are read"),
        pytest.param({"y": "y: q1 = ReduceSum<keepdims=0>(a)\nz: y = Add(v2, q1)"}, {}, id="the map is read"),
    ],
)
def test_other_tables_stay_whole(changed: dict[str, str], other: dict[str, Any]) -> None:
    lines = [line for each in TABLE for line in changed.get(each[0], each).split("\n")]
    assert multiply_chosen(table(lines, **other)) == 0
