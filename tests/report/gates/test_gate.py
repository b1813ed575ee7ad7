from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.gates.contents import content
from yocc.errors import OptionError
from yocc.report.gates.gate import (
    Gate,
    check_gates,
    parse_gates,
    require_detector,
    require_measured,
    require_own_runtime,
    violated,
)
from yocc.report.gates.metrics import METRICS

ALL = {"eval": True, "fidelity": True, "bench": True, "": True}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("map50_95 >= -0.01", Gate("map50_95", ">=", -0.01)),
        ("  latency_ratio<=0.6 ", Gate("latency_ratio", "<=", 0.6)),
        ("size_mb < 2e0", Gate("size_mb", "<", 2.0)),
        ("snr_db > +20", Gate("snr_db", ">", 20.0)),
    ],
)
def test_gates_are_read(text: str, expected: Gate) -> None:
    assert parse_gates([text]) == (expected,)


@given(
    st.sampled_from(sorted(METRICS)),
    st.sampled_from(["<=", ">=", "<", ">"]),
    st.integers(-(10**6), 10**6).map(lambda number: number / 10**4),
)
def test_what_is_printed_is_read_back(metric: str, relation: str, bound: float) -> None:
    gate = Gate(metric, relation, bound)
    assert parse_gates([str(gate)]) == (gate,)


@pytest.mark.parametrize(
    "text",
    ["", "size_mb", "size_mb <=", "size_mb == 2", "size_mb => 2", "<= 2", "size_mb <= two", "size_mb <= nan",
     "size_mb <= inf", "size_mb <= 2 3", "size_mb <= 2 MB", "0.1 <= size_mb"],
)  # fmt: skip
def test_what_is_no_gate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(OptionError, match="Cannot read the gate") as error:
        parse_gates([text])
    assert repr(text) in str(error.value)
    assert "map50_95 >= -0.01" in error.value.hint


def test_unknown_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"no metric 'map50-95'|Cannot read"):
        parse_gates(["map50-95 >= 0"])
    with pytest.raises(OptionError, match="no metric 'latency_ration'") as error:
        parse_gates(["latency_ration <= 0.5"])
    assert error.value.hint == "Did you mean 'latency_ratio'?"


@pytest.mark.parametrize(
    ("text", "missing", "option"),
    [
        ("map50_95 >= -0.01", "eval", "--eval"),
        ("fidelity >= 0.8", "fidelity", "--no-fidelity"),
        ("latency_ratio <= 0.6", "bench", "--no-bench"),
    ],
)
def test_gates_on_what_is_not_measured_are_refused(text: str, missing: str, option: str) -> None:
    gates = parse_gates(["size_mb <= 2", text])
    require_measured(gates, ALL)
    with pytest.raises(OptionError) as error:
        require_measured(gates, {**ALL, missing: False})
    assert text in error.value.message
    assert option in error.value.hint


def test_gates_on_detections_need_a_detector() -> None:
    require_detector(parse_gates(["snr_db >= 20", "size_mb <= 2"]))
    with pytest.raises(OptionError, match="detectors"):
        require_detector(parse_gates(["fidelity >= 0.8"]))


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("map50_95 >= -0.01", True),  # 0.30 - 0.31 is a little less than -0.01 in binary
        ("map50_95 > -0.01", False),
        ("size_mb <= 1.5", True),
        ("size_mb < 1.5", False),
        ("latency_ratio <= 0.59", False),
        ("latency_ratio >= 0.59", True),
    ],
)
def test_bounds_are_kept_exactly(text: str, passed: bool) -> None:
    (outcome,) = check_gates(parse_gates([text]), content())
    assert outcome.passed is passed
    assert outcome.gate == text


def test_what_was_not_measured_does_not_hold() -> None:
    (outcome,) = check_gates(parse_gates(["map50_95 >= -1"]), content(accuracy=None))
    assert (outcome.got, outcome.passed, outcome.shown) == (None, False, "not measured")


@pytest.mark.parametrize(
    ("noise", "passed", "shown"), [(None, True, "equal to the original"), ("nan", False, "not finite")]
)
def test_extremes_of_noise_are_judged(noise: object, passed: bool, shown: str) -> None:
    (outcome,) = check_gates(parse_gates(["snr_db >= 40"]), content(fidelity={"outputs": [{"snr_db": noise}]}))
    assert (outcome.got, outcome.passed, outcome.shown) == (None, passed, shown)


def test_what_does_not_hold_is_one_sentence() -> None:
    held = check_gates(parse_gates(["size_mb <= 2", "macs_ratio <= 0.5"]), content())
    assert violated(held) == ""
    assert violated([]) == ""
    one = check_gates(parse_gates(["size_mb <= 1", "macs_ratio <= 0.5"]), content())
    assert violated(one) == "1 of 2 gates fails: size_mb is 1.5, wanted <= 1."
    both = check_gates(parse_gates(["size_mb <= 1", "macs_ratio <= 0.1"]), content())
    assert violated(both).startswith("2 of 2 gates fail: size_mb is 1.5, wanted <= 1; macs_ratio")
    assert violated(one[:1]).startswith("The gate fails: ")


def test_latencies_of_a_substitute_do_not_hold() -> None:
    made = content(target="tensorrt")
    made["measured"]["execution"] = {"runtime": "onnxruntime", "no_engine": "There is no GPU."}
    gates = parse_gates(["latency_ratio <= 9", "latency_ms <= 99", "snr_db >= 1", "size_mb <= 9"])
    outcomes = check_gates(gates, made)
    assert [each.passed for each in outcomes] == [False, False, True, True]
    assert outcomes[0].shown == "measured in onnxruntime, not in tensorrt"
    made["measured"]["execution"]["runtime"] = "tensorrt"
    assert all(each.passed for each in check_gates(gates, made))


def test_gates_on_latencies_are_refused_where_the_target_does_not_run() -> None:
    gates = parse_gates(["size_mb <= 9", "latency_ratio <= 1"])
    require_own_runtime(gates, "tensorrt", "")
    require_own_runtime(gates[:1], "tensorrt", "there is no GPU.")
    with pytest.raises(OptionError, match=r"'latency_ratio <= 1' cannot be judged here.*there is no GPU\."):
        require_own_runtime(gates, "tensorrt", "there is no GPU.")
