from __future__ import annotations

from typing import Any

import pytest

from yocc.errors import OptionError
from yocc.searching.limits import Limits, Measured, read_limits


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"latency": "0.4"}, {"latency": 0.4}),
        ({"latency": 0.4}, {"latency": 0.4}),
        ({"latency": " 12 ms"}, {"latency_ms": 12.0}),
        ({"loss": 0}, {"loss": 0.0}),
        ({"size": "2.5MB"}, {"bytes": 2.5e6}),
        ({"size": 0.25, "loss": "0.02"}, {"size": 0.25, "loss": 0.02}),
        ({"memory": "60MB"}, {"memory_bytes": 6e7}),
        ({"memory": 0.5}, {"memory": 0.5}),
    ],
)
def test_limits_are_read(given: dict[str, Any], expected: dict[str, float]) -> None:
    assert read_limits(**given).given == expected


@pytest.mark.parametrize(
    "given",
    [
        {"latency": "fast"}, {"latency": 0}, {"latency": "-1"}, {"latency": "nan"}, {"loss": 1.5}, {"loss": -0.1},
        {"size": "2 apples"}, {"size": "inf"}, {"memory": 0},
    ],
)  # fmt: skip
def test_what_is_no_limit_is_refused_with_an_example(given: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="cannot be") as caught:
        read_limits(**given)
    assert "such as" in caught.value.hint


def test_violations_are_shares_of_the_limit_and_unknown_values_meet_nothing() -> None:
    limits = Limits(latency=0.5, loss=0.02)
    found = Measured(latency=0.6, loss=0.01)
    assert limits.violations(found) == pytest.approx({"latency": 0.2, "loss": -0.5})
    assert not limits.met(found)
    assert limits.met(Measured(latency=0.5, loss=0.02))
    assert not limits.met(Measured(latency=0.5))
    assert limits.violations(Measured()) == {}
    assert Limits().met(Measured())
    assert Limits(loss=0.0).violations(Measured(loss=0.1))["loss"] > 0
    assert limits.text() == "0.5 of the original's time and a loss of 0.02"
    assert Limits(latency_ms=12, bytes=2e6).text() == "12 ms and 2 MB"
    assert Limits(memory=0.5, memory_bytes=6e7).text() == "0.5 of the original's memory and 60 MB of memory"
