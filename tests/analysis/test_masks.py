from __future__ import annotations

import numpy as np
import pytest

from tests.passes.graphs import build
from yocc.analysis.masks import infinite_tensors, is_masked
from yocc.analysis.statistics import TensorStatistics


def statistics(values: np.ndarray) -> TensorStatistics:
    found = TensorStatistics()
    found.add(float(values.min()), float(values.max()), values.astype(np.float32))
    return found


def scores(count: int = 500) -> np.ndarray:
    return np.random.default_rng(0).normal(size=count) * 3


@pytest.mark.parametrize("sentinel", [-1e9, -1e4, 65504.0, float(np.finfo(np.float32).min)])
def test_numbers_far_beyond_all_others_are_a_mask(sentinel: float) -> None:
    assert is_masked(statistics(np.append(scores(), np.full(300, sentinel) + scores(300))))
    assert is_masked(statistics(np.append(scores(), sentinel)))


@pytest.mark.parametrize(
    "values",
    [scores(), scores() * 1e5, np.append(scores(), 40.0), np.full(9, -1e9), np.linspace(0, 640, 641) ** 2],
    ids=["scores", "large scores", "an outlier", "nothing else", "areas"],
)
def test_wide_ranges_are_no_mask(values: np.ndarray) -> None:
    assert not is_masked(statistics(values))


def test_infinity_goes_as_far_as_the_next_layer() -> None:
    infinite = np.array([0, -np.inf], np.float32)
    nodes = ["a: a = Add(x, m)", "s: b = Softmax(a)", "l: c = MatMul(b, w)", "r: d = Relu(c)", "o: e = Relu(x)"]
    graph = build(nodes, {"m": infinite, "w": (2, 2)}, ["d", "e"], [1, 2])
    assert infinite_tensors(graph) == {"a", "b"}
