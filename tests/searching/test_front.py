"""Which points nothing beats, and which one follows from them."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yocc.errors import ModelError, OptionError
from yocc.searching.folder import FRONT, read_front
from yocc.searching.front import Front, Point, nearest, nondominated, pick, recommend, shortfall
from yocc.searching.limits import Limits, Measured

TWO = ("latency", "loss")


def point(trial: int, latency: float, loss: float, *, limits: Limits | None = None, size: float = 1.0) -> Point:
    found = Measured(latency=latency, latency_ms=20 * latency, loss=loss, size=size, bytes=int(1e6 * size))
    recipe = {"prune": 0.1} if trial else {}
    options = "--prune 0.1" if trial else ""
    return Point(trial, {}, recipe, options, found, "measured", feasible=(limits or Limits()).met(found))


def front_of(points: list[Point], limits: Limits | None = None) -> Front:
    limits = limits or Limits()
    kept = nondominated(points, TWO)
    chosen, rule = recommend(kept, limits)
    near = nearest(points, limits)
    return Front(
        "model.onnx", "onnxruntime", "some processor", TWO, limits, "pictures", tuple(points),
        tuple(each.trial for each in kept), None if chosen is None else chosen.trial,
        None if near is None else near.trial, rule, keywords={"threads": 1}, fitting="front/pictures/fitting",
    )  # fmt: skip


POINTS = [point(0, 1.0, 0.0), point(1, 0.6, 0.01), point(2, 0.4, 0.05), point(3, 0.3, 0.4), point(4, 0.7, 0.02)]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_nothing_beats_what_is_on_the_front_and_something_equals_or_beats_the_rest(
    values: list[tuple[int, int]],
) -> None:
    points = [point(number, one / 4, other / 4) for number, (one, other) in enumerate(values)]
    kept = nondominated(points, TWO)
    chosen = [values[each.trial] for each in kept]
    assert len(set(chosen)) == len(chosen)
    assert chosen == sorted(chosen)
    for one, other in values:
        assert any(first <= one and second <= other for first, second in chosen)
    for place in chosen:
        assert not any(
            first <= place[0] and second <= place[1] and (first, second) != place for first, second in values
        )


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), 2),
        (Limits(latency=0.6), 1),
        (Limits(latency_ms=9.0), 2),
        (Limits(loss=0.03), 1),
        (Limits(latency=0.7, loss=0.1), 1),
        (Limits(latency=0.35, loss=0.1), None),
        (Limits(size=2.0), 2),
    ],
)
def test_one_follows_from_the_limits(limits: Limits, expected: int | None) -> None:
    points = [point(each.trial, each.measured.latency or 0, each.measured.loss or 0, limits=limits) for each in POINTS]
    front = front_of(points, limits)
    assert front.recommended == expected
    assert front.rule.endswith(".")
    if expected is None:
        assert front.nearest == 2
        assert "trial 2" in shortfall(front)
        assert "0.4 of the original's time" in shortfall(front)


def test_without_anything_measured_there_is_nothing_near() -> None:
    front = front_of([], Limits(loss=0.1))
    assert (front.recommended, front.nearest) == (None, None)
    assert shortfall(front) == "Allow more trials or time."
    failed = [
        replace(point(trial, 0.0, 0.0), measured=Measured(), status="stopped", reason="Too large.") for trial in (0, 1)
    ]
    assert shortfall(replace(front, points=tuple(failed))) == "The usual reason: Too large."
    assert recommend([], Limits())[0] is None
    assert recommend([point(3, 0.3, 0.4)], Limits())[0] is not None


@pytest.mark.parametrize(
    ("wanted", "expected"), [("latency=0.45", 2), ("loss=0.02", 1), ("latency_ms=6", 3), ("trial=4", 4)]
)
def test_a_point_is_picked_by_a_bound(wanted: str, expected: int) -> None:
    assert pick(front_of(POINTS), wanted).trial == expected


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("latency", "Cannot pick"), ("speed=1", "Cannot pick"), ("loss=x", "Cannot pick"),
        ("latency=0.1", "No point of the front"), ("trial=99", "no measured trial"),
    ],
)  # fmt: skip
def test_what_cannot_be_picked_is_said(wanted: str, message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        pick(front_of(POINTS), wanted)
    assert caught.value.hint


def test_a_command_compiles_a_point() -> None:
    front = front_of(POINTS)
    words = shlex.split(front.command(front.point(1)))
    assert words == [
        "yocc", "compile", "model.onnx", "--prune", "0.1", "--calib", "front/pictures/fitting", "--threads", "1",
        "-o", "out/",
    ]  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    front = front_of(POINTS, Limits(loss=0.03))
    (tmp_path / FRONT).write_text(json.dumps(asdict(front)))
    assert read_front(tmp_path) == front
    (tmp_path / FRONT).write_text('{"points": 1}')
    with pytest.raises(ModelError, match="cannot be read"):
        read_front(tmp_path)
    with pytest.raises(ModelError, match="no result of yocc search"):
        read_front(tmp_path / "elsewhere")
