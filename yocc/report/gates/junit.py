"""Outcomes of gates as JUnit XML, which most CI systems show as test results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from yocc.report.gates.gate import Outcome

SUITE = "yocc.gates"
_HEAD = 200
"""Bytes in which the first element begins."""


def is_junit(path: Path) -> bool:
    """Whether a file is one that `junit` made."""
    with path.open("rb") as file:  # not parsed: a stranger's file may expand to anything
        return b'<testsuites name="yocc"' in file.read(_HEAD)


def junit(outcomes: Sequence[Outcome]) -> str:
    """A test suite with a case for each gate."""
    failures = sum(not each.passed for each in outcomes)
    counts = {"tests": str(len(outcomes)), "failures": str(failures), "errors": "0", "skipped": "0"}
    suites = ElementTree.Element("testsuites", {"name": "yocc", **counts})
    suite = ElementTree.SubElement(suites, "testsuite", {"name": SUITE, **counts})
    for each in outcomes:
        case = ElementTree.SubElement(suite, "testcase", {"classname": SUITE, "name": each.gate})
        if not each.passed:
            message = f"{each.metric} is {each.shown}, wanted {each.wanted}"
            ElementTree.SubElement(case, "failure", {"message": message, "type": "gate"}).text = message
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"
