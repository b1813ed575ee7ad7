from __future__ import annotations

from fractions import Fraction

import pytest

from yocc.passes.resize_input.extents import Axis, Extent, regroup

BATCH = Axis(1, 4, "batch")
HEIGHT = Axis(20, 15, "height", Fraction(32))
WIDTH = Axis(20, 30, "width", Fraction(32))


def _extents(*parts: Axis | int) -> list[Extent]:
    return [Extent.fixed(part) if isinstance(part, int) else Extent.of(part) for part in parts]


def _new(extents: list[Extent] | None) -> list[int] | None:
    return None if extents is None else [extent.new for extent in extents]


@pytest.mark.parametrize(
    ("source", "sizes", "wanted"),
    [
        ((BATCH, 255, HEIGHT, WIDTH), (1, 3, 85, 20, 20), [4, 3, 85, 15, 30]),
        ((BATCH, 3, HEIGHT, WIDTH, 85), (1, 1200, 85), [4, 1350, 85]),
        ((BATCH, 116, HEIGHT, WIDTH), (1, 2, 58, 20, 20), [4, 2, 58, 15, 30]),
        ((BATCH, 2, 58, HEIGHT, WIDTH), (1, 116, 20, 20), [4, 116, 15, 30]),
        ((BATCH, 6, 10, HEIGHT), (4, 15, 20), [16, 15, 15]),
        ((BATCH, 3, HEIGHT, WIDTH), (3, 400), [12, 450]),
        ((BATCH, 3, HEIGHT, WIDTH), (1, 3, 1, 400), [4, 3, 1, 450]),
        ((BATCH, 16, 1, 1), (1, 16), [4, 16]),
        ((BATCH, HEIGHT, WIDTH, 12), (1, 1200, 4), [4, 1350, 4]),
    ],
)  # fmt: skip
def test_axes_stay_whole(source: tuple[Axis | int, ...], sizes: tuple[int, ...], wanted: list[int]) -> None:
    assert _new(regroup(_extents(*source), sizes)) == wanted


@pytest.mark.parametrize(
    ("source", "sizes"),
    [
        ((BATCH, 3, HEIGHT, WIDTH), (1, 3, 10, 2, 20)),
        ((BATCH, HEIGHT, WIDTH, 8), (1, 16, 5, 5, 8)),
        ((BATCH, 3, HEIGHT), (1, 2, 30)),
        ((BATCH, 3, HEIGHT), (1, 3, 21)),
    ],
)
def test_what_cuts_an_axis_that_varies_is_not_known(source: tuple[Axis | int, ...], sizes: tuple[int, ...]) -> None:
    assert regroup(_extents(*source), sizes) is None


def test_axes_keep_their_order_when_they_are_taken_apart_again() -> None:
    merged = regroup(_extents(BATCH, 8, HEIGHT, WIDTH), (1, 8, 400))
    assert merged is not None
    assert _new(regroup(merged, (1, 8, 20, 20))) == [4, 8, 15, 30]


def test_joined_axes_have_borders() -> None:
    joined = Extent((*Extent.of(HEIGHT, WIDTH).parts, *Extent.fixed(5).parts))
    assert joined.old == 405
    assert joined.borders() == {0: 0, 400: 450, 405: 455}
    assert joined.between(400, 405) == Extent.fixed(5)
    assert joined.between(0, 401) is None
