from __future__ import annotations

import numpy as np
import pytest

from tests.oracles import random_feeds, run
from tests.passes.graphs import build
from yocc.compiler.graph import refresh, to_proto
from yocc.passes.encode.repeats import store_once


def stored(lines: list[str], grid: np.ndarray) -> tuple[int, tuple[int, ...]]:
    """How many were shortened, and the shape of `grid` after; the function is checked to stay."""
    graph = build(lines, {"grid": grid.astype(np.float32)}, ["y"])
    before = to_proto(graph)
    feeds = random_feeds(before, 0)
    wanted = run(before, feeds)["y"]
    count = store_once(graph)
    refresh(graph)
    np.testing.assert_array_equal(run(to_proto(graph), feeds)["y"], wanted)
    return count, tuple(graph.tensors()["grid"].shape)


def test_what_repeats_along_axes_is_stored_once() -> None:
    grid = np.broadcast_to(np.arange(8), (1, 4, 8, 8))
    assert stored(["a: y = Add(x, grid)"], grid) == (1, (1, 1, 1, 8))
    assert stored(["a: y = Sub(grid, x)"], np.full((1, 4, 8, 8), 3.0)) == (1, (1, 1, 1, 1))


@pytest.mark.parametrize(
    ("lines", "shape"),
    [
        (["r: z = ReduceMean<axes=[1], keepdims=1>(x)", "a: y = Add(z, grid)"], (1, 4, 8, 8)),
        (["s: y = Concat<axis=1>(x, grid)"], (1, 4, 8, 8)),
        (["a: z = Add(x, grid)", "s: y = Concat<axis=1>(z, grid)"], (1, 4, 8, 8)),
        (["a: y = Add(grid, grid)"], (1, 4, 8, 8)),
    ],
)
def test_what_gives_its_reader_a_shape_stays(lines: list[str], shape: tuple[int, ...]) -> None:
    assert stored(lines, np.ones(shape)) == (0, shape)


def test_what_differs_stays() -> None:
    grid = np.random.default_rng(0).normal(size=(1, 4, 8, 8))
    assert stored(["a: y = Add(x, grid)"], grid) == (0, (1, 4, 8, 8))
    signed = np.zeros((1, 4, 8, 8))
    signed[0, 1] = -0.0
    assert stored(["a: y = Mul(x, grid)"], signed) == (1, (1, 4, 1, 1))
