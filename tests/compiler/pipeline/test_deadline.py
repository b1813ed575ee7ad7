from __future__ import annotations

import math
import time
from types import SimpleNamespace

import pytest

from yocc.compiler.pipeline import deadline
from yocc.compiler.pipeline.deadline import Deadline, read_duration
from yocc.errors import OptionError


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("30m", 1800.0), ("2h", 7200.0), (" 1.5h ", 5400.0)])
def test_durations_are_read_with_their_unit(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "-5m", "0s", "1e3s", "30 minutes", "1h30m", "infs"])
def test_what_is_no_positive_duration_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="90s, 30m or 2h"):
        read_duration(text)


def test_without_seconds_time_never_ends() -> None:
    assert Deadline().left() == math.inf


def test_time_runs_from_when_the_deadline_was_made_and_never_below_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    before = time.monotonic()
    assert before <= Deadline(100.0).started <= time.monotonic()
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=lambda: 5.0))
    assert Deadline(100.0, 4.0).left() == 99.0
    assert Deadline(100.0, -1000.0).left() == 0.0
