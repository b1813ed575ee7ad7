from __future__ import annotations

import pytest

from yocc.compiler.pipeline.pixels import Pixels


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (Pixels("rgb", 1 / 255), (0.0, 1.0)),
        (Pixels("bgr", 1.0), (0.0, 255.0)),
        (Pixels("rgb", 1.0, (128.0,), (128.0,)), (-1.0, 127 / 128)),
        (Pixels("rgb", 1.0, (128.0, 128.0, 128.0)), (-128.0, 127.0)),
        (Pixels("rgb", 1 / 127.5, (1.0,)), None),
        (Pixels("rgb", 1.0, (128.0, 127.0, 128.0)), None),
        (Pixels("rgb", 1.0, std=(1.0, 2.0, 1.0)), None),
        (Pixels("rgb", 1.0, (-10.0,)), None),
        (Pixels("rgb", 1.0, std=(-1.0,)), None),
    ],
)
def test_bytes_fit_an_integer_scale_where_zero_is_a_byte(pixels: Pixels, expected: tuple[float, float] | None) -> None:
    assert pixels.whole_range() == (None if expected is None else pytest.approx(expected))


def test_unit_and_zero_are_those_of_each_channel() -> None:
    pixels = Pixels("rgb", 1 / 255, (0.5, 0.25, 0.0), (0.5, 1.0, 2.0))
    assert pixels.zero == pytest.approx([127.5, 63.75, 0.0])
    assert pixels.unit == pytest.approx([2 / 255, 1 / 255, 0.5 / 255])
