"""The whole road on detectors: simplify, prune, fuse, quantize, build, check, measure, report."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import yocc
from yocc.models.yolov5 import build_yolov5

REAL = ["yolov5n", "yolov5n_bn", "yolov5n_raw_op12", "yolov5n_dynamic", "yolov5n_fp16cast_op12"]


def _check(report: yocc.Report) -> None:
    onnx.checker.check_model(report.model, full_check=True)
    assert 0.59 <= report.after.parameters / report.before.parameters <= 0.61
    assert 0.59 <= report.after.macs / report.before.macs <= 0.61
    assert report.after.bytes < 0.45 * report.before.bytes
    assert report.fidelity is not None
    assert [each.label for each in report.fidelity["outputs"]] == ["", "boxes", "objectness", "classes"]


def test_built_detector(tmp_path: Path) -> None:
    report = yocc.compile(
        build_yolov5("n", size=160), prune=0.4, int8=True, count=10, out=tmp_path / "out", bench=False
    )
    _check(report)
    assert any("--calib" in warning for warning in report.warnings)


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
    report = yocc.compile(
        shared_data / "models" / f"{name}.onnx",
        prune=0.4,
        int8=True,
        calibration=shared_data / "images" / "calib178",
        count=16,
        out=tmp_path / "out",
    )
    if name != "yolov5n_fp16cast_op12":  # half the size to begin with
        _check(report)
    assert report.measured["latency_ms"].speedup > 0
