from __future__ import annotations

from xml.etree import ElementTree

from tests.report.gates.contents import content
from yocc.report.gates.gate import check_gates, parse_gates
from yocc.report.gates.junit import junit


def test_each_gate_is_a_case_and_a_violation_a_failure() -> None:
    outcomes = check_gates(parse_gates(["size_mb <= 2", "macs_ratio < 0.1", "map50 >= 0"]), content())
    root = ElementTree.fromstring(junit(outcomes))
    (suite,) = root.findall("testsuite")
    for element in (root, suite):
        assert (element.get("tests"), element.get("failures"), element.get("errors")) == ("3", "1", "0")
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == ["size_mb <= 2", "macs_ratio < 0.1", "map50 >= 0"]
    assert [len(case.findall("failure")) for case in cases] == [0, 1, 0]
    failure = cases[1].find("failure")
    assert failure is not None
    assert failure.get("message") == "macs_ratio is 0.25, wanted < 0.1"


def test_without_gates_it_is_an_empty_suite() -> None:
    root = ElementTree.fromstring(junit([]))
    assert root.get("tests") == "0"
    assert root.findall(".//testcase") == []
