from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yocc.runtime.detection.suppression import intersection_over_union, suppress


def overlap_of(one: np.ndarray, other: np.ndarray) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared
    return shared / union if union > 0 else 0.0


def slowly(boxes: np.ndarray, classes: np.ndarray, overlap: float, most: int) -> list[int]:
    kept: list[int] = []
    for place in range(len(boxes)):
        rivals = [other for other in kept if classes[other] == classes[place]]
        if len(kept) < most and all(overlap_of(boxes[other], boxes[place]) <= overlap for other in rivals):
            kept.append(place)
    return kept


@st.composite
def crowds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    count = draw(st.integers(0, 700))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # Whole numbers on a small grid: many overlaps, many ties, empty boxes, and exact arithmetic in both ways.
    corners = random.integers(0, 12, (count, 2))
    sides = random.integers(0, 8, (count, 2))
    classes = random.integers(0, draw(st.integers(1, 4)), count)
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float64), classes


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(crowd=crowds(), overlap=st.sampled_from([0.0, 0.3, 0.45, 0.6, 1.0]), most=st.sampled_from([1, 7, 300]))
def test_equals_the_obvious_way(crowd: tuple[np.ndarray, np.ndarray], overlap: float, most: int) -> None:
    boxes, classes = crowd
    assert suppress(boxes, classes, overlap, most).tolist() == slowly(boxes, classes, overlap, most)


def test_the_order_decides() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]], np.float32)
    assert suppress(boxes, np.zeros(3, int), 0.5, 300).tolist() == [0, 2]
    assert suppress(boxes[[1, 0, 2]], np.zeros(3, int), 0.5, 300).tolist() == [0, 2]


def test_other_classes_do_not_suppress() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 3, np.float32)
    assert suppress(boxes, np.array([0, 1, 0]), 0.5, 300).tolist() == [0, 1]


def test_a_suppressed_box_suppresses_nothing() -> None:
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    assert suppress(boxes, np.zeros(3, int), 0.4, 300).tolist() == [0, 2]


def test_nothing_in_nothing_out() -> None:
    assert suppress(np.empty((0, 4)), np.empty(0, int), 0.5, 300).tolist() == []


@pytest.mark.parametrize(
    ("other", "expected"),
    [([0, 0, 2, 2], 1.0), ([1, 0, 3, 2], 1 / 3), ([2, 0, 4, 2], 0.0), ([5, 5, 6, 6], 0.0), ([1, 1, 1, 1], 0.0)],
)
def test_overlap(other: list[float], expected: float) -> None:
    got = intersection_over_union(np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([other], float))
    assert got == pytest.approx(np.array([[expected]]), abs=1e-12)


def test_two_empty_boxes_do_not_overlap() -> None:
    empty = np.array([[3.0, 3.0, 3.0, 3.0]])
    assert intersection_over_union(empty, empty).tolist() == [[0.0]]
