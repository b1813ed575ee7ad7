from __future__ import annotations

import math
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.networks.topologies import TOPOLOGIES
from tests.oracles import random_feeds, run
from tests.passes.feeding import Pictures, context, drawn
from tests.passes.graphs import build
from yocc.analysis.calibrate import SAMPLE, _stride, collect
from yocc.analysis.statistics import TensorStatistics
from yocc.compiler.graph import Graph, load, to_proto
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import Arrays, PassContext
from yocc.compiler.pipeline.target import Target
from yocc.errors import CalibrationError, InternalError

LINES = ["c: a = Conv<pads=[1,1,1,1]>(x, w)", "s: b = Sigmoid(a)", "m: y = Mul(a, b)"]


def small() -> Graph:
    return build(LINES, {"w": (4, 4, 3, 3)}, ["y"])


def collected(graph: Graph, tensors: list[str], feeds: Pictures) -> dict[str, TensorStatistics]:
    return collect(graph, tensors, feeds, concrete_shapes(graph), context())


@pytest.mark.parametrize("opset", [13, 17, 18, 22])
def test_ranges_and_histograms_are_exact(opset: int) -> None:
    graph = build(LINES, {"w": (4, 4, 3, 3)}, ["y"], opset=opset)
    feeds = drawn(to_proto(graph), 3)
    found = collected(graph, ["x", "a", "b"], feeds)
    for name in ("x", "a", "b"):
        values = [run(to_proto(graph), arrays, taps=[name])[name] if name != "x" else arrays["x"] for arrays in feeds]
        expected = TensorStatistics()
        for value in values:
            expected.add(float(value.min()), float(value.max()), value.ravel())
        assert (found[name].low, found[name].high) == (min(v.min() for v in values), max(v.max() for v in values))
        np.testing.assert_array_equal(found[name].counts, expected.counts)


def test_a_tensor_without_values_has_no_range() -> None:
    graph = build(["s: a, y = Split<axis = 1>(x, sizes)", "n: z = Neg(a)"], {"sizes": [0, 4]}, ["y", "z"])
    found = collected(graph, ["a", "y"], drawn(to_proto(graph), 2))
    assert (found["a"].low, found["a"].high, found["a"].counts.sum()) == (0, 0, 0)
    assert found["y"].high > 0


def test_large_tensors_are_sampled_but_their_extremes_are_not_missed() -> None:
    graph = build(["r: y = Relu(a)", "n: a = Neg(x)"][::-1], {}, ["y"], shape=[1, 3, 128, 128])
    for place in ((0, 0, 0, 0), (0, 2, 127, 127), (0, 1, 63, 5)):
        picture = np.random.default_rng(0).random((1, 3, 128, 128), dtype=np.float32)
        picture[place] = 9
        found = collected(graph, ["a"], Pictures([{"x": picture}]))["a"]
        assert found.low == -9
        assert SAMPLE / 2 < found.counts.sum() <= SAMPLE


@given(sizes=st.lists(st.sampled_from([1, 2, 3, 7, 8, 16, 40, 80, 255]), min_size=3, max_size=4))
def test_the_stride_meets_all_channels_rows_and_columns(sizes: list[int]) -> None:
    size = math.prod(sizes)
    stride = _stride(size)
    taken = np.unravel_index(np.arange(0, size, stride), sizes)
    assert len(taken[0]) <= SAMPLE
    for axis, length in enumerate(sizes):
        if len(taken[0]) >= 20 * length:
            counts = np.bincount(taken[axis], minlength=length)
            assert counts.min() >= 0.4 * counts.max()


def test_many_pictures_take_no_more_memory_than_few() -> None:
    """Only one picture is alive at a time, and what is kept of it has a fixed size."""
    graph, alive = small(), []

    class Stream(Pictures):
        def __iter__(self) -> Iterator[Arrays]:
            for seed in range(len(self)):
                picture = random_feeds(to_proto(graph), seed)["x"]
                alive.append(weakref.ref(picture))
                yield {"x": picture}
                del picture
                assert sum(reference() is not None for reference in alive) <= 1

        def __len__(self) -> int:
            return 200

    found = collected(graph, ["x", "a"], Stream([]))
    assert len(alive) == 200
    assert found["x"].counts.sum() == 200 * 4 * 8 * 8
    assert found["x"].counts.nbytes == TensorStatistics().counts.nbytes


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 100, 255])
def test_a_picture_with_nan_or_infinity_is_an_error(value: float, place: int) -> None:
    graph = small()
    feeds = drawn(to_proto(graph), 3)
    feeds.arrays[1]["x"].reshape(-1)[place] = value
    with pytest.raises(CalibrationError, match="'x' to infinity or NaN") as caught:
        collected(graph, ["x"], feeds)
    assert caught.value.node == "x"


def test_an_overflow_within_the_model_names_its_tensor() -> None:
    graph = build(["e: a = Exp(x)", "r: y = Relu(a)"], {}, ["y"])
    feeds = Pictures([{"x": np.full((1, 4, 8, 8), 100, np.float32)}])
    with pytest.raises(CalibrationError, match="'a'"):
        collected(graph, ["x", "a"], feeds)


def test_no_pictures_are_an_error() -> None:
    with pytest.raises(CalibrationError, match="nothing to calibrate"):
        collected(small(), ["x"], Pictures([]))


def test_no_tensors_need_no_run() -> None:
    assert collected(small(), [], drawn(to_proto(small()))) == {}


def test_a_context_without_an_executor_is_an_error_of_ours() -> None:
    graph = small()
    with pytest.raises(InternalError, match="needs an executor"):
        collect(graph, ["x"], drawn(to_proto(graph)), concrete_shapes(graph), PassContext(Target("test")))


def test_the_graph_is_left_as_it_was() -> None:
    graph = load(TOPOLOGIES["residual"](0))
    before = to_proto(graph).SerializeToString(deterministic=True)
    collected(graph, [graph.nodes[0].outputs[0].name], drawn(to_proto(graph)))
    assert to_proto(graph).SerializeToString(deterministic=True) == before
