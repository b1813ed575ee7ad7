from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yocc.analysis.statistics import BINS, TensorStatistics

TINY = float(np.finfo(np.float32).smallest_subnormal)
HUGE = float(np.finfo(np.float32).max)

values = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(-4, 4, width=32),
    st.sampled_from([0.0, -0.0, TINY, -TINY, HUGE, -HUGE, 1.0, -1.0, 0.5, 2.0**-100]),
)
tensors = hnp.arrays(np.float32, st.integers(1, 40), elements=values)
shards = st.lists(tensors, min_size=1, max_size=6)


def collected(parts: list[np.ndarray]) -> TensorStatistics:
    statistics = TensorStatistics()
    for part in parts:
        statistics.add(float(part.min()), float(part.max()), part)
    return statistics


def assert_same(a: TensorStatistics, b: TensorStatistics) -> None:
    assert (a.low, a.high, a.exponent) == (b.low, b.high, b.exponent)
    assert (a.pictures, a.lows, a.highs) == (b.pictures, b.lows, b.highs)
    np.testing.assert_array_equal(a.counts, b.counts)


@pytest.mark.slow
@given(first=shards, second=shards)
def test_statistics_of_shards_merge_to_those_of_the_union(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    whole = collected(first + second)
    assert_same(collected(first).merge(collected(second)), whole)
    assert_same(collected(second).merge(collected(first)), whole)


@pytest.mark.slow
@given(parts=shards, seed=st.integers(0, 99))
def test_the_order_does_not_matter(parts: list[np.ndarray], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(parts))
    assert_same(collected([parts[index] for index in order]), collected(parts))


@pytest.mark.slow
@given(a=shards, b=shards, c=shards)
def test_merging_is_associative(a: list[np.ndarray], b: list[np.ndarray], c: list[np.ndarray]) -> None:
    one, two, three = collected(a), collected(b), collected(c)
    assert_same(one.merge(two).merge(three), one.merge(two.merge(three)))


@pytest.mark.slow
@given(parts=shards)
def test_nothing_seen_is_the_neutral_element(parts: list[np.ndarray]) -> None:
    statistics = collected(parts)
    assert_same(statistics.merge(TensorStatistics()), statistics)
    assert_same(TensorStatistics().merge(statistics), statistics)


@pytest.mark.slow
@given(first=shards, second=shards)
def test_merging_changes_neither_side(first: list[np.ndarray], second: list[np.ndarray]) -> None:
    a, b = collected(first), collected(second)
    a.merge(b)
    assert_same(a, collected(first))
    assert_same(b, collected(second))


@pytest.mark.slow
@given(parts=shards)
def test_no_value_is_lost_and_each_lies_in_its_bin(parts: list[np.ndarray]) -> None:
    statistics = collected(parts)
    everything = np.concatenate(parts).astype(np.float64)
    width = np.ldexp(1.0, statistics.exponent)
    edges = np.ldexp(np.arange(-BINS, BINS, dtype=np.float64), statistics.exponent)
    assert statistics.counts.sum() == everything.size
    assert (statistics.low, statistics.high) == (everything.min(), everything.max())
    for start in edges[statistics.counts > 0]:
        inside = (everything >= start) & (everything < start + width)
        assert inside.sum() == statistics.counts[int(start / width) + BINS]


@pytest.mark.slow
@given(parts=shards)
def test_bins_are_as_fine_as_the_largest_value_allows(parts: list[np.ndarray]) -> None:
    statistics = collected(parts)
    largest = max(abs(statistics.low), abs(statistics.high))
    reach = BINS * np.ldexp(1.0, statistics.exponent)
    assert largest < reach
    assert largest >= reach / 2 or statistics.exponent == -149


def test_coarsening_is_exact() -> None:
    fine = np.arange(-200, 200, dtype=np.float32) / 256
    statistics = collected([fine])
    statistics.add(1000.0, 1000.0, np.array([1000.0], np.float32))
    assert_same(statistics, collected([fine, np.array([1000.0], np.float32)]))
    at_once = collected([np.append(fine, np.float32(1000.0))])
    np.testing.assert_array_equal(statistics.counts, at_once.counts)


@pytest.mark.parametrize("value", [0.0, 3.25, -3.25, TINY, -TINY, HUGE, -HUGE])
def test_a_constant_tensor_fills_one_bin(value: float) -> None:
    statistics = collected([np.full(7, value, np.float32)] * 3)
    assert statistics.counts.max() == statistics.counts.sum() == 21
    centre = float(statistics.centres[np.argmax(statistics.counts)])
    assert abs(centre - value) <= math.ldexp(0.5, statistics.exponent)


def test_range_may_be_wider_than_the_sample() -> None:
    """Minimum and maximum are of the whole tensor, the histogram of some of its values."""
    statistics = TensorStatistics()
    statistics.add(-8.0, 12.0, np.array([0.5], np.float32))
    assert (statistics.low, statistics.high, statistics.counts.sum()) == (-8.0, 12.0, 1)
    assert BINS * math.ldexp(1.0, statistics.exponent) > 12.0


def test_an_empty_sample_counts_nothing() -> None:
    statistics = TensorStatistics()
    statistics.add(0.0, 1.0, np.zeros(0, np.float32))
    assert not statistics.counts.any()
