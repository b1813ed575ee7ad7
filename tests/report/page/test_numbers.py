from __future__ import annotations

from collections.abc import Callable

import pytest

from yocc.report.page import numbers


@pytest.mark.parametrize(
    ("form", "values", "expected"),
    [
        (numbers.amount, (999,), "999"),
        (numbers.amount, (1_867_405,), "1.87 M"),
        (numbers.amount, (2_234_060_800,), "2.23 G"),
        (numbers.size, (99_999,), "100.0 kB"),
        (numbers.size, (7_931_979,), "7.93 MB"),
        (numbers.milliseconds, (73.451,), "73.5 ms"),
        (numbers.milliseconds, (0.5,), "0.50 ms"),
        (numbers.seconds, (0.012,), "12 ms"),
        (numbers.seconds, (75.7,), "1 min 15 s"),
        (numbers.seconds, (0.0,), "0.0 s"),
        (numbers.share, (0.25,), "25.0 %"),
        (numbers.share, (0.0,), "0.0 %"),
        (numbers.share, (1e-6,), "< 0.1 %"),
        (numbers.change, (8, 2), "-75.0 %"),
        (numbers.change, (2, 3), "+50.0 %"),
        (numbers.change, (2, 2), "±0.0 %"),
        (numbers.change, (0, 2), ""),
        (numbers.difference, (0.34, 0.33), "-0.010"),
        (numbers.plain_number, (-0.27846,), "-0.2785"),
    ],
)
def test_numbers_read_well(form: Callable[..., str], values: tuple, expected: str) -> None:
    assert form(*values).replace(numbers.SPACE, " ").replace(numbers.MINUS, "-") == expected


def test_types_of_floats_are_named_where_they_differ() -> None:
    timing = {"baseline": {"precision": "bf16"}, "candidate": {"precision": "f32"}}
    assert numbers.float_types(timing) == "floats of the original in bf16, of the compiled model in f32"
    assert numbers.float_types({"baseline": {}, "candidate": {"precision": "f32"}}) == ""
