from __future__ import annotations

import hashlib
import json
import math
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

from yocc.compiler.passes import Note
from yocc.compiler.pipeline import PassRun
from yocc.compiler.report import (
    SCHEMA,
    FileFacts,
    ModelFacts,
    Report,
    dependency_versions,
    file_facts,
    pass_reports,
    plain,
    written_files,
)


class Colour(Enum):
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
    return Report(**{**values, **changes})  # type: ignore[arg-type]


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
        (Colour.RED, "red"),
        ({1: (True, None)}, {"1": [True, None]}),
        (frozenset({"b", "a"}), ["a", "b"]),
        (math.inf, "inf"),
        (Path("a/b"), "a/b"),
        (FileFacts("p", 1, "h"), {"path": "p", "bytes": 1, "sha256": "h"}),
    ],
)
def test_values_become_what_json_knows(value: object, expected: object) -> None:
    assert plain(value) == expected


def test_notes_and_details_stand_at_the_first_run_of_their_pass() -> None:
    runs = [PassRun("fuse", 1, 0.1), PassRun("prune{ratio=0.3}", 2, 0.1), PassRun("fuse", 0, 0.1)]
    note, other = Note("fuse", "merged"), Note("prune", "cut")
    first, second, third = pass_reports(runs, [note, other], {"prune": {"kept": 3}})
    assert (first.notes, second.notes, third.notes) == ((note,), (other,), ())
    assert second.details == {"kept": 3}
    assert third.rewrites == 0


def test_file_is_hashed(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc" * 700_000)
    assert file_facts(path, "a") == FileFacts("a", 2_100_000, hashlib.sha256(b"abc" * 700_000).hexdigest())


def test_versions_are_told() -> None:
    versions = dependency_versions()
    assert versions["onnx"][0].isdigit()
    assert versions["yocc"][0].isdigit()


def test_output_of_yocc_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(_report().to_json())
    assert written_files(tmp_path) == {"model.onnx", "model.onnx.data", "report.json"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tool": "other", "schema": 1, "files": []}', '{"tool": "yocc"}'])
def test_other_reports_are_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    assert written_files(tmp_path) is None


def test_folder_without_report_is_not(tmp_path: Path) -> None:
    assert written_files(tmp_path) is None
