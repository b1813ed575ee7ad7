from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import yocc.models.shipped
from yocc.compiler.graph import load
from yocc.compiler.stages.compiling import compile_model
from yocc.errors import ModelError, OptionError
from yocc.models.families.family import find_profile
from yocc.models.shipped import SHIPPED, shipped_detector
from yocc.models.street import CLASSES, write
from yocc.runtime.detection.metrics import evaluate


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_detector_is_a_checked_yolov5_with_batch_norm(name: str) -> None:
    path = shipped_detector(name)
    onnx.checker.check_model(str(path), full_check=True)
    graph = load(path)
    profile = find_profile(graph)
    assert profile is not None
    assert profile.family == "yolov5"
    assert profile.classes == CLASSES
    assert sum(node.op == "BatchNormalization" for node in graph.nodes) == 57


def test_together_they_are_small() -> None:
    assert sum(shipped_detector(name).stat().st_size for name in SHIPPED) < 12e6


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_detector_finds_what_is_there(name: str, tmp_path: Path) -> None:
    from yocc.api.opening import examine_model, find_model

    write(tmp_path, "test", 24, size=256)
    model = find_model(shipped_detector(name))
    profile = examine_model(model).profile
    assert profile is not None
    with model.session(threads=1) as session:
        scores = evaluate(session, profile, tmp_path / "images")
    assert 0.45 < scores.map50_95 < 0.9


@pytest.mark.slow
def test_most_of_the_sparse_one_can_go(tmp_path: Path) -> None:
    """It was trained for a cut of 70 %: what such a cut takes was dead."""
    for split, count in (("calibration", 32), ("test", 48)):
        write(tmp_path / split, split, count, size=256)
    report = compile_model(
        shipped_detector("sparse"),
        prune=0.7,
        schedule="oneshot",
        calibration=tmp_path / "calibration" / "images",
        evaluate=tmp_path / "test" / "images",
        out=tmp_path / "out",
        fidelity=False,
        bench=False,
        html=False,
        threads=1,
    )
    assert report.after.macs < 0.32 * report.before.macs
    assert report.after.parameters < 0.32 * report.before.parameters
    assert report.accuracy is not None
    original, compiled = (report.accuracy[which].map50_95 for which in ("original", "compiled"))
    assert original > 0.45
    assert original - compiled < 0.08


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(OptionError, match="plain, sparse"):
        shipped_detector("large")


def test_a_missing_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yocc.models.shipped, "__file__", str(tmp_path / "shipped.py"))
    with pytest.raises(ModelError, match=r"street_yolov5n_plain\.onnx"):
        shipped_detector("plain")
