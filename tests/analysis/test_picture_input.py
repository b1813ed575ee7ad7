from __future__ import annotations

from yocc.analysis.picture_input import picture_axes


def test_axes_of_pictures() -> None:
    assert picture_axes((1, 3, 64, 64)) == (2, 3)
    assert picture_axes((1, 64, 64, 1)) == (1, 2)
    assert picture_axes((1, 16, 64, 64)) is None
    assert picture_axes((1, 3)) is None
