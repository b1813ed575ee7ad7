"""The programs beside an artifact: part of the output, and not of the model's size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import yocc
from tests.samples import tiny_model
from yocc.api.verifying import verify_model
from yocc.report.report import Report, foreign_files, is_complete

PROGRAMS = {"preprocess.json", "run.py", "session.json"}


def _compiled(model: onnx.ModelProto, folder: Path, *, examples: bool = True) -> Report:
    return yocc.compile(
        model, pipeline="simplify", bench=False, fidelity=False, html=False, examples=examples, out=folder / "out"
    )


def test_programs_are_files_of_the_output_and_no_part_of_the_model(tmp_path: Path) -> None:
    plain = _compiled(tiny_model(), tmp_path, examples=False)
    assert [file.path for file in plain.files] == ["model.onnx"]
    # Once more into the same folder, which yocc wrote.
    report = _compiled(tiny_model(), tmp_path)
    assert {file.path for file in report.files} == PROGRAMS | {"model.onnx"}
    assert report.files[0] == plain.files[0]
    assert report.after == plain.after
    assert report.after.bytes == report.files[0].bytes
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == PROGRAMS | {"model.onnx", "report.json"}
    assert not foreign_files(folder)
    assert is_complete(folder)
    assert all(check.passed is not False for check in verify_model(folder))
    (folder / "run.py").write_text("print('mine')\n")
    assert foreign_files(folder) == ["run.py"]
    assert not is_complete(folder)


def test_the_facts_are_those_of_the_report(tmp_path: Path) -> None:
    report = _compiled(tiny_model(), tmp_path)
    facts = json.loads((tmp_path / "out" / "preprocess.json").read_text(encoding="utf-8"))
    assert facts == json.loads(report.to_json())["interface"]["preprocess"]


def test_a_model_that_takes_no_pictures_has_no_facts_of_them(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "vector",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [onnx.numpy_helper.from_array(np.ones((1, 4), np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert [file.path for file in _compiled(model, tmp_path).files] == ["model.onnx", "run.py", "session.json"]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnxruntime", "ncnn", "tensorrt"])
def test_two_compilations_write_the_same_programs(target: str, tmp_path: Path) -> None:
    from yocc.models.shipped import shipped_detector

    reports = [
        yocc.compile(
            shipped_detector(),
            target=target,
            pipeline="fuse",
            bench=False,
            fidelity=False,
            html=False,
            out=tmp_path / name,
        )
        for name in "ab"
    ]
    assert reports[0].files == reports[1].files
    assert {"preprocess.json", "decode.json", "run.py"} <= {file.path for file in reports[0].files}
