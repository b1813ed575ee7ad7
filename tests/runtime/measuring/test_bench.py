from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import yocc.compiler.pipeline.alternating as alternating
from tests.samples import tiny_feed, tiny_model
from yocc.errors import OptionError
from yocc.runtime.backends.backend import Session, TensorSpec
from yocc.runtime.backends.onnxruntime import session_of
from yocc.runtime.measuring.bench import compare_speed, describe_machine, random_feeds

FLOAT = np.dtype(np.float32)


class Stepping(Session):
    """Takes as many seconds of the fake clock as it is told."""

    inputs = outputs = ()

    def __init__(self, name: str, seconds: float, clock: Clock) -> None:
        self.name, self.seconds, self.clock = name, seconds, clock

    def run(self, feeds: dict) -> dict:  # noqa: ARG002 # time passes whatever is fed
        self.clock.now += self.seconds * self.clock.slowdown
        self.clock.slowdown *= self.clock.drift
        self.clock.order.append(self.name)
        return {}


class Clock:
    def __init__(self, drift: float = 1.0) -> None:
        self.now, self.slowdown, self.drift, self.order = 0.0, 1.0, drift, []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(alternating, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def test_medians_and_ratios_are_of_the_clock(clock: Clock) -> None:
    timing = compare_speed(Stepping("a", 0.2, clock), Stepping("b", 0.1, clock), [{}], rounds=5)
    assert timing.baseline.median == pytest.approx(200)
    assert timing.candidate.quartiles == pytest.approx((100, 100))
    assert timing.speedup == timing.paired_speedup == 2.0


def test_order_alternates_and_warm_up_is_run_but_not_counted(clock: Clock) -> None:
    timing = compare_speed(Stepping("a", 1, clock), Stepping("b", 1, clock), [{}], rounds=2, warm_up=1)
    assert "".join(clock.order) == "baabba"
    assert timing.rounds == 2


def test_pairing_takes_out_a_machine_that_slows_down(clock: Clock) -> None:
    clock.drift = 1.2
    timing = compare_speed(Stepping("a", 1, clock), Stepping("b", 1, clock), [{}], rounds=10, warm_up=0)
    assert timing.paired_speedup == pytest.approx(1.0, abs=0.03)


def test_real_sessions_are_timed() -> None:
    with session_of(tiny_model()) as first, session_of(tiny_model()) as second:
        timing = compare_speed(first, second, [tiny_feed()], rounds=3, warm_up=1, threads=1)
    assert timing.threads == 1
    assert timing.rounds == 3
    assert timing.speedup == pytest.approx(timing.baseline.median / timing.candidate.median, rel=0.1)
    for side in (timing.baseline, timing.candidate):
        assert side.quartiles[0] <= side.median <= side.quartiles[1]


@pytest.mark.parametrize(("rounds", "feeds"), [(0, [{}]), (3, [])])
def test_nothing_to_time_is_refused(clock: Clock, rounds: int, feeds: list) -> None:
    with pytest.raises(OptionError):
        compare_speed(Stepping("a", 1, clock), Stepping("b", 1, clock), feeds, rounds=rounds)


def test_random_feeds_are_seeded_and_fit_every_type() -> None:
    specs = [
        TensorSpec("f", ("n", 3), FLOAT),
        TensorSpec("i", (4,), np.dtype(np.int8)),
        TensorSpec("b", (5,), np.dtype(np.bool_)),
        TensorSpec("h", (2,), np.dtype(np.float16)),
    ]
    first, second = (random_feeds(specs, {"f": (2, 3)}, seed=3, count=2) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        for spec in specs:
            assert one[spec.name].dtype == spec.dtype
            np.testing.assert_array_equal(one[spec.name], other[spec.name])
    assert first[0]["f"].shape == (2, 3)
    assert not np.array_equal(first[0]["f"], first[1]["f"])


def test_open_shape_without_a_size_is_refused() -> None:
    with pytest.raises(OptionError, match="'f'"):
        random_feeds([TensorSpec("f", (None, 3), FLOAT)], {})


def test_machine_is_described() -> None:
    machine = describe_machine()
    assert machine.processor
    assert machine.cores >= 1


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec("s", (), np.dtype(np.object_), open_rank=True),
        TensorSpec("s", (2,), np.dtype(np.void)),
    ],
)
def test_sequences_and_types_that_numpy_lacks_are_refused(spec: TensorSpec) -> None:
    with pytest.raises(OptionError, match="Input 's' is"):
        random_feeds([spec], {})
