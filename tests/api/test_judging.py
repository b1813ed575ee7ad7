"""Timing against the original in the runtime of the target and in onnxruntime."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import yocc
from tests.runtime.backends.ncnn.running import needs_ncnn
from tests.samples import tiny_model
from yocc.api.judging import time_against
from yocc.api.opening import find_model
from yocc.cli.reading import speed_tables
from yocc.errors import ModelError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    return tmp_path / "tiny.onnx"


def _compiled(model: Path, target: str) -> Path:
    out = model.parent / target
    yocc.compile(model, target=target, out=out, bench=False, fidelity=False, html=False)
    return out


def test_in_onnxruntime_there_is_one_baseline(model: Path) -> None:
    speed = time_against(_compiled(model, "onnxruntime"), None, rounds=2, threads=1)
    assert speed.same_runtime is not None
    assert speed.onnxruntime is None
    ((_, _, rows),) = speed_tables(speed)
    assert [row[0] for row in rows] == ["original in onnxruntime", "compiled in onnxruntime"]


@needs_ncnn
def test_elsewhere_the_original_is_timed_in_both_runtimes(model: Path) -> None:
    speed = time_against(_compiled(model, "ncnn"), None, rounds=2, threads=1)
    assert speed.same_runtime is not None
    assert speed.onnxruntime is not None
    assert not speed.remark
    rows = [row[0] for _, _, rows in speed_tables(speed) for row in rows]
    assert rows == ["original in ncnn", "compiled in ncnn", "original in onnxruntime", "compiled in ncnn"]


@needs_ncnn
def test_what_the_target_cannot_run_uncompressed_is_said(model: Path, tmp_path: Path) -> None:
    out = _compiled(model, "ncnn")
    other = tiny_model()
    odd = onnx.helper.make_node("Asinh", [other.graph.output[0].name], ["odd"])
    other.graph.node.append(odd)
    other.graph.output[0].name = "odd"
    onnx.save(other, tmp_path / "odd.onnx")
    speed = time_against(out, tmp_path / "odd.onnx", rounds=2, threads=1)
    assert speed.same_runtime is None
    assert speed.onnxruntime is not None
    assert "was not timed in ncnn's runtime" in speed.remark
    assert [speed.remark] in [columns for _, columns, _ in speed_tables(speed)]


@pytest.mark.slow
def test_the_original_is_found_from_another_folder(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = model.parent
    # All folders above are looked into, and others put files there.
    model = model.rename(root / "only_of_this_test.onnx")
    monkeypatch.chdir(root)
    yocc.compile(model.name, out="results/out", bench=False, fidelity=False, html=False)
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    # A model of the same name that is not the one.
    onnx.save(tiny_model(batch="any_number"), elsewhere / model.name)
    monkeypatch.chdir(elsewhere)
    found = find_model(Path("../results/out"))
    assert found.original == model
    assert yocc.compare("../results/out").facts.outputs
    model.unlink()
    for judge in (yocc.compare, yocc.bench):
        with pytest.raises(ModelError, match=f"{model.name}' is not the file that was compiled to '../results/out'"):
            judge("../results/out")
    assert yocc.compare("../results/out", elsewhere / model.name).facts.outputs
    (elsewhere / model.name).unlink()
    with pytest.raises(ModelError, match=r"which '../results/out/report.json' names as the original"):
        yocc.compare("../results/out")
