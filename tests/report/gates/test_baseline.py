from __future__ import annotations

import pytest

from tests.report.gates.contents import content
from yocc.errors import OptionError
from yocc.report.gates.baseline import gates_against, parse_tolerances
from yocc.report.gates.gate import check_gates, violated
from yocc.report.gates.metrics import METRICS


def test_report_is_as_good_as_itself() -> None:
    gates = gates_against(content(), {"latency_ms": 0.0, "latency_ratio": 0.0})
    assert {gate.metric for gate in gates} == set(METRICS)
    assert violated(check_gates(gates, content())) == ""


def test_latencies_are_compared_only_when_asked() -> None:
    assert {gate.metric for gate in gates_against(content(), {})} == {
        name for name, metric in METRICS.items() if not metric.noisy
    }
    assert "latency_ms <= 6.5" in map(str, gates_against(content(), {"latency_ms": 0.5}))


@pytest.mark.parametrize(
    ("tolerances", "broken"),
    [({}, ["map50_95", "map50_95_after"]), ({"map50_95": 0.005, "map50_95_after": 0.005}, [])],
)
def test_tolerance_is_what_may_be_lost(tolerances: dict[str, float], broken: list[str]) -> None:
    worse = content()
    worse["accuracy"]["compiled"]["map50_95"] -= 0.005
    outcomes = check_gates(gates_against(content(), tolerances), worse)
    assert [each.metric for each in outcomes if not each.passed] == broken


def test_getting_better_is_allowed_both_ways() -> None:
    better = content(after={"parameters": 1, "macs": 1, "bytes": 1})
    better["accuracy"]["compiled"]["map50_95"] = 0.9
    assert violated(check_gates(gates_against(content(), {}), better)) == ""


def test_what_the_baseline_has_must_be_measured_again() -> None:
    outcomes = check_gates(gates_against(content(), {}), content(accuracy=None))
    assert {each.metric for each in outcomes if not each.passed} == {
        "map50_95", "map50", "map50_95_after", "map50_after"
    }  # fmt: skip


def test_what_the_baseline_lacks_is_not_asked_for() -> None:
    gates = gates_against(content(accuracy=None), {})
    assert not {gate.metric for gate in gates} & {"map50", "map50_95"}
    with pytest.raises(OptionError, match="'map50'"):
        gates_against(content(accuracy=None), {"map50": 0.1})


def test_tolerances_are_read() -> None:
    assert parse_tolerances({"map50_95": "0.005", "size_mb": "0"}) == {"map50_95": 0.005, "size_mb": 0.0}


@pytest.mark.parametrize("text", ["", "some", "-0.1", "nan", "inf"])
def test_tolerance_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="size_mb"):
        parse_tolerances({"size_mb": text})


def test_tolerance_of_an_unknown_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(OptionError, match="no metric 'size'") as error:
        parse_tolerances({"size": "1"})
    assert "size_mb" in error.value.hint or "size_ratio" in error.value.hint
