"""Inputs are opened before the passes; what fails when the model is compiled does not cost the model."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from PIL import Image

from tests.samples import tiny_model
from yocc.cli import cli
from yocc.compiler.stages import agreement, measure, reference, summarize
from yocc.compiler.stages.compiling import compile_model
from yocc.errors import BackendError, CalibrationError, OutputError
from yocc.models.street import CLASSES, write
from yocc.models.yolov5 import build_yolov5
from yocc.report.report import schema_text


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    path = tmp_path / "detector.onnx"
    onnx.save(build_yolov5("n", size=64, classes=len(CLASSES)), path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    write(tmp_path / "data", "test", 2, size=64)
    return tmp_path / "data" / "images"


def _cut(pictures: Path) -> None:
    """Make one a JPEG file whose header is whole and whose content is not."""
    picture = sorted(pictures.iterdir())[1]
    with Image.open(picture) as content:
        content.save(picture.with_suffix(".jpg"))
    picture.unlink()
    data = picture.with_suffix(".jpg").read_bytes()
    picture.with_suffix(".jpg").write_bytes(data[: len(data) * 3 // 4])


def _compile(model: Any, out: Path, **arguments: Any) -> Any:
    return compile_model(model, pipeline="simplify", out=out, **{"bench": False, **arguments})


def _refused(model: Any, tmp_path: Path, **arguments: Any) -> str:
    seen: list[object] = []
    with pytest.raises(CalibrationError) as caught:
        _compile(model, tmp_path / "out", observers=[lambda *run: seen.append(run)], **arguments)
    assert seen == []
    assert not (tmp_path / "out").exists()
    return str(caught.value)


def test_missing_pictures_to_score_on_are_told_before_any_pass(detector: Path, tmp_path: Path) -> None:
    assert "There is no" in _refused(detector, tmp_path, evaluate=tmp_path / "none")


@pytest.mark.parametrize("kind", ["missing", "none beside", "no json", "only crowds"])
def test_unusable_labels_are_told_before_any_pass(kind: str, detector: Path, pictures: Path, tmp_path: Path) -> None:
    labels: Path | None = tmp_path / "labels.json"
    if kind == "none beside":
        labels = None
        (pictures.parent / "labels").rename(tmp_path / "elsewhere")
    if kind == "no json":
        (tmp_path / "labels.json").write_text("[" * 100_000)
    if kind == "only crowds":
        content = json.loads((pictures.parent / "labels.json").read_text())
        for annotation in content["annotations"]:
            annotation["iscrowd"] = 1
        (tmp_path / "labels.json").write_text(json.dumps(content))
    said = _refused(detector, tmp_path, evaluate=pictures, labels=labels)
    assert "labels" in said


def test_files_that_are_no_pictures_are_told_before_any_pass(detector: Path, pictures: Path, tmp_path: Path) -> None:
    sorted(pictures.iterdir())[0].write_text("no picture")
    assert "cannot be read" in _refused(detector, tmp_path, evaluate=pictures, labels=pictures.parent / "labels.json")


def test_damaged_pictures_to_calibrate_with_are_told_before_any_pass(
    detector: Path, pictures: Path, tmp_path: Path
) -> None:
    _cut(pictures)
    _refused(detector, tmp_path, calibration=pictures)


def test_damaged_samples_are_told_before_any_pass(tmp_path: Path) -> None:
    samples = np.zeros((12, 3, 16, 16), np.float32)
    samples[11] = np.nan
    np.savez(tmp_path / "data.npz", x=samples)
    assert "NaN" in _refused(tiny_model(), tmp_path, calibration=tmp_path / "data.npz")


@pytest.mark.parametrize("text", [None, "no statistics"])
def test_unusable_statistics_are_told_before_any_pass(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "s.npz").write_text(text)
    _refused(tiny_model(), tmp_path, statistics=[tmp_path / "s.npz"])


@pytest.mark.slow
def test_a_picture_that_cannot_be_scored_on_leaves_the_result_with_a_status_of_its_own(
    detector: Path, pictures: Path, tmp_path: Path
) -> None:
    _cut(pictures)
    arguments = ["compile", str(detector), "--pipeline", "simplify", "--no-bench", "--eval", str(pictures)]
    run = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")])
    assert run.exit_code == 9
    assert "Warning: The accuracy was not measured." in run.stderr
    assert "The result is in" in run.stderr
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    Draft202012Validator(json.loads(schema_text())).validate(content)
    assert content["accuracy"] is None
    assert content["fidelity"] is not None
    assert set(content["unmeasured"]) <= set(content["warnings"])
    assert {"model.onnx", "report.html"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert list((tmp_path / "cache").iterdir()) == [], "running again measures again"


def _raising(error: Exception) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    "error", [BackendError("It fell over."), RuntimeError("odd"), MemoryError(), OSError(errno.ENOSPC, "full")]
)
@pytest.mark.parametrize(
    ("module", "name", "what"),
    [(measure, "compare_speed", "latency"), (agreement, "measure_fidelity", "fidelity")],
    ids=["latency", "fidelity"],
)
def test_whatever_fails_in_measuring_leaves_the_result(
    module: Any, name: str, what: str, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, _raising(error))
    report = _compile(tiny_model(), tmp_path / "out", bench=True)
    assert report.model.exists()
    assert len(report.unmeasured) == 1
    assert report.unmeasured[0].startswith(f"The {what} was not measured. ")
    assert report.unmeasured[0] in report.warnings


def test_no_room_for_a_copy_of_the_original_leaves_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(reference.tempfile, "TemporaryDirectory", _raising(full))
    report = _compile(tiny_model(), tmp_path / "out", bench=True)
    assert report.model.exists()
    assert "no room" in report.unmeasured[0]


def test_a_page_that_cannot_be_made_leaves_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summarize, "render_page", _raising(KeyError("figures")))
    with pytest.raises(OutputError, match=r"report\.html was not written"):
        _compile(tiny_model(), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "model.onnx",
        "preprocess.json",
        "run.py",
        "session.json",
        "report.json",
    }


def test_what_was_measured_is_no_cause_for_a_status(tmp_path: Path) -> None:
    assert _compile(tiny_model(), tmp_path / "out").unmeasured == ()
