"""The whole road on detectors: simplify, prune, fuse, quantize, build, check, measure, report."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from jsonschema import Draft202012Validator

import yocc
from yocc.models.yolov5 import build_yolov5
from yocc.report.report import schema_text

REAL = ["yolov5n", "yolov5n_bn", "yolov5n_raw_op12", "yolov5n_dynamic", "yolov5n_fp16cast_op12"]


def _check(report: yocc.Report) -> None:
    onnx.checker.check_model(report.model, full_check=True)
    assert 0.59 <= report.after.parameters / report.before.parameters <= 0.61
    assert 0.59 <= report.after.macs / report.before.macs <= 0.61
    assert report.after.bytes < 0.45 * report.before.bytes
    assert report.fidelity is not None
    assert [each.label for each in report.fidelity["outputs"]] == ["", "boxes", "objectness", "classes"]


def _check_layers(content: dict) -> None:
    for side in ("before", "after"):
        for figure in ("parameters", "macs"):
            assert sum((layer[side] or {figure: 0})[figure] for layer in content["layers"]) == content[side][figure]
    layers = {layer["name"]: layer for layer in content["layers"] if layer["op"] == "Conv"}
    quantized = [layer for layer in layers.values() if layer["after"]["weights"] == "int8"]
    assert len(quantized) == len(layers)
    pruned = [layer for layer in quantized if not layer["skipped"]]
    assert all(0 < layer["figures"]["prune"]["saliency_kept"] <= 1 for layer in pruned)
    assert all(layer["figures"]["quantize"]["weight_sqnr_db"] > 20 for layer in quantized)
    assert all(layer["after"]["activations"] == "uint8" for layer in quantized)
    left = [layer for layer in layers.values() if layer["skipped"]]
    assert [set(layer["skipped"]) for layer in left] == 3 * [{"prune"}]


@pytest.mark.slow
def test_built_detector(tmp_path: Path) -> None:
    report = yocc.compile(
        build_yolov5("n", size=160), prune=0.4, int8=True, count=10, out=tmp_path / "out", bench=False
    )
    _check(report)
    assert any("--calib" in warning for warning in report.warnings)
    content = json.loads((report.model.parent / "report.json").read_text())
    Draft202012Validator(json.loads(schema_text())).validate(content)
    _check_layers(content)
    assert (report.model.parent / "report.json").stat().st_size < 400_000


@pytest.mark.slow
def test_same_bytes_twice(tmp_path: Path) -> None:
    first, second = (
        yocc.compile(
            build_yolov5("n", size=96), prune=0.4, int8=True, count=10, out=tmp_path / name, bench=False, fidelity=False
        ).model.read_bytes()
        for name in ("a", "b")
    )
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_detector(name: str, shared_data: Path, tmp_path: Path) -> None:
    """The first is recovered as well; of the others it is their form that matters."""
    report = yocc.compile(
        shared_data / "models" / f"{name}.onnx",
        prune=0.4,
        int8=True,
        calibration=shared_data / "images" / "calib178",
        count=16,
        recover=None if name == REAL[0] else "none",
        out=tmp_path / "out",
    )
    if name != "yolov5n_fp16cast_op12":  # half the size to begin with
        _check(report)
    assert report.measured["latency_ms"].rounds == 30
