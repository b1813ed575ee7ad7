from __future__ import annotations

from tests.report.gates.contents import content
from yocc.cli.summary import figures, gate_rows, sources
from yocc.report.gates.gate import check_gates, parse_gates


def test_figures_before_and_after() -> None:
    assert [row.cells for row in figures(content())] == [
        ["parameters", "1 k", "600", "-40.0 %"],
        ["MACs", "400", "100", "-75.0 %"],
        ["file size", "4.00 MB", "1.50 MB", "-62.5 %"],
        ["latency", "10.0 ms", "6.00 ms", "1.67x as fast"],
        ["mAP50-95", "0.3100", "0.3000", "-0.0100"],
        ["mAP50", "0.5000", "0.5200", "+0.0200"],
        ["fidelity, mAP50-95", "", "0.8000", ""],
        ["confident detections", "10", "9", "-10.0 %"],
    ]


def test_what_was_not_measured_has_no_row() -> None:
    bare = content(accuracy=None, fidelity=None, measured={"latency_ms": None})
    assert [row.name for row in figures(bare)] == ["parameters", "MACs", "file size"]
    assert list(sources(bare)) == []


def test_outputs_stand_for_detections_where_there_are_none() -> None:
    facts = {**content()["fidelity"], "detection": None}
    rows = [row.cells for row in figures(content(fidelity=facts))][-2:]
    assert rows == [["fidelity, y", "", "30.0 dB", ""], ["fidelity, z", "", "equal", ""]]


def test_nothing_before_is_no_share() -> None:
    empty = {"parameters": 0, "macs": 0, "bytes": 0}
    assert [row.change for row in figures(content(before=empty))][:3] == ["", "", ""]


def test_sources_name_machine_and_data() -> None:
    told = dict(sources(content()))
    assert "a processor, 2 cores" in told["latency"]
    assert told["accuracy"] == "8 labeled pictures of val"


def test_floats_in_two_types_are_named() -> None:
    timing = content()["measured"]["latency_ms"]
    timing = {**timing, "baseline": {**timing["baseline"], "precision": "bf16"}}
    told = dict(sources(content(measured={"latency_ms": timing})))
    assert told["latency"].endswith("; floats of the original in bf16, of the compiled model in f32")


def test_gates_have_wanted_and_got() -> None:
    outcomes = check_gates(parse_gates(["size_mb <= 2", "macs_ratio <= 0.1"]), content())
    assert gate_rows(outcomes) == [["size_mb", "<= 2", "1.5", "yes"], ["macs_ratio", "<= 0.1", "0.25", "NO"]]
