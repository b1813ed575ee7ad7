from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError

from tests.report.page.contents import report as full_report
from yocc.compiler.pipeline.passes import Note
from yocc.compiler.pipeline.pipeline import PassRun
from yocc.compiler.pipeline.result import PassResult
from yocc.report.report import (
    SCHEMA,
    FileFacts,
    ModelFacts,
    PassReport,
    Report,
    dependency_versions,
    describe_platform,
    file_facts,
    pass_reports,
    plain,
    schema_text,
    written_files,
)


class Color(Enum):
    RED = "red"


def _report(**changes: object) -> Report:
    facts = ModelFacts(10, 20, 3, 400, 13)
    values = {
        "source": FileFacts("in.onnx", 5, "ab"),
        "files": (FileFacts("model.onnx", 4, "cd"), FileFacts("model.onnx.data", 9, "ef")),
        "target": "onnxruntime",
        "options": {},
        "pipeline": "simplify",
        "seed": 0,
        "before": facts,
        "after": facts,
        "passes": (),
    }
    return Report(**{**values, **changes})


def test_json_has_schema_and_no_folder() -> None:
    content = json.loads(_report(folder=Path("somewhere")).to_json())
    assert content["schema"] == SCHEMA
    assert content["tool"] == "yocc"
    assert "folder" not in content
    assert content["before"] == {"parameters": 10, "macs": 20, "nodes": 3, "bytes": 400, "opset": 13}


def test_model_is_the_first_file_in_the_folder() -> None:
    assert _report(folder=Path("out")).model == Path("out/model.onnx")


def test_text_is_the_same_each_time() -> None:
    assert _report().to_json() == _report().to_json()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.arange(3), [0, 1, 2]),
        (Color.RED, "red"),
        ({1: (True, None)}, {"1": [True, None]}),
        (frozenset({"b", "a"}), ["a", "b"]),
        (math.inf, "inf"),
        (Path("a/b"), "a/b"),
        (FileFacts("p", 1, "h"), {"path": "p", "bytes": 1, "sha256": "h"}),
    ],
)
def test_values_become_what_json_knows(value: object, expected: object) -> None:
    assert plain(value) == expected


def test_notes_and_details_stand_at_the_run_that_said_them() -> None:
    note = Note("prune", "cut")
    runs = [
        PassRun("fuse", PassResult(1), 0.1),
        PassRun("prune{ratio=0.3}", PassResult(2, {"kept": 3}), 0.1, (note,)),
        PassRun("fuse", PassResult(), 0.1),
    ]
    first, second, third = pass_reports(runs)
    assert (first.notes, second.notes, third.notes) == ((), (note,), ())
    assert (first.details, second.details) == ({}, {"kept": 3})
    assert third.rewrites == 0


def test_figures_of_layers_stand_at_the_layers_only() -> None:
    result = PassResult(1, {"multiple": 8}, layers={"a": {"kept": 3}})
    (only,) = pass_reports([PassRun("prune", result, 0.1)])
    assert only.details == {"multiple": 8}


def test_lists_of_numbers_stand_on_one_line() -> None:
    details = {"numbers": [1, -2.5, 1e-9], "text": ["1", "[\n  1\n]"], "empty": [], "nested": [[1], [2]]}
    report = _report(passes=(PassReport("a", 1, (), details),))
    assert '"numbers": [1, -2.5, 1e-09]' in report.to_json()
    assert json.loads(report.to_json())["passes"][0]["details"] == details


def test_schema_is_valid_and_holds_for_what_is_written() -> None:
    schema = json.loads(schema_text())
    Draft202012Validator.check_schema(schema)
    written = json.loads(full_report().to_json())
    Draft202012Validator(schema).validate(written)
    assert set(written) == set(schema["properties"]), "the schema describes every field"
    assert schema["properties"]["schema"]["const"] == SCHEMA


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("layers"),
        lambda content: content.update(schema=1),
        lambda content: content["source"].update(sha256="abc"),
        lambda content: content["layers"][0]["figures"]["prune"].update(saliency_kept=1.2),
        lambda content: content["passes"][1]["details"]["tensors"]["features"].pop("histogram"),
        lambda content: content["measured"]["latency_ms"].pop("threads"),
    ],
)
def test_schema_refuses_what_is_not_so(spoil: Callable[[dict], object]) -> None:
    written = json.loads(full_report().to_json())
    spoil(written)
    with pytest.raises(ValidationError):
        Draft202012Validator(json.loads(schema_text())).validate(written)


def test_platform_is_told() -> None:
    assert describe_platform()["python"].startswith("3.")
    assert json.loads(_report().to_json())["platform"]["machine"]


def test_file_is_hashed(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc" * 700_000)
    assert file_facts(path, "a") == FileFacts("a", 2_100_000, hashlib.sha256(b"abc" * 700_000).hexdigest())


def test_versions_are_told() -> None:
    versions = dependency_versions()
    assert versions["onnx"][0].isdigit()
    assert versions["yocc"][0].isdigit()


def test_output_of_yocc_is_recognized(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(_report().to_json())
    assert written_files(tmp_path) == {"model.onnx", "model.onnx.data", "report.json", "report.html"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tool": "other", "schema": 1, "files": []}', '{"tool": "yocc"}'])
def test_other_reports_are_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    assert written_files(tmp_path) is None


def test_folder_without_report_is_not(tmp_path: Path) -> None:
    assert written_files(tmp_path) is None


def test_a_report_shows_itself_in_a_line() -> None:
    plain_one = repr(_report(target="ncnn", pipeline="fp32,fuse"))
    assert plain_one.startswith("<Report: ")
    assert "for ncnn, fp32,fuse, " in plain_one
    assert plain_one.endswith(" MB>")
    gates = ({"gate": "a", "passed": True}, {"gate": "b", "passed": False})
    said = repr(_report(warnings=("a", "b"), alarms=("a",), gates=gates))
    assert said.endswith(" MB, 2 warnings, 1 of them alarms, 1 of 2 gates fail>")


def test_a_notebook_shows_the_result_with_everything_escaped() -> None:
    gates = ({"gate": "size_ratio <= 0.1", "passed": False},)
    shown = _report(warnings=("<script>", "b"), alarms=("b",), gates=gates)._repr_html_()
    assert "<td>&lt;script&gt;</td>" in shown
    assert "<tr><th>alarm</th><td>b</td></tr>" in shown
    assert "size_ratio &lt;= 0.1: failed" in shown
    assert "<th>parameters</th><td>10 -&gt; 10</td>" in shown
