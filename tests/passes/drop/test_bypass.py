from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.oracles import random_feeds, run
from tests.passes.graphs import Value, build
from yocc.analysis.blocks import Block
from yocc.compiler.graph import Graph, refresh, to_proto, verify
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.passes.drop.bypass import bypass

SHIFT = np.array([0.5, -1.0, 2.0, 0.25])
WEIGHTS: dict[str, Value] = {
    "w": (4, 4, 1, 1), "u": (4, 4, 1, 1), "z": (3, 4, 1, 1), "zb": (3,), "two": (3, 8, 1, 1), "big": (3, 4, 3, 3),
    "grouped": (6, 2, 1, 1), "gain": (4,), "on": np.array(True), "flat": (256, 5),
}  # fmt: skip
BLOCK = Block("block", "block", "h", "r", ("block",), ("block",))
STEM = "stem: h = Conv(x, w)"
TAKEN_IN = {
    "a layer": ["last: y = Conv(r, z, zb)"],
    "a layer without bias": ["last: y = Conv(r, z)"],
    "two layers of one bias": ["last: a = Conv(r, z, zb)", "also: b = Conv(r, z, zb)", "sub: y = Sub(a, b)"],
    "a layer without padding": ["last: y = Conv(r, big, zb)"],
    "a layer of groups": ["last: y = Conv<group = 2>(r, grouped)"],
    "a sum and a layer behind it": ["one: a = Conv(r, u)", "sum: b = Add(r, a)", "last: y = Conv(b, z)"],
    "a concatenation": ["cat: a = Concat<axis = 1>(h, r)", "last: y = Conv(a, two)"],
    "a concatenation of it twice": ["cat: a = Concat<axis = -3>(r, r)", "last: y = Conv(a, two)"],
    "two ways to one layer": ["sum: a = Add(r, h)", "sum2: b = Add(a, r)", "last: y = Conv(b, z, zb)"],
}
ADDED = {
    "padding": ["last: y = Conv<pads = [1, 1, 1, 1]>(r, big, zb)"],
    "an activation": ["act: a = Relu(r)", "last: y = Conv(a, z)"],
    "a layer and an activation": [
        "one: a = Conv(r, z)",
        "act: b = Relu(r)",
        "last: c = Conv(b, z)",
        "s: y = Mul(a, c)",
    ],
    "it added to itself": ["sum: a = Add(r, r)", "last: y = Conv(a, z)"],
    "an output on the way": ["sum: q = Add(r, h)", "last: y = Conv(q, z)"],
    "another axis": ["cat: a = Concat<axis = 2>(h, r)", "last: y = Conv(a, z)"],
    "a weight that is computed": ["act: k = Relu(z)", "last: y = Conv(r, k)"],
    "a layer whose weight it is": ["last: y = Conv(x, r)"],
    "rows of features": ["rows: a = Flatten(r)", "last: y = MatMul(a, flat)"],
}


def bypassed(behind: Sequence[str], outputs: Sequence[str]) -> tuple[Graph, frozenset[str]]:
    graph = build([STEM, "block: r = Conv(h, u)", *behind], WEIGHTS, outputs)
    if behind == ADDED["a layer whose weight it is"]:
        graph = build([STEM, "block: r = Conv(h, u)", *behind], WEIGHTS, outputs, shape=[4, 4, 1, 1])
    shapes = concrete_shapes(graph)
    rewired = bypass(graph, shapes, BLOCK, SHIFT, 1)
    refresh(graph)
    assert verify.problems(graph) == []
    return graph, rewired


def check(behind: Sequence[str], outputs: Sequence[str]) -> Graph:
    """The graph computes what one with the entry plus the shift computes."""
    graph, rewired = bypassed(behind, outputs)
    shape = [4, 4, 1, 1] if behind == ADDED["a layer whose weight it is"] else None
    weights = {**WEIGHTS, "d": SHIFT.astype(np.float32).reshape(1, 4, 1, 1)}
    reference = to_proto(build([STEM, "block: r = Add(h, d)", *behind], weights, outputs, shape=shape))
    feeds = random_feeds(reference, 0)
    found = run(to_proto(graph), feeds)
    for name, wanted in run(reference, feeds).items():
        np.testing.assert_allclose(found[name], wanted, atol=1e-4)
    assert rewired == {node.name for node in graph.nodes} & {
        line.split(":")[0] for line in behind if "r" in _read(line)
    }
    return graph


def _read(line: str) -> list[str]:
    return line[line.rindex("(") + 1 : -1].split(", ")


@pytest.mark.parametrize("behind", TAKEN_IN)
def test_biases_take_the_mean_in(behind: str) -> None:
    graph = check(TAKEN_IN[behind], ["y"])
    assert "block_mean" not in {node.name for node in graph.nodes}


@pytest.mark.parametrize("behind", ADDED)
def test_elsewhere_the_mean_is_added(behind: str) -> None:
    graph = check(ADDED[behind], ["y", "q"] if "output" in behind else ["y"])
    assert "block_mean" in {node.name for node in graph.nodes}


def test_nothing_to_add_is_not_added() -> None:
    for shift in (None, np.zeros(4)):
        graph = build([STEM, "block: r = Conv(h, u)", "last: y = Conv<pads = [1, 1, 1, 1]>(r, big)"], WEIGHTS, ["y"])
        shapes = concrete_shapes(graph)
        bypass(graph, shapes, BLOCK, shift, 1)
        refresh(graph)
        assert [node.op for node in graph.nodes] == ["Conv", "Conv"]
