from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import oracles
from tests.passes.graphs import build
from yocc.compiler.graph import Graph, clone, refresh, to_proto
from yocc.compiler.graph.verify import problems
from yocc.runtime.backends.in_place import write_in_place
from yocc.runtime.backends.late_joins import join_late

ROWS = [
    "n: s = Sigmoid(x)", "p: a, b, c = Split<axis=-1>(s, parts)", "m: d = Mul(a, two)", "q: e = Mul(b, b)",
    "j: y = Concat<axis=2>(d, e, c)",
]  # fmt: skip
FEEDS = {"x": np.random.default_rng(1).normal(size=(2, 6, 8)).astype(np.float32)}


def rows(lines: list[str] = ROWS, parts: tuple[int, ...] = (2, 2, 4), output: str = "y") -> Graph:
    graph = build(lines, {"parts": np.array(parts), "two": np.float32(2)}, [output], shape=(2, 6, 8))
    refresh(graph)
    return graph


def test_what_is_passed_on_stays_where_it_is() -> None:
    graph = rows()
    wanted = oracles.run(to_proto(graph), FEEDS)["y"]
    assert write_in_place(graph) == 1
    assert problems(graph) == []
    assert [node.op for node in graph.nodes if node.op in ("Slice", "ScatterElements")] == ["Slice", "ScatterElements"]
    np.testing.assert_array_equal(oracles.run(to_proto(graph), FEEDS)["y"], wanted)


SPLIT = ["n: s = Sigmoid(x)", "p: a, b, c = Split<axis=2>(s, parts)", "m: d = Neg(a)", "q: e = Neg(b)"]
JOIN = "j: y = Concat<axis=2>(d, e, c)"


@pytest.mark.parametrize(
    ("lines", "parts", "output"),
    [
        pytest.param(["j: y = Concat<axis=2>(c, d, e)"], (2, 2, 4), "y", id="passed on elsewhere"),
        pytest.param(["j: y = Concat<axis=1>(d, e)"], (2, 2, 4), "y", id="another axis"),
        pytest.param([JOIN], (3, 3, 2), "y", id="little passed on"),
        pytest.param(["k: f = Relu(c)", "j: y = Concat<axis=2>(d, e, f)"], (2, 2, 4), "y", id="nothing passed on"),
        pytest.param([JOIN, "k: g = Neg(s)", "l: h = Add(y, g)"], (2, 2, 4), "h", id="rows read elsewhere"),
    ],
)
def test_other_heads_are_left_alone(lines: list[str], parts: tuple[int, ...], output: str) -> None:
    assert write_in_place(rows(SPLIT + lines, parts, output)) == 0


def test_one_changed_part_between_others() -> None:
    lines = ["n: s = Sigmoid(x)", "p: a, b, c = Split<axis=2>(s, parts)", "m: d = Mul(b, two)",
             "j: y = Concat<axis=2>(a, d, c)"]  # fmt: skip
    graph = rows(lines, (1, 2, 5))
    wanted = oracles.run(to_proto(graph), FEEDS)["y"]
    assert write_in_place(graph) == 1
    np.testing.assert_array_equal(oracles.run(to_proto(graph), FEEDS)["y"], wanted)


HEAD = [
    "r0: c0 = Reshape(a0, cells)", "r1: c1 = Reshape(a1, cells)", "j: x1 = Concat<axis=1>(c0, c1)",
    "n: s = Sigmoid(x1)", "p: b, c = Split<axis=4>(s, parts)", "m: d = Mul(b, grid)", "k: e = Concat<axis=4>(d, c)",
    "f: g = Reshape(e, rows)", "l: y = Concat<axis=1>(g, other)",
]  # fmt: skip


def anchors(**changed: str) -> Graph:
    """Two anchors of five values at 2 x 3 cells, joined with four rows of another map."""
    random = np.random.default_rng(0)
    constants: dict[str, Any] = {
        "cells": np.array([1, 1, 2, 3, 5]), "parts": np.array([2, 3]), "rows": np.array([1, 12, 5]),
        "grid": random.normal(size=(1, 2, 2, 3, 2)).astype(np.float32),
        "other": random.normal(size=(1, 4, 5)).astype(np.float32),
    }  # fmt: skip
    lines = ["h: a0, a1 = Split<axis=1>(x)", *(changed.get(line[0], line) for line in HEAD)]
    graph = build(lines, constants, ["y"], shape=(1, 12, 5))
    refresh(graph)
    return graph


ANCHOR_FEEDS = {"x": np.random.default_rng(2).normal(size=(1, 12, 5)).astype(np.float32)}


def test_anchors_are_joined_once() -> None:
    graph = anchors()
    wanted = oracles.run(to_proto(graph), ANCHOR_FEEDS)["y"]
    assert write_in_place(graph) == 1
    written = clone(graph)
    assert join_late(graph) == 1
    assert problems(graph) == []
    assert [node.op for node in graph.nodes].count("ScatterElements") == 2
    assert len(next(node for node in graph.nodes if node.name == "l").inputs) == 3
    for each in (written, graph):
        np.testing.assert_array_equal(oracles.run(to_proto(each), ANCHOR_FEEDS)["y"], wanted)


def test_anchors_that_are_not_joined_with_others_stay() -> None:
    graph = anchors(l="l: y = Concat<axis=2>(g, g)")
    write_in_place(graph)
    assert join_late(graph) == 0
    assert join_late(anchors()) == 0


@pytest.mark.slow
def test_onnxruntime_knows_the_places_when_it_loads_the_model(tmp_path: Path) -> None:
    graph = anchors()
    write_in_place(graph)
    join_late(graph)
    assert "Expand" not in oracles.optimized_operators(to_proto(graph), tmp_path)
