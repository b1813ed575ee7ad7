from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.report.gates.contents import content
from yocc.api.checking import check_output, read_report, require_unchanged
from yocc.errors import ModelError, OptionError
from yocc.report.gates.gate import parse_gates
from yocc.report.report import SCHEMA, file_facts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"a model")
    facts = vars(file_facts(tmp_path / "model.onnx", "model.onnx"))
    (tmp_path / "report.json").write_text(json.dumps(content(files=[facts])))
    return tmp_path


def test_report_is_found_by_its_folder_and_by_itself(folder: Path) -> None:
    assert read_report(folder) == read_report(folder / "report.json")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "not a report"),
        ('{"tool": "other", "schema": 1}', "not a report"),
        ('{"tool": "yocc"}', "not a report"),
        (f'{{"tool": "yocc", "schema": {SCHEMA + 1}}}', "reads up to"),
    ],
)
def test_what_is_no_report_is_refused(text: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ModelError, match=word):
        read_report(tmp_path)


def test_folder_without_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no report"):
        read_report(tmp_path)


def test_files_are_held_against_their_hashes(folder: Path) -> None:
    assert require_unchanged(folder, read_report(folder)) == 1
    (folder / "model.onnx").write_bytes(b"A model")
    with pytest.raises(ModelError, match="not the file the report describes"):
        require_unchanged(folder, read_report(folder))
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match="missing"):
        require_unchanged(folder, read_report(folder))


def test_gates_come_before_those_of_the_baseline() -> None:
    outcomes = check_output(content(), parse_gates(["latency_ms <= 1"]), content(), {})
    assert outcomes[0].metric == "latency_ms"
    assert not outcomes[0].passed
    assert len(outcomes) > 5
    assert all(each.passed for each in outcomes[1:])


def test_tolerance_needs_a_baseline() -> None:
    with pytest.raises(OptionError, match="--baseline"):
        check_output(content(), (), None, {"size_mb": 0.1})
