from __future__ import annotations

import numpy as np
import pytest

from tests.passes.feeding import context, run_pass, smooth
from tests.passes.graphs import build
from yocc.compiler.graph import to_proto
from yocc.compiler.pipeline.target import Target
from yocc.passes.fuse import Fuse
from yocc.rewrites.vanishing import clear_vanishing

NODES = ["c: a = Conv(x, w, b)", "r: y = Relu(a)"]


@pytest.mark.parametrize(("size", "cleared"), [(1e-20, 2), (1e-10, 0), (0.0, 0)])
def test_weights_far_below_the_others_become_zero(size: float, cleared: int) -> None:
    weight = np.full((4, 4, 1, 1), 0.5, np.float32)
    weight[1, :2] = size
    graph = build(NODES, {"w": weight, "b": np.ones(4, np.float32)}, ["y"])
    assert clear_vanishing(graph) == cleared
    values = graph.tensors()["w"].values
    np.testing.assert_array_equal(values, np.where(weight == np.float32(1e-20), 0, weight))


def test_a_layer_of_small_numbers_keeps_them() -> None:
    weight = np.full((4, 4, 1, 1), 1e-20, np.float32)
    graph = build(NODES, {"w": weight, "b": np.ones(4, np.float32)}, ["y"])
    assert clear_vanishing(graph) == 0


def test_fuse_says_so_and_does_it_once() -> None:
    weight = np.full((4, 4, 1, 1), 0.5, np.float32)
    weight[0, 0] = 1e-30
    graph = build(NODES, {"w": weight, "b": np.ones(4, np.float32)}, ["y"])
    ctx = context(Target("test"), smooth(to_proto(graph), 2))
    assert run_pass(Fuse(), graph, ctx) == 1
    assert "became zero, 1 in all" in ctx.notes[0].message
    assert run_pass(Fuse(), graph, ctx) == 0
